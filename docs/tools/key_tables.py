"""The tables of docs/keys.md: every key that a training or a study can have.

`{{ keys: training }}`, `{{ keys: study }}` and `{{ keys: names }}` in a page stand for them. What is in them comes from
engine/recipe/keys.py, which `cnn-train --keys` prints too.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence

from docstrings import escaped

from engine.reading.docstrings import prose
from engine.recipe.keys import REQUIRED, Section, default_words, names, sections, training, type_words
from experiments.study.schema import PublishedValue, StudyFile


def study() -> list[Section]:
    """A study; `base` and `changes` in it are trainings."""
    return [*sections("", StudyFile), Section("rows[].published.METRIC", PublishedValue)]


def table(section: Section) -> str:
    """One section as Markdown."""
    hints = typing.get_type_hints(section.schema)
    about = escaped(prose(section.schema.__doc__))
    if not section.keys:
        return f"{about}\n\nNo keys but `name`." if ":" in section.place else about
    rows = [
        f"| `{each.name}` | {type_words(hints[each.name])} | {_default(default_words(each))} "
        f"| {escaped(section.texts.get(each.name, '')).replace('|', chr(92) + '|')} |"
        for each in section.keys
    ]
    return "\n".join([about, "", "| key | type | default | |", "|---|---|---|---|", *rows])


def _default(words: str) -> str:
    return "**required**" if words == REQUIRED else words


def tables(parts: Sequence[Section], top: str) -> str:
    return "\n\n".join(f"### {f'`{each.place}`' if each.place else top}\n\n{table(each)}" for each in parts)


def name_tables() -> str:
    """What may stand where a name is wanted, a table for each place."""
    lines = []
    for place, known in names().items():
        what = "layer" if place == "model.layers" else "name"
        arguments = "options of `train` and `test`" if place == "dataset.name" else "arguments"
        columns = [what, *(["what it is"] if any(each.text for each in known) else []), arguments]
        lines += ["", f"### `{place}`", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        for each in known:
            cells = [f"`{each.name}`", *([each.text] if "what it is" in columns else []), each.arguments]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines[1:])


def fill(markdown: str) -> str:
    """A page with its tables in it."""
    parts = {
        "training": lambda: tables(training(), "The file itself"),
        "study": lambda: tables(study(), "The study itself"),
        "names": name_tables,
    }
    for name, text in parts.items():
        place = f"{{{{ keys: {name} }}}}"
        if place in markdown:
            markdown = markdown.replace(place, text())
    return markdown
