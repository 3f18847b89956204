"""What the site's build does beside MkDocs: fills in what is read from the code, and sees that nothing else is loaded.

- `{{ keys: … }}` becomes tables (key_tables.py), `{{ api }}` the list of public names for mkdocstrings,
  `{{ reproduced }}` all published rows beside ours, from the ledgers;
- links to files outside docs/, which the repository's pages have, become plain paths: the site stands alone;
- a page that would load a script, style, font or picture from the network is a warning, and so an error under --strict.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "docs" / "tools"), str(ROOT)]  # the engine of the checkout, not an installed copy

from key_tables import fill  # noqa: E402

from experiments.records.ledger import FOLDER  # noqa: E402
from experiments.report import overview  # noqa: E402

log = logging.getLogger("mkdocs.hooks.docs")

STUB = ROOT / "engine" / "__init__.pyi"
HEADINGS = {
    "cnncore": "Threads",
    "engine.program.core": "Threads",
    "engine.layers": "Layers",
    "engine.network.graph": "Networks",
    "engine.network.network": "Networks",
    "engine.network.load": "Networks",
    "engine.training.trainer": "Training",
    "engine.training.average": "Training",
    "engine.training.schedules": "Learning rates and stopping",
    "engine.training.schedules.finder": "Learning rates and stopping",
    "engine.inference.calibrate": "After training",
    "engine.quantize.build": "After training",
    "engine.quantize.network": "After training",
    "engine.export.onnx.model": "From and to other frameworks",
    "engine.importing.onnx.network": "From and to other frameworks",
    "engine.weights.load": "From and to other frameworks",
    "engine.losses": "Losses",
    "engine.optim": "Optimisers",
    "engine.data.dataset": "Data",
    "engine.data.loader": "Data",
    "engine.errors": "Errors",
}
OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\(\.\./(?P<path>[^)#]+)(?:#[^)]*)?\)")
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"'](?:https?:)?//|<link\b[^>]*\bhref=[\"'](?:https?:)?//"
)


def public_names() -> dict[str, list[tuple[str, str]]]:
    """Heading → (name, module) of each public name of `engine`, in the order of the stub."""
    found: dict[str, list[tuple[str, str]]] = {heading: [] for heading in dict.fromkeys(HEADINGS.values())}
    for line in STUB.read_text("utf-8").splitlines():
        words = line.split()
        if words[:1] == ["from"]:
            found.setdefault(HEADINGS.get(words[1], words[1]), []).append((words[-1], words[1]))
    return found


def api() -> str:
    """A heading per kind of thing, and under it what mkdocstrings makes of each public name."""
    order = ("Networks", "Layers", "Losses", "Optimisers", "Training", "Learning rates and stopping", "Data")
    names = public_names()
    parts = []
    for heading in dict.fromkeys([*order, *names]):
        parts.append(f"## {heading}\n")
        parts += [f"::: {module}.{name}\n" for name, module in names[heading]]
    return "\n".join(parts)


def reproduced(folder: Path) -> str:
    """All published rows beside the ledgers in a folder."""
    return overview.markdown(overview.overview(folder), level=2)


def inside(markdown: str) -> str:
    """The page without links to files outside docs/."""
    return OUTSIDE.sub(
        lambda link: link["text"] if "`" in link["text"] else f"{link['text']} (`{link['path']}`)", markdown
    )


def on_page_markdown(markdown: str, **_: Any) -> str:
    if "{{ reproduced }}" in markdown:
        markdown = markdown.replace("{{ reproduced }}", reproduced(FOLDER))
    return inside(fill(markdown).replace("{{ api }}", api()))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    for found in LOADED.findall(output):
        log.warning("%s would load something from the network: %s", page.file.src_uri, found)
    return output
