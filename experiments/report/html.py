"""The report as one HTML file that needs no network: template, style and script lie in `page/`."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from engine.errors import UserError
from experiments.report.document import Document, Picture
from experiments.report.render import cell_text
from experiments.report.table import Cell, Column, Marked
from experiments.stats import Bounds, Estimate
from experiments.words import exact_duration

if TYPE_CHECKING:
    from jinja2 import Template

MISSING = 'an HTML report needs Jinja2: pip install "cnn-engine[report]"'
REFRESH_SECONDS = 5  # of a live page


def html(document: Document) -> str:
    """The whole page. UserError with pip's command where Jinja2 is missing."""
    return _template().render(document=document, style=page_file("report.css"), script=page_file("report.js"),
                              refresh=REFRESH_SECONDS)  # fmt: skip


def check_html() -> None:
    """UserError where no HTML can be made."""
    _template()


def page_hash() -> str:
    """SHA-256 of what lays the page out: another layout is another page."""
    return hashlib.sha256("".join(map(page_file, ("report.html.j2", "report.css", "report.js"))).encode()).hexdigest()


def page_file(name: str) -> str:
    """A file of `page/`: the template, its style or its script."""
    return (files("experiments.report") / "page" / name).read_text("utf-8")


@cache
def _template() -> Template:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise UserError(MISSING) from None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell_text, "sort_value": sort_value, "source": source, "duration": exact_duration}
    environment.tests["svg"] = lambda picture: isinstance(picture.data, str)
    return environment.from_string(page_file("report.html.j2"))


def sort_value(cell: Cell, column: Column) -> str:
    """What a cell is sorted by: full precision, the mean of an estimate, the lower end of an interval; nothing for an
    empty one, or for a word among numbers."""
    if isinstance(cell, Marked):
        cell = cell.value
    if isinstance(cell, Estimate):
        cell = cell.mean
    if isinstance(cell, Bounds):
        cell = cell.low
    return "" if cell is None or (isinstance(cell, str) and column.kind == "number") else str(cell)


def source(picture: Picture) -> str:
    """The address of a PNG that is its own content."""
    assert isinstance(picture.data, bytes)
    return f"data:image/png;base64,{base64.b64encode(picture.data).decode()}"
