"""Downloads from a local server that breaks off, lies about sizes, changes its file and serves tampered bytes."""

import fcntl
import gzip
import hashlib
import io
import re
import struct
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from engine.data.sets.download import ATTEMPTS, download
from engine.data.sets.fetch import fetch
from engine.data.sets.record import DataFile, Download, Split
from engine.data.sets.registry import record
from engine.errors import UserError

CONTENT = np.random.Generator(np.random.Philox(7)).bytes(900_000)
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Behaviour:
    """What the server does; tests change it between requests."""

    def __init__(self):
        self.files = {"/file.bin": CONTENT}
        self.break_after = []  # for each coming answer: so many bytes, then the connection is cut
        self.announce = None  # a false Content-Length
        self.status = 200
        self.ranges = True
        self.tag = '"v1"'
        self.encoding = None  # a Content-Encoding that was not asked for
        self.seen = []  # the Range header of each request, None without


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        does = self.server.behaviour
        content = does.files.get(self.path)
        wanted = self.headers.get("Range")
        does.seen.append(wanted)
        if content is None or does.status != 200:
            self.send_error(404 if content is None else does.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        partial = bool(wanted) and does.ranges and self.headers.get("If-Range") == does.tag
        body = content[start:] if partial else content
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if does.tag:
            self.send_header("ETag", does.tag)
        if does.encoding:
            self.send_header("Content-Encoding", does.encoding)
        self.send_header("Content-Length", str(len(body) if does.announce is None else does.announce))
        self.end_headers()
        if does.break_after:
            body = body[: does.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Quiet."""


@contextmanager
def serving():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.behaviour = Behaviour()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.behaviour, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as pair:
        yield pair


def get(place, folder, name="file.bin", **fields):
    wanted = Download((f"{place}/{name}",), "file.bin", **fields)
    return download(wanted, folder, progress=False, pause=0)


def test_a_file_arrives_whole(server, tmp_path):
    behaviour, place = server
    path = get(place, tmp_path / "new", hash=MD5, size=len(CONTENT))
    assert path.read_bytes() == CONTENT and [each.name for each in path.parent.iterdir()] == ["file.bin"]
    get(place, tmp_path / "new", hash=MD5)
    assert behaviour.seen == [None]  # it was not asked for again


def test_broken_off_downloads_go_on_where_they_stopped(server, tmp_path):
    behaviour, place = server
    behaviour.break_after = [300_000, 200_000]
    path = get(place, tmp_path, hash=MD5, size=len(CONTENT))
    assert path.read_bytes() == CONTENT
    starts = [int(each[6:-1]) for each in behaviour.seen[1:]]
    assert behaviour.seen[0] is None and len(starts) == 2
    assert 250_000 < starts[0] <= 300_000 and starts[0] + 150_000 < starts[1] <= starts[0] + 200_000


def test_a_later_call_goes_on(server, tmp_path):
    behaviour, place = server
    behaviour.break_after = [400_000] + [0] * (ATTEMPTS + 1)
    with pytest.raises(UserError, match="breaks off again and again; the same command goes on"):
        get(place, tmp_path, hash=MD5)
    assert not (tmp_path / "file.bin").exists()
    behaviour.break_after = []
    behaviour.seen.clear()
    assert get(place, tmp_path, hash=MD5).read_bytes() == CONTENT
    assert behaviour.seen[0] is not None and len(behaviour.seen) == 1


@pytest.mark.parametrize("change", ["file", "no ranges", "no validator"])
def test_parts_of_different_files_are_never_mixed(server, tmp_path, change):
    behaviour, place = server
    if change == "no validator":
        behaviour.tag = ""
    behaviour.break_after = [400_000] + [0] * (ATTEMPTS + 1)
    with pytest.raises(UserError):
        get(place, tmp_path)
    behaviour.break_after = []
    if change == "file":
        behaviour.files["/file.bin"] = CONTENT[::-1]
        behaviour.tag = '"v2"'
    behaviour.ranges = change != "no ranges"
    assert get(place, tmp_path).read_bytes() == behaviour.files["/file.bin"]


def test_a_gzipped_file_stays_gzipped(server, tmp_path):
    behaviour, place = server
    behaviour.files["/file.bin"] = gzip.compress(CONTENT)
    behaviour.encoding = "gzip"  # said of the file's own compression
    behaviour.break_after = [500_000]
    assert gzip.decompress(get(place, tmp_path).read_bytes()) == CONTENT and len(behaviour.seen) == 2


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_tampered_bytes_are_deleted(server, tmp_path):
    behaviour, place = server
    behaviour.files["/file.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match="not the published file .its hash is not md5:"):
        get(place, tmp_path, hash=MD5, size=len(CONTENT))
    assert left(tmp_path) == []
    behaviour.files["/file.bin"] = CONTENT
    assert get(place, tmp_path, hash=MD5).read_bytes() == CONTENT


@pytest.mark.parametrize("announced", [500_000, 1_000_000])
def test_a_false_length_is_noticed_at_once_where_the_size_is_known(server, tmp_path, announced):
    behaviour, place = server
    behaviour.announce = announced
    with pytest.raises(UserError, match=f"announces {announced:,} bytes, expected 900,000"):
        get(place, tmp_path, hash=MD5, size=len(CONTENT))
    assert left(tmp_path) == [] and len(behaviour.seen) == 1


def test_a_length_too_small_gives_no_file(server, tmp_path):
    behaviour, place = server
    behaviour.announce = 500_000
    with pytest.raises(UserError, match="its hash is not"):
        get(place, tmp_path, hash=MD5)
    assert left(tmp_path) == []


def test_a_length_too_large_gives_no_file(server, tmp_path):
    behaviour, place = server
    behaviour.announce = 1_000_000
    behaviour.break_after = [len(CONTENT)] * 20
    behaviour.ranges = False
    with pytest.raises(UserError, match="breaks off"):
        get(place, tmp_path, hash=MD5)
    assert not (tmp_path / "file.bin").exists()


@pytest.mark.parametrize(("status", "message"), [(403, "answers 403"), (404, "answers 404"), (503, "answers 503")])
def test_answers_of_refusal(server, tmp_path, status, message):
    behaviour, place = server
    behaviour.status = status
    with pytest.raises(UserError, match=message):
        get(place, tmp_path)
    assert left(tmp_path) == [] and len(behaviour.seen) == (ATTEMPTS if status >= 500 else 1)


def test_nobody_answers(tmp_path):
    with serving() as (_, place):
        pass
    with pytest.raises(UserError, match="file.bin could not be downloaded: .*cannot be reached"):
        get(place, tmp_path)


def test_the_second_address_is_tried(server, tmp_path):
    _, place = server
    wanted = Download((f"{place}/none.bin", f"{place}/file.bin"), "file.bin", MD5)
    assert download(wanted, tmp_path, progress=False, pause=0).read_bytes() == CONTENT


def idx(array):
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small_mnist(server):
    """The record of MNIST with four small files on the local server."""
    behaviour, place = server
    arrays = {
        "train-images-idx3-ubyte": np.arange(24, dtype=np.uint8).reshape(4, 2, 3),
        "train-labels-idx1-ubyte": np.arange(4, dtype=np.uint8),
        "t10k-images-idx3-ubyte": np.ones((2, 2, 3), np.uint8),
        "t10k-labels-idx1-ubyte": np.zeros(2, np.uint8),
    }
    contents = {name: idx(array) for name, array in arrays.items()}
    behaviour.files = {f"/{name}.gz": gzip.compress(content) for name, content in contents.items()}
    return replace(
        record("mnist"),
        splits=(Split("train", {"split": "train"}, 4), Split("test", {"split": "test"}, 2)),
        files=tuple(DataFile(name, len(each), hashlib.sha256(each).hexdigest()) for name, each in contents.items()),
        downloads=tuple(Download((f"{place}/{name}.gz",), f"{name}.gz") for name in contents),
    )


def test_a_set_appears_at_once_and_only_when_whole(server, small_mnist, tmp_path):
    behaviour, _ = server
    behaviour.break_after = [10**6, 20] + [0] * (ATTEMPTS + 1)
    with pytest.raises(UserError, match="train-labels-idx1-ubyte.gz could not be downloaded"):
        fetch(small_mnist, tmp_path, progress=False, pause=0)
    assert not (tmp_path / "mnist").exists()
    behaviour.break_after = []
    place = fetch(small_mnist, tmp_path, progress=False, pause=0)
    assert place == tmp_path / "mnist" and len(left(place)) == 4
    assert left(tmp_path / ".downloads") == []
    requests = len(behaviour.seen)
    assert fetch(small_mnist, tmp_path, progress=False) == place and len(behaviour.seen) == requests


def test_tampered_contents_never_become_a_set(server, small_mnist, tmp_path):
    behaviour, _ = server
    behaviour.files["/t10k-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.ones(2, np.uint8)))
    with pytest.raises(UserError, match="not the published set .t10k-labels-idx1-ubyte: SHA-256 .*nothing was kept"):
        fetch(small_mnist, tmp_path, progress=False, pause=0)
    assert left(tmp_path) == [] and not (tmp_path / "mnist").exists()


def test_two_processes_do_not_write_the_same_download(server, small_mnist, tmp_path):
    (tmp_path / ".downloads").mkdir()
    with (tmp_path / ".downloads" / "mnist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is fetching mnist"):
            fetch(small_mnist, tmp_path, progress=False)
    assert server[0].seen == []
    assert fetch(small_mnist, tmp_path, progress=False).is_dir()


def test_half_a_set_is_not_overwritten(server, small_mnist, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"mine")
    with pytest.raises(
        UserError, match="not the whole set .train-images-idx3-ubyte: 4 bytes, expected .*out of the way"
    ):
        fetch(small_mnist, tmp_path, progress=False)
    assert left(tmp_path) == ["train-images-idx3-ubyte"]


def tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def small_emnist(server):
    _, place = server
    return replace(
        record("emnist"),
        splits=(Split("digits train", {"part": "digits", "split": "train"}, 3),),
        files=(),
        downloads=(Download((f"{place}/all",), "all", unpack="."),),
    )


DIGITS = {
    "gzip/emnist-digits-train-images-idx3-ubyte.gz": gzip.compress(idx(np.zeros((3, 2, 2), np.uint8))),
    "gzip/emnist-digits-train-labels-idx1-ubyte.gz": gzip.compress(idx(np.arange(3, dtype=np.uint8))),
}


@pytest.mark.parametrize("pack", [tar, zipped])
def test_archives_are_unpacked(server, small_emnist, tmp_path, pack):
    server[0].files = {"/all": pack(DIGITS)}
    place = fetch(small_emnist, tmp_path, progress=False)
    assert left(place) == sorted(name[5:] for name in DIGITS)


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("name", ["../../../outside", "/tmp/outside-of-it"])
def test_archives_cannot_write_elsewhere(server, small_emnist, tmp_path, pack, name):
    server[0].files = {"/all": pack({**DIGITS, name: b"!"})}
    root = tmp_path / "a" / "b"
    try:
        fetch(small_emnist, root, progress=False)
    except UserError as error:
        assert "damaged or unsafe archive" in str(error)
    assert not (tmp_path / "outside").exists() and not (tmp_path / "a" / "outside").exists()
    assert not (root / "emnist").exists() or pack is tar  # tarfile takes the root off an absolute path


@pytest.mark.parametrize("content", [b"no archive", tar(DIGITS)[:-40], zipped(DIGITS)[:-40]])
def test_damaged_archives(server, small_emnist, tmp_path, content):
    server[0].files = {"/all": content}
    with pytest.raises(UserError, match="damaged or unsafe archive"):
        fetch(small_emnist, tmp_path, progress=False)
    assert left(tmp_path) == []


def altered(content, offset_in_directory, value):
    """The zip archive with this 16 bit value in the directory's entry of its first member."""
    place = content.index(b"PK\1\2") + offset_in_directory
    return content[:place] + struct.pack("<H", value) + content[place + 2 :]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (altered(zipped(DIGITS), 8, 1), "is encrypted"),
        (altered(zipped(DIGITS), 10, 99), "compression method|compression type"),
        (altered(zipped(DIGITS), 26, 60_000), "would unpack to far more|Overlapped"),
        (tar({**DIGITS, "zeros": bytes(30_000_000)}), "would unpack to far more than a set has"),
        (gzip.compress(tar(DIGITS)[:200]), ""),
    ],
)
def test_archives_of_another_kind_than_published_ones_are_refused_with_one_error(
    server, small_emnist, tmp_path, content, said
):
    server[0].files = {"/all": content}
    with pytest.raises(UserError, match=f"damaged or unsafe archive .*({said})"):
        fetch(small_emnist, tmp_path, progress=False)
    assert left(tmp_path) == []


def test_an_archive_with_too_few_images(server, small_emnist, tmp_path):
    server[0].files = {"/all": zipped(DIGITS)}
    whole = replace(small_emnist, splits=(replace(small_emnist.splits[0], images=5),))
    with pytest.raises(UserError, match="digits train: 3 images, expected 5"):
        fetch(whole, tmp_path, progress=False)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("numtadb", ["kaggle.com", "log in", "training-a.csv", "numtadb/", "verify numtadb"]),
        ("scenes", ["spatialenvelope", "MIT_split/train/CLASS", "tallbuilding"]),
        ("digits5k", ["comes with this package"]),
        ("folder", ["path=FOLDER"]),
    ],
)
def test_what_cannot_be_downloaded_is_explained(tmp_path, name, words):
    with pytest.raises(UserError) as caught:
        fetch(record(name), tmp_path)
    assert all(word in str(caught.value) for word in words), caught.value
    assert left(tmp_path) == []
