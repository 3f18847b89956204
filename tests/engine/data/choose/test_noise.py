"""Labels made wrong on purpose."""

import numpy as np
import pytest

from engine.data.choose.noise import LabelNoise, noisy_labels
from engine.errors import UserError
from engine.recipe.config import read_config
from engine.recipe.samples import load_data, split_indices
from tests.engine.small import write_archive

NAMES = tuple("0123456789")
LABELS = np.random.default_rng(0).integers(0, 10, 20_000)


def test_uniform_noise_changes_exactly_its_share_evenly():
    noisy, record = noisy_labels(LABELS, NAMES, LabelNoise("uniform", 0.3, seed=1))
    assert (noisy != LABELS).sum() == record["changed"] == 6000 and record["of"] == 20_000
    table = np.zeros((10, 10), int)
    np.add.at(table, (LABELS, noisy), 1)
    off_diagonal = table[~np.eye(10, dtype=bool)]
    assert off_diagonal.min() > 6000 / 90 * 0.5 and off_diagonal.max() < 6000 / 90 * 1.6


def test_noise_is_a_function_of_labels_and_seed_and_grows_with_the_rate():
    low = noisy_labels(LABELS, NAMES, LabelNoise("uniform", 0.1, seed=1))[0]
    high = noisy_labels(LABELS, NAMES, LabelNoise("uniform", 0.2, seed=1))[0]
    changed = low != LABELS
    assert np.array_equal(low, noisy_labels(LABELS.copy(), NAMES, LabelNoise("uniform", 0.1, seed=1))[0])
    assert np.array_equal(low[changed], high[changed])
    assert not np.array_equal(low, noisy_labels(LABELS, NAMES, LabelNoise("uniform", 0.1, seed=2))[0])
    assert np.array_equal(noisy_labels(LABELS, NAMES, LabelNoise("uniform", 0.0))[0], LABELS)


def test_pair_noise_goes_to_the_next_class_or_to_the_named_one():
    noisy, _ = noisy_labels(LABELS, NAMES, LabelNoise("pair", 0.4))
    changed = noisy != LABELS
    assert changed.sum() == 8000 and np.array_equal(noisy[changed], (LABELS[changed] + 1) % 10)
    noisy, record = noisy_labels(LABELS, NAMES, LabelNoise("pair", 0.5, {"7": "1", "1": "7"}))
    changed = noisy != LABELS
    assert set(LABELS[changed]) == {1, 7} and np.array_equal(noisy[changed], 8 - LABELS[changed])
    assert record["changed"] == np.floor(np.isin(LABELS, (1, 7)).sum() / 2 + 0.5)


def test_anything_but_k_holds_every_other_class():
    noisy, record = noisy_labels(LABELS, NAMES, LabelNoise("anything_but"))
    assert record["changed"] == 20_000
    for k in range(10):
        assert set(LABELS[noisy == k]) == set(range(10)) - {k}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "uniform"}, "kind uniform needs a rate from 0 to 1, got none"),
        ({"kind": "pair", "rate": 1.5}, "got 1.5"),
        ({"kind": "anything_but", "rate": 0.5}, "rate must be 1 or left out"),
        ({"kind": "uniform", "rate": 0.1, "pairs": {"1": "2"}}, "pairs belong to kind pair"),
        ({"kind": "unifrom", "rate": 0.1}, "did you mean 'uniform'"),
        ({"rate": 0.1, "seed": -3}, "seed"),
    ],
)
def test_mistakes_in_the_section(section, message):
    with pytest.raises(UserError, match=message):
        read_config({"dataset": "mnist", "model": {"name": "lenet"}, "label_noise": section})


@pytest.mark.parametrize(
    ("names", "noise", "message"),
    [
        (NAMES, LabelNoise("pair", 0.1, {"1": "sevn"}), "unknown class in label_noise.pairs: 'sevn'"),
        (NAMES, LabelNoise("pair", 0.1, {"1": "1"}), "to itself"),
        (("0",), LabelNoise("uniform", 0.1), "two classes or more"),
    ],
)
def test_what_does_not_fit_the_data(names, noise, message):
    with pytest.raises(UserError, match=message):
        noisy_labels(np.zeros(5, np.int64), names, noise)


def test_only_training_labels_of_a_run_become_noisy(tmp_path):
    options = {"path": str(write_archive(tmp_path / "set.npz"))}
    given = {"dataset": {"name": "npz", "train": options, "test": options}, "model": {"name": "lenet"}}
    clean = load_data(read_config(given), None)
    noisy = load_data(read_config(given | {"label_noise": {"rate": 0.5}}), None)
    assert (noisy[0].labels != clean[0].labels).sum() == 64 == len(clean[0]) / 2
    assert noisy[0].record["label_noise"] == {"kind": "uniform", "changed": 64, "of": 128, "seed": 0}
    for part in (1, 2):
        assert np.array_equal(noisy[part].labels, clean[part].labels)
    assert np.array_equal(noisy[0].images, clean[0].images)


def test_cross_validation_keeps_held_out_labels_true(tmp_path, monkeypatch):
    """The noise comes after the split into folds: what a fold validates on is clean, what it trains on is not."""
    from engine.recipe import crossval

    options = {"path": str(write_archive(tmp_path / "set.npz"))}
    given = {"dataset": {"name": "npz", "train": options}, "model": {"name": "lenet"}, "label_noise": {"rate": 0.5}}
    config = read_config(given | {"split": {"kind": "folds", "folds": 4}})
    clean = load_data(read_config(given | {"label_noise": False, "split": {"kind": "none"}}), None)[0]
    seen = []

    class Seen(Exception):
        pass

    def look(fold, trainer, train, held_out, *_, **__):
        seen.append((train, held_out))
        raise Seen

    monkeypatch.setattr("engine.recipe.crossval.fit_and_test", look)
    for number in range(4):
        with pytest.raises(Seen):
            crossval.train_fold(config, clean, number, tmp_path)
    for number, (train, held_out) in enumerate(seen):
        parts = split_indices(clean, crossval.fold_config(config, number).split)
        assert (train.labels != clean.labels[parts[0]]).mean() == 0.5
        assert np.array_equal(held_out.labels, clean.labels[parts[1]])
