"""Ablation studies over the engine: studies as YAML, a runner, a store of finished runs, statistics, reports."""

import sys
from importlib.util import find_spec
from pathlib import Path


def _another_engine() -> str | None:
    """What `import engine` finds here, in words; None where it is cnn-engine's own. Nothing of it is run."""
    try:
        spec = find_spec("engine")
    except ValueError:  # somebody put a module of that name together in memory
        return "a module without a file"
    if spec is None:
        return "nothing"
    # The first line of cnn-engine's own names the project.
    if spec.origin and b"cnn-engine: " in Path(spec.origin).read_bytes():
        return None
    return spec.origin or ", ".join(spec.submodule_search_locations or ())


def _check_engine() -> None:
    """ImportError where another `engine` comes before ours in Python's search; for a command, a line and status 2."""
    found = _another_engine()
    if found is None:
        return
    words = f"`experiments` needs the package `engine` of cnn-engine, but `import engine` finds {found} here: "
    if found == "nothing":
        words += "it is not installed; run `pip install .` in the folder of cnn-engine"
    else:
        words += (
            "rename that, run from another folder, or keep the current one out of Python's search with "
            "`python -P -m MODULE` (Python 3.11 or later)"
        )
    if sys.argv[0] == "-m":  # so Python has it while it looks for the module of `python -m`
        print(f"error: {words}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(words)


_check_engine()
