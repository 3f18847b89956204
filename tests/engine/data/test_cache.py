"""The cache of prepared samples: the same as without it, never half written, never of another version."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cnncore
import cv2
import numpy as np
import pytest

import engine
from engine.data import cache, images, workers
from engine.data.dataset import RawDataset, prepare
from engine.data.images import ImageFiles
from engine.data.preprocess import Preprocess
from engine.errors import UserError

STEPS = Preprocess(steps=("reverse",), size=(8, 8))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    monkeypatch.setenv("CNN_CACHE", str(place))
    return place


def write_images(folder, count=6):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (10 + number, 12), np.uint8))
    return paths


def pictures(tmp_path, count=6):
    paths = write_images(tmp_path / "images", count)
    columns = {"number": np.arange(count)}
    return RawDataset("pictures", ImageFiles(paths), np.arange(count, dtype=np.int64) % 2, ("a", "b"), columns)


def entries(folder):
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def test_samples_are_mapped_and_the_same_as_without_a_cache(tmp_path, folder, monkeypatch):
    raw = pictures(tmp_path)
    plain = prepare(raw, STEPS, use_cache=False)
    assert entries(folder) == []
    first = prepare(raw, STEPS)
    monkeypatch.setattr(images, "read_image", lambda path: pytest.fail("decoded again"))
    again = prepare(raw, STEPS)
    for each in (first, again):
        assert isinstance(each.images, np.memmap) and not each.images.flags.writeable
        assert np.array_equal(each.images, plain.images) and np.array_equal(each.labels, plain.labels)
    assert len(entries(folder)) == 1
    assert type(again.subset(np.array([1, 3])).images) is np.ndarray


def test_the_key_follows_files_and_steps(tmp_path, folder):
    raw = pictures(tmp_path)
    paths = raw.images.paths
    key = cache.entry_key(paths, STEPS)
    assert cache.entry_key(paths, Preprocess(steps=("reverse",), size=(8, 8), scale="-1..1", mean=(0.5,))) == key
    others = [
        cache.entry_key(paths, Preprocess(steps=("reverse",), size=(8, 9))),
        cache.entry_key(paths, Preprocess(size=(8, 8))),
        cache.entry_key(paths[::-1], STEPS),
        cache.entry_key(paths[:-1], STEPS),
    ]
    facts = paths[2].stat()
    paths[2].write_bytes(paths[2].read_bytes())
    os.utime(paths[2], ns=(facts.st_atime_ns, facts.st_mtime_ns))  # replaced, and given its old date
    others.append(cache.entry_key(paths, STEPS))
    assert len({key, *others}) == 6


def exchange(tmp_path, first: bytes, second: bytes) -> tuple[list[Path], RawDataset]:
    """Two class folders of a file each, whose size and times are the same."""
    paths = [tmp_path / "set" / name / "0.bmp" for name in ("a", "b")]
    for path, content in zip(paths, (first, second)):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    for _ in range(1000):  # until both are touched within a tick of the file system's clock
        for path in paths:
            os.utime(path, ns=(10**18, 10**18))
        facts = [path.stat() for path in paths]
        if len({(each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in facts}) == 1:
            return paths, RawDataset("set", ImageFiles(paths), np.array([0, 1]), ("a", "b"))
    pytest.skip("the file system's clock is too fine for two files of the same times")


def swap(first: Path, second: Path) -> None:
    for place, target in ((first, first.with_name("t")), (second, first), (first.with_name("t"), second)):
        place.rename(target)


@pytest.mark.parametrize("at", [(0, 0), (49, 49)])
def test_folders_that_were_exchanged_are_prepared_again(tmp_path, folder, at):
    """Their files have the sizes and times that those had whose places they take now."""
    pictures = [np.full((100, 100), 40, np.uint8) for _ in range(2)]
    pictures[1][at] = 90
    paths, raw = exchange(tmp_path, *(cv2.imencode(".bmp", each)[1].tobytes() for each in pictures))
    wanted = prepare(raw, Preprocess()).images[:, 0, at[0], at[1]].tolist()
    swap(*(path.parent for path in paths))
    assert wanted == [40, 90] and prepare(raw, Preprocess()).images[:, 0, at[0], at[1]].tolist() == [90, 40]


@pytest.mark.parametrize("place", [0, -1])
def test_a_file_that_is_as_old_and_long_as_the_one_before_is_known_by_its_bytes(tmp_path, monkeypatch, place):
    """Some file systems count whole seconds, or make up the numbers of inodes."""
    path = tmp_path / "1.pgm"
    path.write_bytes(bytes(10**6))
    facts, keys = path.stat(), []
    for value in (0, 1):
        content = bytearray(10**6)
        content[place] = value
        path.write_bytes(content)
        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", lambda path, **options: facts)
            keys.append(cache.entry_key([path], STEPS))
    assert keys[0] != keys[1]


def test_arrays_are_keyed_by_their_content(folder):
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12), np.uint8)
    labels = np.zeros(5, np.int64)
    first = prepare(RawDataset("array", images, labels, ("a",)), STEPS)
    as_list = prepare(RawDataset("list", list(images), labels, ("a",)), STEPS)
    images[0, 0, 0] ^= 128
    changed = prepare(RawDataset("array", images, labels, ("a",)), STEPS)
    assert np.array_equal(first.images, as_list.images) and not np.array_equal(first.images, changed.images)
    assert len(entries(folder)) == 3


def test_arrays_that_need_no_work_stay_in_memory(folder):
    images = np.zeros((5, 12, 12), np.uint8)
    for preprocess in (Preprocess(), Preprocess(size=(12, 12), scale="-1..1")):
        prepared = prepare(RawDataset("array", images, np.zeros(5, np.int64), ("a",)), preprocess)
        assert not isinstance(prepared.images, np.memmap)
    assert entries(folder) == []


def test_it_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("CNN_CACHE", "off")
    assert cache.cache_folder() is None
    assert not isinstance(prepare(pictures(tmp_path), STEPS).images, np.memmap)
    monkeypatch.delenv("CNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if sys.platform == "linux":
        assert cache.cache_folder() == tmp_path / "home" / "cnn-engine" / "samples"


def test_an_entry_of_another_version_is_not_used(tmp_path, folder, monkeypatch):
    raw = pictures(tmp_path)
    prepare(raw, STEPS)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    prepare(raw, STEPS)
    monkeypatch.setattr(cache, "_code", lambda: "sources of another version")
    prepare(raw, STEPS)
    assert len(entries(folder)) == 3


@pytest.mark.parametrize("damage", ["cut", "no about", "about cut", "no samples", "about of nothing"])
def test_a_damaged_entry_is_built_again(tmp_path, folder, damage):
    raw = pictures(tmp_path)
    wanted = prepare(raw, STEPS).images.copy()
    place = folder / entries(folder)[0]
    if damage == "cut":
        os.truncate(place / cache.SAMPLES, 100)
    elif damage == "about cut":
        os.truncate(place / cache.ABOUT, 10)
    elif damage == "about of nothing":
        (place / cache.ABOUT).write_text("{}")
    else:
        (place / (cache.ABOUT if damage == "no about" else cache.SAMPLES)).unlink()
    assert np.array_equal(prepare(raw, STEPS).images, wanted)
    assert entries(folder) == [place.name]


class FullDisk:
    """A file that takes so many bytes and then says what a full disk says."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.file.close()

    def write(self, data):
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, folder, monkeypatch):
    raw = pictures(tmp_path)
    monkeypatch.setattr(workers, "PER_PART", 2)
    real = Path.open

    def opened(path, *arguments, **options):
        file = real(path, *arguments, **options)
        return FullDisk(file, room=200) if path.name == cache.SAMPLES else file

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", opened)
        with pytest.raises(UserError, match="the disk is full.*pictures.*CNN_CACHE=off") as caught:
            prepare(raw, STEPS)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert entries(folder) == []
    assert len(prepare(raw, STEPS)) == 6


def test_a_real_small_disk(tmp_path):
    """/dev/full says ENOSPC at every write: the same through the operating system."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    place = tmp_path / "cache" / "key"
    place.parent.mkdir()
    real = Path.mkdir

    def made(path, *arguments, **options):
        real(path, *arguments, **options)
        if path.name.startswith(cache.BUILDING):
            (path / cache.SAMPLES).symlink_to("/dev/full")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "mkdir", made)
        with pytest.raises(UserError, match="the disk is full"):
            cache.load_or_build("x", "key", place.parent, lambda: iter([(np.zeros((9, 1, 99, 99), np.uint8), [])]))
    assert entries(place.parent) == []


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CNN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="no cache can be kept there.*pictures"):
        assert len(prepare(pictures(tmp_path), STEPS)) == 6


def test_an_error_while_building_leaves_nothing(tmp_path, folder):
    with pytest.raises(UserError, match="differ in size .12x10 and 12x11|differ in size .10x12 and 11x12"):
        prepare(pictures(tmp_path), Preprocess(steps=("reverse",)))
    assert entries(folder) == []


BUILD = """
import sys, time
from pathlib import Path
from engine.data import images, workers
from engine.data.dataset import RawDataset, prepare
from engine.data.images import ImageFiles
from engine.data.preprocess import Preprocess
import numpy as np
folder, delay = Path(sys.argv[1]), float(sys.argv[2])
workers.PER_PART = 1
real, decoded = images.read_image, []
def slow(path):
    decoded.append(path)
    time.sleep(delay)
    return real(path)
images.read_image = slow
paths = sorted(folder.glob("*.png"))
print("begins", flush=True)
data = prepare(RawDataset("pictures", ImageFiles(paths), np.zeros(len(paths), np.int64), ("a",)),
               Preprocess(steps=("reverse",), size=(8, 8)), threads=1)
print(len(decoded), int(data.images.sum(dtype=np.int64)), flush=True)
"""


def builder(folder, images, delay):
    paths = [str(Path(module.__file__).parents[1]) for module in (cnncore, engine)]
    environment = {**os.environ, "CNN_CACHE": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
    arguments = [sys.executable, "-c", BUILD, str(images), str(delay)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def part_written(folder):
    return any(each.startswith(cache.BUILDING) for each in entries(folder))


def test_a_killed_build_leaves_no_entry_and_the_next_one_tidies_up(tmp_path, folder):
    raw = pictures(tmp_path, 20)
    process = builder(folder, tmp_path / "images", 0.2)
    wait_for(lambda: part_written(folder))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert all(name.startswith(cache.BUILDING) for name in entries(folder))
    prepared = prepare(raw, STEPS)
    assert np.array_equal(prepared.images, prepare(raw, STEPS, use_cache=False).images)
    assert len(entries(folder)) == 1 and not part_written(folder)


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path, folder):
    write_images(tmp_path / "images", 20)
    first = builder(folder, tmp_path / "images", 0.1)
    wait_for(lambda: part_written(folder))
    second = builder(folder, tmp_path / "images", 0.1)
    outputs = [process.communicate(timeout=60)[0].split() for process in (first, second)]
    assert [int(output[1]) for output in outputs] == [20, 0]
    assert outputs[0][2] == outputs[1][2] and len(entries(folder)) == 1


def test_two_processes_build_different_entries_at_once(tmp_path, folder):
    write_images(tmp_path / "one", 20), write_images(tmp_path / "other", 20)
    first = builder(folder, tmp_path / "one", 0.2)
    wait_for(lambda: part_written(folder))
    second = builder(folder, tmp_path / "other", 0.0)
    assert second.communicate(timeout=60)[0].split()[1] == "20"
    assert first.poll() is None and part_written(folder)  # and was not tidied away
    assert first.communicate(timeout=60)[0].split()[1] == "20"
    assert len(entries(folder)) == 2 and not part_written(folder)


def test_what_another_killed_build_left_is_removed(tmp_path, folder):
    write_images(tmp_path / "one", 20)
    process = builder(folder, tmp_path / "one", 0.2)
    wait_for(lambda: part_written(folder))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    prepare(pictures(tmp_path), STEPS)
    assert len(entries(folder)) == 1 and not part_written(folder)


def test_without_locks_both_build_and_one_entry_stays(tmp_path, folder, monkeypatch):
    def refused(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(cache.fcntl, "flock", refused)
    raw = pictures(tmp_path)
    wanted = prepare(raw, STEPS, use_cache=False).images
    meeting = threading.Barrier(2)
    real = cache._to_disk
    monkeypatch.setattr(cache, "_to_disk", lambda file: (meeting.wait(30), real(file))[1])
    results = [None, None]

    def work(place):
        results[place] = prepare(raw, STEPS).images

    threads = [threading.Thread(target=work, args=(place,)) for place in (0, 1)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(np.array_equal(each, wanted) for each in results)
    assert len(entries(folder)) == 1


def test_entries_that_nobody_uses_are_removed(tmp_path, folder):
    raw = pictures(tmp_path)
    prepare(raw, STEPS)
    prepare(raw, Preprocess(size=(4, 4)))
    old = time.time() - (cache.KEEP_DAYS + 1) * 86400
    for name in entries(folder):
        os.utime(folder / name, (old, old))
    prepare(raw, STEPS)  # a use counts
    prepare(raw, Preprocess(size=(5, 5)))
    shapes = {tuple(json.loads((folder / name / cache.ABOUT).read_text())["shape"][2:]) for name in entries(folder)}
    assert shapes == {(8, 8), (5, 5)}


@pytest.mark.parametrize("use_cache", [True, False])
def test_unreadable_images_are_left_out_named_and_counted(tmp_path, use_cache, monkeypatch):
    raw = pictures(tmp_path)
    monkeypatch.setattr(workers, "PER_PART", 2)
    whole = prepare(raw, STEPS, use_cache=False)
    for number, content in ((2, b"text"), (3, b""), (5, b"")):
        raw.images.paths[number].write_bytes(content)
    for _ in range(2):  # built, then found
        with pytest.warns(UserWarning, match=r"pictures: 3 of 6 images .* the first: .*2.png: not an image"):
            prepared = prepare(raw, STEPS, use_cache=use_cache)
        kept = [0, 1, 4]
        assert np.array_equal(prepared.images, whole.images[kept])
        assert np.array_equal(prepared.labels, whole.labels[kept])
        assert prepared.columns["number"].tolist() == kept
        assert [reason.partition(": ")[0] for reason in prepared.skipped] == [
            str(raw.images.paths[number]) for number in (2, 3, 5)
        ]
        with pytest.raises(UserError, match="pictures: 3 of 6 images"):
            prepare(raw, STEPS, use_cache=use_cache, strict=True)
    for path in raw.images.paths:
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of its 6 images can be read; the first: .*0.png"):
        prepare(raw, STEPS, use_cache=use_cache)


def test_one_damaged_image_among_ten_thousand(tmp_path):
    path = write_images(tmp_path / "images", 2)
    paths = [path[0]] * 10_000
    paths[6_789] = path[1]
    path[1].write_bytes(path[1].read_bytes()[:40])
    raw = RawDataset("many", ImageFiles(paths), np.zeros(10_000, np.int64), ("a",))
    with pytest.warns(UserWarning, match="many: 1 of 10000 images .*1.png: the image file is truncated"):
        assert len(prepare(raw, STEPS)) == 9_999
