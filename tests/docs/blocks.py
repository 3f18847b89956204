"""The fenced blocks of a Markdown page, with the comment before each that says how it is to be taken.

A comment stands on the line before the fence:
  not run: REASON   it is left out, and stands in the list of the test
  file: NAME        it is the content of that file, which later blocks of the page use
  output            it is what the block before it printed, but for the digits in it
  from: PATH        its lines stand in that file of the repository
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"(?:^<!-- (?P<comment>.+?) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
MARKS = ("not run", "file", "output", "from")


@dataclass(frozen=True)
class Block:
    """One fenced block. `mark` and `detail` are the two halves of the comment before it, both empty without one."""

    language: str
    text: str
    line: int
    mark: str = ""
    detail: str = ""

    @property
    def first(self) -> str:
        """The first line: what a list of blocks names it by."""
        return self.text.split("\n", 1)[0]


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    content = page.read_text("utf-8")
    blocks = []
    for match in FENCE.finditer(content):
        mark, _, detail = (match["comment"] or "").partition(":")
        line = content.count("\n", 0, match.start("language")) + 1
        blocks.append(Block(match["language"], match["text"], line, mark, detail.strip()))
    return blocks


def outside_of_fences(page: Path) -> str:
    """What is left of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def squeezed(text: str) -> str:
    """The text without what a line break or an alignment is for: blanks, and backslashes at the end of lines."""
    return re.sub(r"\s+", " ", re.sub(r"\\$", "", text, flags=re.M)).strip()


def without_digits(text: str) -> list[str]:
    """Lines of output without their digits and blanks: numbers may move, what stands there may not."""
    return [re.sub(r"[\d.,]+|\s+|-(?=-)", "", line) for line in text.strip().splitlines()]
