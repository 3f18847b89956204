"""A naive twin is an oracle only where it shares nothing with its op: read from the sources."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "csrc" / "src"

COMMON = {"cnn.h", "basics.h"}
"""Headers that ops and twins may both include: the interface, and arithmetic too small to be wrong in both."""

CALLED = {"cnn_min", "cnn_max", "cnn_ceil_div", "cnn_is_first", "cnn_philox4x32"}
"""Functions of the core that a twin may call: those of basics.h, and the plain generator, which no op calls."""


def text_of(path: Path) -> str:
    """A source without its comments."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def sharing(sources: Path) -> Iterator[str]:
    """What twins under `sources`/ref take from elsewhere: headers and functions, a sentence each."""
    for path in sorted((sources / "ref").glob("*.[ch]")):
        text = text_of(path)
        for header in re.findall(r'#\s*include\s+"([^"]+)"', text):
            if header not in COMMON and not header.startswith("ref/"):
                yield f"{path.name} includes {header}"
        for name in sorted(set(re.findall(r"\b(cnn_\w+)\s*\(", text))):
            if name not in CALLED and not name.startswith("cnn_ref_"):
                yield f"{path.name} calls {name}"


def test_no_twin_shares_code_with_an_op() -> None:
    assert len(list((SOURCES / "ref").glob("*.c"))) >= 15
    assert list(sharing(SOURCES)) == []


def test_what_both_include_includes_nothing_of_the_ops() -> None:
    assert set(re.findall(r'#\s*include\s+"([^"]+)"', text_of(SOURCES / "basics.h"))) == {"cnn.h"}
    assert '"' not in "".join(re.findall(r"#\s*include.*", text_of(SOURCES.parent / "include" / "cnn.h")))


def test_no_op_calls_the_generator_of_the_twins() -> None:
    callers = [path for path in SOURCES.rglob("*.[ch]") if "cnn_philox4x32(" in text_of(path)]
    assert sorted(path.relative_to(SOURCES).as_posix() for path in callers) == ["ref/dropout.c", "rng.c"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('#include "images.h"', "twin.c includes images.h"),
        ("x = cnn_fill_source(fill, x, w);", "twin.c calls cnn_fill_source"),
        ("cnn_conv2d_forward(call, worker);", "twin.c calls cnn_conv2d_forward"),
        ("cnn_ref_conv2d_forward(call, worker); /* as cnn_relu() */", None),
    ],
)
def test_sharing_is_found(tmp_path: Path, line: str, found: str | None) -> None:
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / "twin.c").write_text(f'#include "basics.h"\n{line}\n')
    assert list(sharing(tmp_path)) == ([found] if found else [])
