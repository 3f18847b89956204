"""The comparison of epochs: both sides learn the same from the same order, and the table says what was measured."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[peers]'")

from engine.errors import UserError
from experiments.checks.epoch_vs_torch import comparison, training
from experiments.checks.epoch_vs_torch.cases import CASES, SIDES, chosen
from experiments.checks.epoch_vs_torch.sets import Sets, read_case

ROUNDS = 2


def synthetic(shape: tuple[int, int, int], samples: int) -> Sets:
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, samples)
    images = random.integers(0, 256, (samples, *shape)).astype(np.uint8)
    return Sets(images, labels, images[:70], labels[:70])


def test_an_epoch_of_every_side_from_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]), prepend=":")
    sets = synthetic((1, 28, 28), samples=150)
    sets.save(tmp_path)
    results = comparison.compare(CASES["mnist_cnn"], tmp_path, ROUNDS, threads=1)
    assert tuple(results) == SIDES
    for epochs in results.values():
        assert len(epochs) == ROUNDS and all(each["seconds"] > 0 for each in epochs)
    for round_ in range(ROUNDS):
        learnt = [epochs[round_] for epochs in results.values()]
        for key in ("train_loss", "test_loss"):
            assert [each[key] for each in learnt] == pytest.approx([learnt[0][key]] * len(SIDES), rel=1e-3)


@pytest.mark.parametrize("model", ["model3", "vgg3"])
def test_the_configured_optimisers_take_the_same_steps(model: str) -> None:
    case = CASES[model]
    optimizer = read_case(case).optimizer
    shape = training.make_network(model).input_shape
    sets = synthetic((shape[0], shape[1], shape[2]), samples=70)
    ours = training.our_epoch(model, optimizer, sets, threads=1)(0)
    for channels_last in (False, True):
        theirs = training.torch_epoch(model, optimizer, sets, threads=1, channels_last=channels_last)(0)
        assert theirs[:2] == pytest.approx(ours[:2], rel=1e-3)


def test_images_of_model3_have_the_shape_of_its_configuration() -> None:
    preprocess = read_case(CASES["model3"]).preprocess
    assert (preprocess.channels, *preprocess.size) == training.make_network("model3").input_shape


def answers(*seconds: float) -> list[dict[str, float]]:
    return [{"seconds": each, "train_loss": 0.5, "test_loss": 0.5, "accuracy": 0.9} for each in seconds]


def test_ratios_are_taken_round_by_round() -> None:
    results = {"ours": answers(1.0, 2.0, 1.0), "torch": answers(3.0, 4.0, 5.0)}
    lines = comparison.table(results, images=300)
    assert "3.00" in lines[2] and "2.00 ... 5.00" in lines[2] and "75" in lines[2].split()
    assert not comparison.behind(results)
    assert comparison.behind({"ours": answers(1.0), "torch": answers(3.0), "torch channels_last": answers(0.9)})


def test_another_training_is_refused() -> None:
    comparison.require_agreement({"ours": 1.0, "torch": 1.04})
    for loss in (1.06, float("nan")):
        with pytest.raises(UserError, match="first epoch's losses differ"):
            comparison.require_agreement({"ours": 1.0, "torch": loss})


def test_unknown_networks_are_named() -> None:
    with pytest.raises(UserError, match="'vgg4'.*did you mean 'vgg3'"):
        chosen(["vgg4"])
