"""What a result file does to that which stands in its place: a file, a link, a FIFO, a device or a socket."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import files
from engine.errors import UserError
from engine.inference.rows import opened
from engine.network import checkpoint
from engine.plots.canvas import new_figure, save
from experiments.records.export import export
from tests.engine.small import small_net


def rows(path: Path) -> None:
    with opened(path) as file:
        file.write("file,label\n")


def figure(path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra [plots])")
    save(new_figure(3, 2), path)


def table(path: Path) -> None:
    pytest.importorskip("pandas", reason="needs pandas (extra [experiments])")
    export([], path)


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "bytes": ("text", lambda path: files.write_atomically(path, b"x" * 5000)),
    "rows": ("p.csv", rows),
    "checkpoint": ("c.safetensors", lambda path: checkpoint.save(small_net(), path)),
    "figure": ("f.png", figure),
    "export": ("e.csv", table),
}
each_writer = pytest.mark.parametrize("name", WRITERS)


def writer(name: str, folder: Path) -> tuple[Path, Callable[[Path], object], bytes]:
    """A path in the folder, what writes there, and what it writes."""
    file, write = WRITERS[name]
    plain = folder / "plain" / file
    write(plain)
    return folder / file, write, plain.read_bytes()


@each_writer
def test_a_fifo_gets_the_content_and_stays(tmp_path: Path, name: str) -> None:
    path, write, content = writer(name, tmp_path)
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()), daemon=True)
    reader.start()
    write(path)
    reader.join(10)
    assert stat.S_ISFIFO(path.lstat().st_mode) and got == [content]
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "plain"}


@each_writer
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path, name: str) -> None:
    path, write, content = writer(name, tmp_path)
    target, between = tmp_path / "there" / "target", tmp_path / "between"
    target.parent.mkdir()
    target.write_bytes(b"before")
    between.symlink_to("there/target")
    path.symlink_to("between")
    write(path)
    assert path.is_symlink() and between.is_symlink() and target.read_bytes() == content
    assert [*target.parent.iterdir()] == [target]


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new/target")
    files.write_atomically(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "new" / "target").read_bytes() == b"x"


def test_a_link_in_a_circle_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="link") as told:
        files.write_atomically(tmp_path / "link", b"x")
    assert told.value.filename == str(tmp_path / "link") and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("links", (True, False), ids=("with links", "without"))
def test_the_file_that_is_kept_stays_until_the_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Whoever looks, at any time, finds one; a process that was killed in between left both names to one file."""
    last, previous, missed = tmp_path / "last", tmp_path / "previous", list[Path]()
    replace = Path.replace

    def watched(path: Path, target: Path) -> Path:
        done = replace(path, target)
        missed.extend([last] * (not last.exists()))
        return done

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links")

    monkeypatch.setattr(Path, "replace", watched)
    if not links:
        monkeypatch.setattr(os, "link", refused)
    for number in range(3):
        files.write_atomically(last, b"%d" % number, keep=previous)
        if number:
            assert previous.read_bytes() == b"%d" % (number - 1)
    if links:
        previous.unlink()
        os.link(last, previous)
        files.write_atomically(last, b"3", keep=previous)
        assert previous.read_bytes() == b"2" and not missed
    assert {each.name for each in tmp_path.iterdir()} == {"last", "previous"}


def test_what_a_link_pointed_to_is_kept_under_the_other_name(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"before")
    (tmp_path / "last").symlink_to("target")
    files.write_atomically(tmp_path / "last", b"now", keep=tmp_path / "previous")
    assert (tmp_path / "last").is_symlink() and (tmp_path / "target").read_bytes() == b"now"
    assert not (tmp_path / "previous").is_symlink() and (tmp_path / "previous").read_bytes() == b"before"


@each_writer
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_the_mode_of_the_file_that_is_replaced_stays(tmp_path: Path, name: str, mode: int) -> None:
    path, write, content = writer(name, tmp_path)
    path.write_bytes(b"before")
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == content


def test_its_content_is_never_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"before")
    path.chmod(0o600)
    with files.replacing(path):
        assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


def test_so_does_its_owner(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a file to another user")
    path = tmp_path / "theirs"
    path.write_bytes(b"before")
    os.chown(path, 12345, 12346)
    files.write_atomically(path, b"now")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


@each_writer
def test_a_device_is_written_to_and_stays(tmp_path: Path, name: str) -> None:
    path, write, _ = writer(name, tmp_path)
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as /dev/null
        path.open("wb").close()
    except PermissionError:
        pytest.skip("this user may not make device nodes here")
    write(path)
    assert stat.S_ISCHR(path.lstat().st_mode) and path.lstat().st_rdev == os.makedev(1, 3)
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "plain"}


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("here")
        with pytest.raises(UserError, match="here: is a socket, expected a file's name"):
            files.write_atomically(Path("here"), b"x")
        assert stat.S_ISSOCK(Path("here").lstat().st_mode)


STANDARD_OUTPUT = """
from pathlib import Path
from engine.files import write_atomically
print("before", flush=True)
write_atomically(Path("{name}"), b"content\\n")
print("after")
"""


@pytest.mark.parametrize("name", ["link", "/proc/self/fd/1"])
def test_standard_output_by_its_name_is_gone_on_with(tmp_path: Path, name: str) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    (tmp_path / "link").symlink_to("/proc/self/fd/1")  # as /dev/stdout
    command = [sys.executable, "-c", STANDARD_OUTPUT.format(name=name)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (tmp_path / "said").open("wb") as said:
        subprocess.run(command, stdout=said, check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "said").read_text() == "before\ncontent\nafter\n" and (tmp_path / "link").is_symlink()
    piped = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=tmp_path, env=environment)
    assert piped.stdout == b"before\ncontent\nafter\n"
