"""The page as text: template, style and scripts of `parts/`, with a network in it."""

from __future__ import annotations

import base64
import html
import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from engine.errors import UserError
from engine.export.page.describe import description
from engine.inference.ensemble import Member
from engine.quantize.network import AnyNetwork, QuantizedNetwork
from engine.training.folder import BEST, LAST, PREVIOUS

CORE = ("layers.js", "integers.js", "network.js", "picture.js", "worker.js")  # also run in the worker
OWN = ("pad.js", "maps.js", "app.js")
SHEET = 280  # pixels of the drawing's longer side, about
LONGEST_TITLE = 200  # characters


def document(member: Member, title: str, paper: str | None = None) -> str:
    """The whole page. UserError as `description`, and for a title of no or more than LONGEST_TITLE characters."""
    if not 0 < len(title.strip()) <= LONGEST_TITLE:
        raise UserError(f"--title: expected 1 to {LONGEST_TITLE} characters, got {len(title.strip())}")
    told, weights = description(member, kinds(), paper)
    told["weights"] = base64.b64encode(weights).decode()
    net = member.net
    channels, height, width = net.input_shape
    times = max(1, SHEET // max(height, width)) if member.preprocess.size is not None else 1
    parts = {
        "title": html.escape(title),
        "facts": f"{len(member.class_names)} classes · pictures of {width}×{height} pixels, "
        f"{'in colour' if channels == 3 else 'grey'} · {_size(net)}",
        "style": part("page.css"),
        "width": str(width * times),
        "height": str(height * times),
        "network": embedded(told),
        "core": "\n".join(map(part, CORE)),
        "script": "\n".join(map(part, OWN)),
    }
    # In one pass: what is put in is not looked through again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], part("page.html"))


def _size(net: AnyNetwork) -> str:
    if isinstance(net, QuantizedNetwork):
        return f"{net.weight_bytes:,} bytes of integers"
    return f"{net.num_parameters:,} parameters"


def title_of(source: Path) -> str:
    """What a network is called: by its file, or by its run where the file has a run's name for it."""
    return source.parent.name if source.name in (BEST, LAST, PREVIOUS) and source.parent.name else source.stem


def embedded(value: object) -> str:
    """JSON that can stand in a script element: whatever a name holds, it ends none."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def kinds() -> frozenset[str]:
    """Names of the layers that the script has: the entries of its table LAYERS."""
    table = part("layers.js").partition("\nconst LAYERS = {\n")[2]
    return frozenset(re.findall(r"^  (\w+):", table, re.M))


@cache
def part(name: str) -> str:
    """A file of `parts/`."""
    return (files("engine.export.page") / "parts" / name).read_text("utf-8")
