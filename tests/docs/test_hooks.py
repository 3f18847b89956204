"""What the site's build adds to the pages, apart from MkDocs itself."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import engine
from engine.reading.docstrings import entries, prose

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """docs/tools/hooks.py."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs" / "tools"), *sys.path])
    import hooks

    return hooks


def test_the_reference_has_every_public_name_once(hooks: Any) -> None:
    listed = [name for names in hooks.public_names().values() for name, _ in names]
    assert sorted(listed) == sorted(engine.__all__)
    assert not [heading for heading in hooks.public_names() if heading.startswith("engine.")]
    page = hooks.on_page_markdown("{{ api }}")
    assert all(page.count(f".{name}\n") == 1 for name in listed)


def test_links_out_of_the_folder_become_paths(hooks: Any) -> None:
    page = "see [the results](../experiments/results/README.md) and [keys](keys.md)"
    assert hooks.inside(page) == "see the results (`experiments/results/README.md`) and [keys](keys.md)"


@pytest.mark.parametrize(
    ("html", "warnings"),
    [
        ('<script src="assets/a.js"></script><a href="https://example.org">there</a>', 0),
        ('<script src="https://example.org/a.js"></script>', 1),
        ('<link rel="stylesheet" href="//example.org/a.css">', 1),
        ('<img alt="x" src="http://example.org/a.png">', 1),
    ],
)
def test_a_page_that_would_load_something_is_a_warning(
    hooks: Any, caplog: pytest.LogCaptureFixture, html: str, warnings: int
) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    with caplog.at_level(logging.WARNING, "mkdocs"):
        assert hooks.on_post_page(html, page=page) == html
    assert len(caplog.records) == warnings


def test_aligned_lines_become_a_list(hooks: Any) -> None:
    from docstrings import as_markdown, escaped

    text = (
        "About a*b and `c*d`.\n\n    one, two   first\n               and more\n    three      3 * 3\n\n    The end.\n"
    )
    assert entries(text) == {"one": "first and more", "two": "first and more", "three": "3 * 3"}
    assert escaped(prose(text)) == "About a\\*b and `c*d`.\n\nThe end."
    assert as_markdown(text).splitlines() == [
        "About a\\*b and `c*d`.",
        "",
        "",
        "- `one`, `two`: first and more",
        "- `three`: 3 \\* 3",
        "",
        "",
        "The end.",
    ]
