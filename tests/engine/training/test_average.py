"""Averages of the weights: what they are, that they are what is evaluated and saved, and that a resume is exact."""

import copy
import pickle

import cnncore
import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.network import checkpoint
from engine.network.checkpoint import weights_hash
from engine.recipe.config import read_config
from engine.recipe.fit import make_trainer as from_config
from engine.training.average import RESTS, Average
from tests.engine.small import small_dataset, small_net
from tests.engine.training.test_resume import CutOff, cut_after, without_times

TRAIN, VALIDATION = small_dataset(96), small_dataset(48, seed=1)
IMAGES, LABELS = TRAIN.normalise(TRAIN.images[:32]), TRAIN.labels[:32]
KINDS = [Average(decay=0.7, every=2), Average("lookahead", decay=0.9, every=3, power=3.0), Average(warmup=True)]


def trainer(average, out=None, optimizer=None, **options):
    rule = optimizer or engine.SGD(0.05, 0.9)
    return engine.Trainer(
        small_net(), rule, batch_size=16, out=out, progress="none", seed=5, average=average, **options
    )


def arrays(net):
    return {**net.parameters(), **net.buffers()}


def test_decays():
    assert [Average(decay=0.9, every=3).at(step, None) for step in range(4)] == [RESTS, RESTS, 0.9, RESTS]
    rule = Average("lookahead", decay=0.95**5, every=5, power=3.0)
    assert rule.at(9, 100) == pytest.approx(0.95**5 * 0.1**3) and rule.at(99, 100) == 0.95**5
    assert [Average(decay=0.3, warmup=True).at(step, 9) for step in (0, 1, 8)] == pytest.approx([2 / 11, 3 / 12, 0.3])
    with pytest.raises(UserError, match="length of a run"):
        rule.at(4, None)


@pytest.mark.parametrize("average", KINDS, ids=["ema", "lookahead", "warmup"])
def test_they_are_those_of_the_formula(average):
    """Weights and running statistics, against a trainer without averages that is moved by hand."""
    own, plain = trainer(average), trainer(None)
    own.set_length(1, 12)
    slow = {name: value.astype(np.float64) for name, value in arrays(plain.net).items()}
    for step in range(12):
        own.step(IMAGES, LABELS)
        plain.step(IMAGES, LABELS)
        keep = average.at(step, 12)
        if keep < 0.0:
            continue
        slow = {name: value + (1 - keep) * (arrays(plain.net)[name] - value) for name, value in slow.items()}
        if average.kind == "lookahead":
            plain.net.load_parameters({name: slow[name] for name in plain.net.parameters()})
            plain.net.load_buffers({name: slow[name] for name in plain.net.buffers()})
    live = arrays(own.net)
    with own.session.averaged():
        shown = arrays(own.net)
    for name, value in slow.items():
        assert np.allclose(shown[name], value, rtol=1e-5, atol=1e-6), name
        assert np.allclose(live[name], arrays(plain.net)[name], rtol=1e-4, atol=1e-5), name
        assert np.array_equal(arrays(own.net)[name], live[name])


def test_live_weights_of_an_ema_are_those_without_one():
    one, other = trainer(Average()), trainer(None)
    for each in (one, other):
        for _ in range(3):
            each.step(IMAGES, LABELS)
    assert weights_hash(one.net) == weights_hash(other.net)


def test_a_run_evaluates_saves_and_leaves_the_averages(tmp_path):
    rule = Average(decay=0.8)
    seen = []
    own = trainer(rule, tmp_path, metric="val_loss")
    history = own.fit(TRAIN, VALIDATION, epochs=3, callbacks=[lambda record: seen.append(own.evaluate(VALIDATION))])
    assert [each["loss"] for each in seen] == history["val_loss"]
    last = checkpoint.read(tmp_path / "last.safetensors")
    assert all(np.array_equal(last.parameters[name], value) for name, value in own.net.parameters().items())
    assert all(np.array_equal(last.buffers[name], value) for name, value in own.net.buffers().items())
    assert {name.split(".")[0] for name in last.optimizer} == {"velocity", "live", "live_statistics"}
    assert not np.array_equal(last.optimizer["live.0.weights"], last.parameters["0.weights"])
    best = engine.load(tmp_path / "best.safetensors")
    found = engine.Trainer(best, engine.SGD()).evaluate(VALIDATION)["loss"]
    assert found == min(history["val_loss"])


@pytest.mark.parametrize("average", KINDS[:2], ids=["ema", "lookahead"])
@pytest.mark.parametrize("optimizer", [engine.SGD(0.05), engine.NAdam(0.01), engine.RMSprop(0.01, momentum=0.5)])
def test_resumed_at_any_step_gives_the_same_bits(tmp_path, average, optimizer):
    def fit(each, **options):
        return each.fit(TRAIN, VALIDATION, epochs=3, checkpoint_every=2, **options)

    whole = trainer(average, tmp_path / "whole", optimizer)
    history = fit(whole)
    for steps in (1, 5, 8, 12):
        cut = trainer(average, tmp_path / str(steps), optimizer)
        cut_after(cut, steps)
        with pytest.raises(CutOff):
            fit(cut)
        again = trainer(average, tmp_path / str(steps), optimizer)
        assert without_times(fit(again, resume=True).epochs) == without_times(history.epochs)
        assert weights_hash(again.net) == weights_hash(whole.net)
    with pytest.raises(UserError, match="average"):
        trainer(Average(decay=0.5), tmp_path / "whole", optimizer).fit(TRAIN, VALIDATION, epochs=4, resume=True)
    with pytest.raises(UserError, match="average"):
        trainer(None, tmp_path / "whole", optimizer).fit(TRAIN, VALIDATION, epochs=4, resume=True)


@pytest.mark.parametrize("average", KINDS, ids=["ema", "lookahead", "warmup"])
def test_any_number_of_threads_gives_the_same_bits(average):
    before, found = cnncore.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            cnncore.set_num_threads(threads)
            own = trainer(average)
            own.fit(TRAIN, epochs=2)
            found.add(weights_hash(own.net))
    finally:
        cnncore.set_num_threads(before)
    assert len(found) == 1


def test_copies_and_larger_batches_go_on():
    for copied in (copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing)), None):
        own = trainer(Average(decay=0.5))
        own.step(IMAGES[:16], LABELS[:16])
        own.session.show_averaged()
        other = trainer(Average(decay=0.5))
        other.step(IMAGES[:16], LABELS[:16])
        if copied is not None:
            own = copied(own)
        for each in (own, other):
            each.step(IMAGES, LABELS)  # a session of its own: the batch is larger
            each.session.show_averaged()
        assert weights_hash(own.net) == weights_hash(other.net)


def test_a_step_that_fails_leaves_the_averages():
    own = trainer(Average(decay=0.5))
    own.step(IMAGES, LABELS)
    before = own.session.state()
    with pytest.raises(UserError, match="holds nan"):
        own.step(np.full_like(IMAGES, np.nan), LABELS)
    assert all(np.array_equal(value, before[name]) for name, value in own.session.state().items())


def test_a_configuration_names_it():
    content = {"dataset": "digits5k", "model": {"name": "lenet"}, "average": {"kind": "lookahead", "every": 5}}
    assert from_config(read_config(content), None).average == Average("lookahead", every=5)
    assert from_config(read_config({**content, "average": False}), None).average is None
    for wrong, message in (({"kind": "swa"}, "swa"), ({"decay": 1.0}, "decay"), ({"every": 0}, "every")):
        with pytest.raises(UserError, match=message):
            read_config({**content, "average": wrong})


def test_an_average_that_grows_over_the_run_is_not_resumed_for_longer(tmp_path):
    growing = KINDS[1]
    trainer(growing, tmp_path / "growing").fit(TRAIN, epochs=1)
    with pytest.raises(UserError, match=r"the run was started with average\.total = 6, now it is 12"):
        trainer(growing, tmp_path / "growing").fit(TRAIN, epochs=2, resume=True)
    # A checkpoint of an earlier version does not say how long the run was to be.
    path = tmp_path / "growing" / "last.safetensors"
    old = checkpoint.read(path)
    del old.training["settings"]["average"]["total"]
    checkpoint.write(path, old)
    trainer(growing, tmp_path / "growing").fit(TRAIN, epochs=1, resume=True)
    # Without a power the length decides nothing.
    trainer(KINDS[0], tmp_path / "even").fit(TRAIN, epochs=1)
    longer, whole = trainer(KINDS[0], tmp_path / "even"), trainer(KINDS[0])
    longer.fit(TRAIN, epochs=2, resume=True)
    whole.fit(TRAIN, epochs=2)
    assert weights_hash(longer.net) == weights_hash(whole.net) and "total" not in longer.settings()["average"]
