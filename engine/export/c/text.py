"""Numbers, strings, comments and names as C writes them."""

from __future__ import annotations

import re
from string import Template

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError, shown

_ON_A_LINE = 8

# Keywords of C and C++, which no name of ours can be: the functions are called from both.
_KEYWORDS = """
    alignas alignof and asm auto bool break case catch char class const continue default delete do double else enum
    explicit export extern false float for friend goto if inline int long mutable namespace new not nullptr operator
    or private protected public register restrict return short signed sizeof static struct switch template this throw
    true try typedef typename union unsigned using virtual void volatile while xor main
"""


def fill(template: str, /, **fields: object) -> str:
    """The template with $name replaced; KeyError where one is missing."""
    return Template(template).substitute({name: str(value) for name, value in fields.items()})


def number(value: float) -> str:
    """A finite float32 as a C99 literal that every compiler reads exactly: others than whole numbers in hexadecimal."""
    single = float(np.float32(value))
    if single == int(single) and abs(single) < 1e6:
        return f"{single:.1f}f"
    mantissa, exponent = single.hex().split("p")
    digits = mantissa.rstrip("0").removesuffix(".") if "." in mantissa else mantissa
    return f"{digits}p{exponent}f"


def numbers(values: NDArray[np.float32]) -> str:
    """The lines of a table's initialiser."""
    flat = [number(value) for value in values.reshape(-1).tolist()]
    lines = [", ".join(flat[start : start + _ON_A_LINE]) for start in range(0, len(flat), _ON_A_LINE)]
    return "".join(f"    {line},\n" for line in lines)


def string(text: str) -> str:
    """A string literal: everything beyond printable ASCII, and ? (trigraphs), as octal bytes of UTF-8."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def comment(text: str) -> str:
    """Text that cannot end a comment, nor be anything but ASCII."""
    ascii_text = text.encode("ascii", "backslashreplace").decode().replace("*/", "* /").replace("/*", "/ *")
    return ascii_text.replace("??", "? ?").replace("\\", "/")


def identifier(name: object) -> str:
    """A checked prefix of C names; UserError for what is none."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", name) or name in _KEYWORDS.split():
        raise UserError(
            f"the names in the C file cannot begin with {shown(name)}: expected a C identifier of up to 41 letters, "
            "digits and _ that begins with a letter; --name gives another"
        )
    return name


def identifier_of(stem: str) -> str:
    """The prefix for a file of this name: what C cannot have in a name becomes _."""
    return identifier(re.sub(r"[^A-Za-z0-9_]", "_", stem))
