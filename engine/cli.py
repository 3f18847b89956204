"""What every command shares: how errors reach the user and which exit status they give."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and return the exit status; a foreseeable failure prints one line `error: …` and gives 2.

    Signs that the terminal cannot show are printed as their numbers (\\u00e9).

    Foreseeable are mistakes of the user (UserError), a status of the compiled core, and the operating system
    saying no (a full disk, a missing permission, a package that is not installed). Anything else is a defect of
    this project and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # No traceback after all the work where a terminal's encoding lacks a sign, such as one of a file's name.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return main() or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`… | head`): say nothing, also not when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_USER_ERROR
    except Exception as error:
        if not _is_foreseeable(error):
            raise
        print(f"error: {_describe(error)}", file=sys.stderr)
        return EXIT_USER_ERROR


def _is_foreseeable(error: Exception) -> bool:
    from engine.errors import UserError  # only now: --help has no error to tell

    if isinstance(error, (UserError, OSError, ImportError)):
        return True
    # Looked up, not imported: when the core was never loaded, the error cannot be its own.
    core = sys.modules.get("cnncore")
    return core is not None and isinstance(error, core.CoreError)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: it is not installed; `pip install .` in the folder of cnn-engine brings all but the extras"
    return str(error) or type(error).__name__


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command takes that trains from a configuration."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="the configuration")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings on top of it, such as epochs=3 optimizer.lr=0.01"
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
