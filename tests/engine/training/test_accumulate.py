"""Gradients that are added up over parts of a batch: the step of the whole batch, but for rounding."""

import cnncore
import numpy as np
import pytest

import engine
from engine.errors import DivergedError, UserError
from engine.network.checkpoint import weights_hash
from tests.engine.small import small_dataset, small_net

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((48, 2, 12, 12)).astype(np.float32)
LABELS = RNG.integers(0, 5, 48)
CLOSE = 2e-6  # of the largest weight: a few roundings of float32 in the sums of each step


def net(dropout=0.4):
    return engine.Sequential(
        [
            engine.Conv2D(2, 8, 3, padding=1), engine.ReLU(), engine.MaxPool2D(2, 2), engine.Dropout(dropout),
            engine.Conv2D(8, 7, 3, padding=1), engine.ReLU(), engine.Flatten(), engine.Dropout(dropout),
            engine.Linear(7 * 36, 9), engine.ReLU(), engine.Dropout(dropout), engine.Linear(9, 5),
        ],
        input_shape=(2, 12, 12),
    )  # fmt: skip


def steps(parts, count=4, max_norm=None, samples=48, optimizer=None):
    own = net()
    session = own.training_session(
        engine.CrossEntropy(), optimizer or engine.SGD(0.1, 0.9), 48, max_norm=max_norm, parts=parts
    )
    losses = [session.step(IMAGES[:samples], LABELS[:samples], 0.1, step, seed=3) for step in range(count)]
    return own, losses, session


@pytest.mark.parametrize("max_norm", [None, 0.3])
@pytest.mark.parametrize("samples", [48, 47, 3, 1])
@pytest.mark.parametrize("parts", [2, 3, 5, 48])
def test_a_step_is_that_of_the_whole_batch(parts, samples, max_norm):
    """Dropout included, whose draws are those of the whole batch: those of 9 outputs begin within a block of four."""
    own, losses, session = steps(parts, max_norm=max_norm, samples=samples)
    whole, expected, reference = steps(1, max_norm=max_norm, samples=samples)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert session.gradient_norm == pytest.approx(reference.gradient_norm, rel=1e-4)
    for name, value in whole.parameters().items():
        assert np.abs(own.parameters()[name] - value).max() <= CLOSE * np.abs(value).max(), name


def test_the_activations_of_a_part_are_in_memory():
    sizes = [steps(parts, count=0)[2].plan.arena.bytes for parts in (1, 4)]
    assert sizes[1] < sizes[0] / 3  # a quarter, and what does not grow with the batch


def test_any_number_of_threads_gives_the_same_bits():
    before, found = cnncore.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            cnncore.set_num_threads(threads)
            found.add(weights_hash(steps(3)[0]))
    finally:
        cnncore.set_num_threads(before)
    assert len(found) == 1


def test_a_run_sees_the_samples_of_the_larger_batch():
    data = small_dataset(100)
    runs = []
    for batch, passes in ((32, 1), (8, 4)):
        layers = [engine.Conv2D(1, 4, 3), engine.ReLU(), engine.Flatten(), engine.Linear(256, 3)]
        own = engine.Sequential(layers, (1, 10, 10))
        trainer = engine.Trainer(own, engine.SGD(0.05), batch_size=batch, accumulate=passes, progress="none")
        history = trainer.fit(data, epochs=2)
        runs.append((trainer.steps, history["train_loss"], own.parameters()))
    assert runs[0][0] == runs[1][0] == 8
    assert runs[0][1] == pytest.approx(runs[1][1], rel=1e-5)
    assert all(np.allclose(value, runs[1][2][name], atol=1e-6) for name, value in runs[0][2].items())


def test_batch_normalisation_sees_a_part_at_a_time():
    data = small_dataset(32)
    images = data.normalise(data.images)
    own, by_hand = small_net(), small_net()
    own.training_session(engine.CrossEntropy(), engine.SGD(0.0), 32, parts=2).step(images, data.labels, 0.0, 0, 0)
    for half in (slice(0, 16), slice(16, 32)):
        by_hand.loss_and_gradients(images[half], data.labels[half], engine.CrossEntropy())
    assert all(np.array_equal(value, by_hand.buffers()[name]) for name, value in own.buffers().items())


def test_a_part_that_diverges_changes_nothing_and_is_named():
    own = net(0.0)
    session = own.training_session(engine.CrossEntropy(), engine.SGD(0.1), 48, parts=3)
    before = weights_hash(own)
    wide = IMAGES.copy()
    wide[20] = 3e38
    with pytest.raises(DivergedError, match="step 7"):
        session.step(wide, LABELS, 0.1, 7, 0)
    assert weights_hash(own) == before
    wrong = LABELS.copy()
    wrong[40] = 5
    with pytest.raises(UserError, match="sample 40"):
        session.step(IMAGES, wrong, 0.1, 7, 0)
    assert weights_hash(own) == before


def test_another_number_of_passes_is_another_run(tmp_path):
    def trainer(passes):
        return engine.Trainer(
            small_net(), engine.SGD(0.05), batch_size=32 // passes, accumulate=passes, out=tmp_path, progress="none"
        )

    trainer(2).fit(small_dataset(64), epochs=1)
    for other in (1, 4):
        with pytest.raises(UserError, match="accumulate"):
            trainer(other).fit(small_dataset(64), epochs=2, resume=True)
    trainer(2).fit(small_dataset(64), epochs=2, resume=True)
