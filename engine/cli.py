"""What every command shares: its parser, how errors and warnings reach the user, and which exit status it gives."""

import argparse
import codecs
import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from engine import __version__
from engine.errors import TREES, UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what a full or broken disk says

STREAMS = {"stdout": 1, "stderr": 2}  # and their descriptors
OTHERS = "py.warnings"  # the logger of what other packages say by Python's warnings; the standard library's own name

# How signs of our tables and messages are written where the terminal lacks them.
SPELLED = {
    "±": "+/-",
    "→": "->",
    "←": "<-",
    "…": "...",
    "×": "x",
    "·": "*",
    "÷": "/",
    "−": "-",
    "–": "-",
    "—": "-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "λ": "lambda",
    "σ": "sigma",
    "µ": "u",
    "²": "^2",
    "³": "^3",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
SPELL = "engine.spell"  # the name of the way to encode, beside "strict", "backslashreplace" and others


def command_parser(module: str, description: str | None = None) -> argparse.ArgumentParser:
    """A parser for `python -m MODULE`, or the script that is installed for it, with `--version`."""
    called = Path(sys.argv[0])
    parser = argparse.ArgumentParser(
        prog=called.name if is_script(called) else f"python -m {module}", description=description
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"cnn-engine {__version__}",
        help="show the version of cnn-engine and exit",
    )
    return parser


def is_script(called: Path) -> bool:
    """Whether a process that was called so is an installed script, such as cnn-train."""
    return called.name.startswith("cnn-")


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and return the exit status; a foreseeable failure prints one line `error: …` and gives 2.

    Foreseeable are mistakes of the user (UserError), a status of the compiled core, and the operating system
    saying no (a full disk, a missing permission, a package that is not installed). Anything else is a defect of
    this project and keeps its traceback. What else `in_plain_lines` says holds for `main`.
    """
    with in_plain_lines():
        try:
            status = main() or 0
            sys.stdout.flush()  # now, where what goes wrong is told as everything else
            return status
        except KeyboardInterrupt:
            _tell("interrupted")
            return EXIT_INTERRUPTED
        except BrokenPipeError:  # the reader of our output has gone (`… | head`), who needs no message
            _drop(sys.stdout)
            return EXIT_USER_ERROR
        except Exception as error:
            if not _is_foreseeable(error):
                raise
            if isinstance(error, OSError) and error.errno in _UNWRITTEN and not error.filename:
                # Whoever writes a file names it (`engine.files.naming`); what is left is what was printed.
                error = OSError(error.errno, error.strerror, "standard output")
            _drop(sys.stdout)
            _tell(f"error: {_describe(error)}")
            return EXIT_USER_ERROR


def _tell(line: str, write: Callable[..., object] = print) -> None:
    """Say a line on standard error; one that cannot be written there is dropped."""
    try:
        write(line, file=sys.stderr)
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    """Output that cannot be written goes nowhere from now on: Python would try again at exit, and fail with a status
    of its own."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def on_terminal() -> bool:
    """Whether standard error is a terminal. It may be none at all: Python has None for what the shell closed."""
    return sys.stderr is not None and sys.stderr.isatty()


def _nowhere(number: int) -> TextIO:
    """A stream in place of one that was closed. It takes its descriptor too: the next file that is opened would have
    that number otherwise, and what libraries say would be written into it."""
    try:
        os.fstat(number)
        closed = False
    except OSError:
        closed = True
    descriptor = os.open(os.devnull, os.O_WRONLY)
    if closed and descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
        descriptor = number
    os.set_inheritable(descriptor, closed)
    return open(descriptor, "w", encoding="utf-8", closefd=False)


@contextmanager
def in_plain_lines() -> Iterator[None]:
    """Inside, a warning is one line `warning: …` on standard error, each said once, and nothing that is printed fails
    for a sign that the terminal cannot show: ± becomes +/-, and one without a spelling its number (\\u00e9). What goes
    to a stream that the shell closed is dropped.
    """
    missing = [name for name in STREAMS if getattr(sys, name) is None]
    for name in missing:
        setattr(sys, name, _nowhere(STREAMS[name]))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELL)
    handler = _Lines()
    loggers = [logging.getLogger(name) for name in (*TREES, OTHERS)]
    shown = warnings.showwarning
    for logger in loggers:
        logger.addHandler(handler)
    warnings.showwarning = _pass_on
    try:
        yield
    finally:
        warnings.showwarning = shown
        for logger in loggers:
            logger.removeHandler(handler)
        for name in missing:
            setattr(sys, name, None)


class _Lines(logging.Handler):
    """Prints `warning: …` for a record, unless it has done so for the same text."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}"
        if line in self._said:
            return
        self._said.add(line)
        # A bar that may be there makes room for the line.
        _tell(line, sys.modules["tqdm"].tqdm.write if "tqdm" in sys.modules else print)


def _pass_on(message: Warning | str, *where: object, **more: object) -> None:
    """What Python calls to show a warning: other packages', since ours go to their loggers by themselves."""
    logging.getLogger(OTHERS).warning("%s", message)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Another way to write the signs that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(SPELLED.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs), error.end


codecs.register_error(SPELL, _spell)


def _is_foreseeable(error: Exception) -> bool:
    if isinstance(error, (UserError, OSError, ImportError)):
        return True
    # Looked up, not imported: when the core was never loaded, the error cannot be its own.
    core = sys.modules.get("cnncore")
    return core is not None and isinstance(error, core.CoreError)


def _describe(error: Exception) -> str:
    from engine.errors import shortened  # only now, as above

    if isinstance(error, OSError) and error.strerror:
        return f"{shortened(str(error.filename), 300)}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: it is not installed; `pip install .` in the folder of cnn-engine brings all but the extras"
    return str(error) or type(error).__name__


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command takes that trains from a configuration."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="the configuration")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="settings on top of it, such as epochs=3 optimizer.lr=0.01",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in the folder, or begin if there is none; "
        "one of the same settings that ended before its first checkpoint begins again",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/ and the config's name)")
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder that holds the data sets (default: the key data_root, CNN_DATA, the user's cache folder)",
    )
