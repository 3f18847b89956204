"""Commands in this process, on a terminal of a chosen encoding, or with an output that takes nothing."""

from __future__ import annotations

import io
import os
import runpy
import sys
from dataclasses import dataclass

import pytest

FULL = "/dev/full"  # every write to it fails, as on a full disk


@dataclass(frozen=True)
class Said:
    """What a command gave: its exit status, and what it wrote to its two streams."""

    status: int
    out: str
    err: str


def on_terminal(
    monkeypatch: pytest.MonkeyPatch, module: str, *arguments: object, encoding: str = "ascii", full: bool = False
) -> Said:
    """`python -m MODULE ARGUMENTS` where the terminal knows the signs of `encoding` alone; `full`: where standard
    output takes nothing."""
    out, err = io.BytesIO(), io.BytesIO()
    raw = {"stdout": open(FULL, "wb") if full else out, "stderr": err}  # noqa: SIM115  (closed below)
    streams = {name: io.TextIOWrapper(content, encoding=encoding) for name, content in raw.items()}
    with monkeypatch.context() as here:
        for name, stream in streams.items():
            here.setattr(sys, name, stream)
        here.setattr(sys, "argv", [module, *map(os.fspath, map(str, arguments))])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")
    for stream in streams.values():
        stream.flush()
    said = [content.getvalue().decode(encoding) for content in (out, err)]
    for stream in streams.values():
        stream.close()
    assert isinstance(ended.value.code, int | None)
    return Said(ended.value.code or 0, *said)
