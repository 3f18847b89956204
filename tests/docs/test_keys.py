"""The page of keys: every key that a file can have stands there, with a text."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.reading.docstrings import entries
from engine.recipe.config import TrainConfig
from experiments.study.schema import StudyFile

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "docs" / "tools"


@pytest.fixture(scope="module")
def tools() -> Any:
    """docs/tools/key_tables.py, which the site's build imports the same way."""
    sys.path.insert(0, str(TOOLS))
    try:
        import key_tables
    finally:
        sys.path.remove(str(TOOLS))
    return key_tables


def test_every_key_has_a_text(tools: Any) -> None:
    sections = [*tools.training(), *tools.study()]
    missing = [(each.place, key.name) for each in sections for key in each.keys if not each.texts.get(key.name)]
    assert missing == []


def test_no_text_is_for_a_key_that_is_not_there(tools: Any) -> None:
    for each in (*tools.training(), *tools.study()):
        assert set(entries(each.schema.__doc__)) <= {key.name for key in each.keys}, each.place


def test_the_page_has_all_sections(tools: Any) -> None:
    page = tools.fill((ROOT / "docs" / "keys.md").read_text("utf-8"))
    assert "{{" not in page
    for schema in (TrainConfig, StudyFile):
        for key in dataclasses.fields(schema):
            assert f"| `{key.name}` |" in page
    headings = set(re.findall(r"^### `(.+)`$", page, re.M))
    assert {"dataset", "augment.shift", "select.near_duplicates", "optimizer: SGD", "schedule: Cosine"} <= headings
    assert {"rows[]", "stages[]", "budgets.NAME", "search", "preprocess.steps: bbox", "model.layers"} <= headings
    for name in engine.layers.LAYERS:
        assert f"| `{name}` |" in page


def test_what_a_table_says(tools: Any) -> None:
    @dataclasses.dataclass
    class Inner:
        """Some.

        depth  in metres
        """

        depth: float = 0.5

    @dataclasses.dataclass
    class Outer:
        """About it: a | b.

        name, kind  what it is
                    and more
        """

        name: str
        kind: int | None = None
        inner: dict[str, Inner] = dataclasses.field(default_factory=dict)
        rows: tuple[Inner, ...] = ()

    Outer.__annotations__ = {"name": str, "kind": int | None, "inner": dict[str, Inner], "rows": tuple[Inner, ...]}
    Inner.__annotations__ = {"depth": float}
    found = list(tools.sections("", Outer))
    assert [each.place for each in found] == ["", "inner.NAME", "rows[]"]
    lines = tools.table(found[0]).splitlines()
    assert "| `name` | text | **required** | what it is and more |" in lines
    assert "| `kind` | whole number or null | `null` | what it is and more |" in lines
    assert "| `rows` | list of sections | `[]` |  |" in lines
