"""cnn-engine: trains, ablates and ships convolutional networks on CPUs.

The public names stand in the stub beside this file, each with its module. A name is loaded when it is first used, so
that `import engine` is light and `--help` answers at once.
"""

from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"  # the one place: pyproject.toml reads it from here


def _homes() -> dict[str, str]:
    """Public name → module: the lines `from MODULE import NAME as NAME` of the stub."""
    lines = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8").splitlines()
    return {words[-1]: words[1] for words in map(str.split, lines) if words[:1] == ["from"]}


def __getattr__(name: str) -> object:
    homes = _homes()
    if name == "__all__":
        return list(homes)
    if name not in homes:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    home = import_module(homes[name])
    # A package of that name, which the import has put here, is the function too: it stays what it is.
    value = globals().setdefault(name, getattr(home, name))
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})
