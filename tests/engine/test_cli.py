"""How a command speaks: its signs, its warnings, its errors and its status."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import warnings

import pytest

from engine.cli import SPELLED, run
from engine.errors import UserError, warn


class Terminal:
    """Standard output and error of one encoding; `said` gives what reached them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, encoding: str):
        self._encoding = encoding
        self._bytes = {name: io.BytesIO() for name in ("stdout", "stderr")}
        for name, content in self._bytes.items():
            monkeypatch.setattr(sys, name, io.TextIOWrapper(content, encoding=encoding))

    def said(self) -> tuple[str, str]:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        out, err = (content.getvalue().decode(self._encoding) for content in self._bytes.values())
        return out, err


TEXT = "0.98 ± 0.01 → é " + "\udcff"  # the last is what a byte of a file name becomes that is not UTF-8


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"0.98 +/- 0.01 -> \xe9 \udcff"),
        ("latin-1", r"0.98 ± 0.01 -> é \udcff"),
        ("utf-8", r"0.98 ± 0.01 → é \udcff"),
    ],
)
def test_a_sign_that_the_terminal_lacks_is_spelled(monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str) -> None:
    terminal = Terminal(monkeypatch, encoding)

    def main() -> None:
        print(TEXT)
        warn(TEXT)
        raise UserError(TEXT)

    assert run(main) == 2
    assert terminal.said() == (f"{shown}\n", f"warning: {shown}\nerror: {shown}\n")


@pytest.mark.parametrize(
    ("module", "arguments", "missing"),
    [
        ("engine.train", [], "CONFIG.yaml"),
        ("engine.crossval", [], "CONFIG.yaml"),
        ("engine.profile", [], "MODEL|CONFIG|CHECKPOINT|RUN"),
        ("engine.data.__main__", ["verify"], "NAME"),
        ("engine.data.__main__", ["preview"], "NAME"),
    ],
)
def test_what_may_be_left_out_is_not_said_to_be_required(
    module: str, arguments: list[str], missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"the following arguments are required: {missing}\n")


def test_every_spelling_is_ascii() -> None:
    assert all(len(sign) == 1 and not sign.isascii() and spelled.isascii() for sign, spelled in SPELLED.items())
    assert SPELLED["±"] == "+/-" and SPELLED["’"] == "'" and SPELLED["”"] == '"'


def test_warnings_are_lines_and_each_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        for _ in range(2):
            warn("photos: 1 of 3 images\ncannot be read")
        warnings.warn("another package says so", FutureWarning, stacklevel=1)
        warnings.warn("and so", UserWarning, stacklevel=1)

    assert run(main) == 0
    lines = ["photos: 1 of 3 images cannot be read", "another package says so", "and so"]
    assert capsys.readouterr().err.splitlines() == [f"warning: {line}" for line in lines]


def test_a_process_speaks_as_before_when_the_command_has_ended() -> None:
    before = warnings.showwarning
    assert run(lambda: None) == 0 and warnings.showwarning is before
    with pytest.warns(UserWarning, match="afterwards"):
        warn("afterwards")


def test_a_reader_that_has_gone_is_no_error() -> None:
    """Also where all that was printed fits into a buffer that is written at the end."""
    code = "import sys, time\nfrom engine.cli import run\nsys.exit(run(lambda: (time.sleep(0.5), print('a'))[1]))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 2


def test_a_closed_output_is_no_error() -> None:
    command = f"{sys.executable} -c 'from engine.cli import run; exit(run(lambda: print(1)))' >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
