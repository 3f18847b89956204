"""Prefetching: the same batches for any number of threads, and as many threads at work as the changes need."""

import threading
import time

import numpy as np
import pytest

from engine import SGD, CrossEntropy, Flatten, Linear, Sequential, Trainer
from engine.data import workers
from engine.data.dataset import Dataset
from engine.data.images import load_cv2
from engine.data.loader import Loader, Mixup
from engine.data.workers import in_order
from engine.errors import UserError
from engine.training.progress import LOADER_BOUND, epoch_line


def dataset(count=23):
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 1, 2, 2)
    return Dataset("tiny", images, np.arange(count, dtype=np.int64) % 3, ("a", "b", "c"))


def uneven(image, rng):
    """A change that takes longer for some batches than for others, so that threads finish out of order."""
    time.sleep(0.003 * int(rng.integers(0, 4)))
    return image + rng.integers(0, 5, dtype=np.uint8)


def batches(epoch=1, start=0, **options):
    loader = Loader(dataset(), 3, seed=3, sample_transforms=(uneven,), batch_transform=Mixup(0.4, 3), **options)
    return list(loader.epoch(epoch, start))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [1, 4, 100])
def test_order_and_bits_do_not_depend_on_the_threads(workers, prefetch):
    alone = batches(prefetch=0)
    for start in (0, 3):
        found = batches(start=start, prefetch=prefetch, workers=workers)
        assert len(found) == len(alone) - start
        for (x, y), (wanted_x, wanted_y) in zip(found, alone[start:], strict=True):
            assert np.array_equal(x, wanted_x) and np.array_equal(y, wanted_y)


@pytest.mark.parametrize("workers", [2, 4])
def test_expensive_changes_run_on_all_workers(workers):
    """A change that waits until as many others are under way would never end on fewer threads."""
    meeting = threading.Barrier(workers, timeout=30)
    names = set()

    def together(image, rng):
        names.add(threading.current_thread().name)
        meeting.wait()
        return image

    loader = Loader(dataset(3 * workers), 1, sample_transforms=(together,), prefetch=1, workers=workers)
    assert len(list(loader.epoch(0))) == 3 * workers
    assert len(names) == workers and all(name.startswith("cnn-loader") for name in names)


def test_batches_are_ready_when_the_step_takes_longer():
    """While a batch is worked on, those to come are prepared: each is there before it is asked for."""
    prepared = threading.Semaphore(0)

    def counted(image, rng):
        prepared.release()
        return image

    loader = Loader(dataset(9), 1, sample_transforms=(counted,), prefetch=2, workers=1)
    for number, _ in enumerate(loader.epoch(0)):
        for _ in range(3 if number == 0 else 1 if number <= 6 else 0):
            assert prepared.acquire(timeout=30)  # without another batch being taken
    assert not prepared.acquire(blocking=False)


def test_an_epoch_that_is_left_stops_its_threads():
    begun = []

    def noted(image, rng):
        begun.append(1)
        return image

    epoch = Loader(dataset(), 1, sample_transforms=(noted,), prefetch=4, workers=3).epoch(0)
    next(epoch)
    epoch.close()
    assert len(begun) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cnn-loader")]


def test_in_order_raises_an_error_at_its_turn():
    def work(item):
        if item == 2:
            raise UserError("the third")
        return item

    results = in_order(work, range(9), threads=3, ahead=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(UserError, match="the third"):
        next(results)
    assert list(in_order(work, [], 2, 2)) == []


@pytest.mark.parametrize("count", [0, 1, workers.PER_PART, 5 * workers.PER_PART + 3, 40 * workers.PER_PART])
@pytest.mark.parametrize("together", [0.5, 2.0])
def test_parts_come_in_order_from_as_many_threads_as_are_faster(count, together, monkeypatch):
    """The clock is set: several threads take half, or twice, as long as one for a part."""
    means = iter([together, 1.0])  # in the order in which they are asked for
    monkeypatch.setattr(workers._Stopwatch, "mean", property(lambda self: next(means)))
    before = load_cv2().getNumThreads()
    used: dict[int, set[int]] = {}

    def work(indices):
        assert not indices[0] or load_cv2().getNumThreads() == 1
        used.setdefault(indices[0] // workers.PER_PART, set()).add(threading.get_ident())
        return list(indices)

    assert [index for part in workers.in_parts(work, count, 3) for index in part] == list(range(count))
    assert load_cv2().getNumThreads() == before
    here, trial = {threading.get_ident()}, 1 + 2 + 4 * 3
    assert all(used[part] == here for part in range(3) if part in used)
    for part, threads in used.items():
        assert 3 <= part < trial or (threads == here) == (part < 3 or together > 1)


def test_opencv_gets_its_threads_back_when_the_last_one_leaves():
    before = load_cv2().getNumThreads()
    first, second = (workers.in_parts(list, 5 * workers.PER_PART, 1) for _ in range(2))
    next(first), next(first), next(second), next(second)
    first.close()
    assert load_cv2().getNumThreads() == 1
    assert len(list(second)) == 3 and load_cv2().getNumThreads() == before


def test_bad_arguments():
    with pytest.raises(UserError, match="workers"):
        Loader(dataset(), 2, workers=0)
    with pytest.raises(UserError, match="prefetch"):
        Loader(dataset(), 2, prefetch=-1)


def trained(transform, capsys):
    net = Sequential([Flatten(), Linear(4, 3)], input_shape=(1, 2, 2))
    trainer = Trainer(net, SGD(lr=0.01), CrossEntropy(), progress="lines")
    history = trainer.fit(Loader(dataset(), 3, sample_transforms=(transform,), prefetch=1, workers=1), epochs=1)
    return history.epochs[0], capsys.readouterr().out


def test_a_run_says_how_long_it_waited_for_data(capsys):
    def slow(image, rng):
        time.sleep(0.03)
        return image

    record, shown = trained(slow, capsys)
    assert 0.5 * record["seconds"] < record["data_wait_seconds"] <= record["seconds"]
    assert "waiting for data" in shown
    assert record["data_wait_seconds"] >= 0.6  # 23 images of 30 ms each, hardly any training


def test_the_progress_line_says_loader_bound_above_its_share():
    record = {"learning_rate": 0.1, "train_loss": 1.0, "seconds": 10.0, "images_per_second": 5.0}
    above = {**record, "data_wait_seconds": 10 * LOADER_BOUND + 1}
    below = {**record, "data_wait_seconds": 10 * LOADER_BOUND - 0.1}
    assert epoch_line(1, 2, above).endswith("10.0 s  5 images/s  loader-bound: 15% waiting for data")
    moment = {**record, "seconds": 0.1, "data_wait_seconds": 0.09}  # the first batch of an epoch that is over at once
    for each in (below, moment, record):
        assert epoch_line(1, 2, each).endswith("5 images/s")
