"""The errors that a user can cause and put right, and warnings of what works, but not as it may be meant."""

from __future__ import annotations

import difflib
import logging
import re
import sys
import warnings
from collections.abc import Hashable, Iterable, Sequence
from types import FrameType
from typing import Any, TypeVar

#: The packages of this project, and the loggers under which all that they say has its own.
TREES = ("engine", "experiments")
for _tree_name in TREES:
    logging.getLogger(_tree_name).addHandler(logging.NullHandler())  # quiet, where nobody has asked for a log

LONGEST = 1500  # characters of a message: less than a screen
MOST_LINES = 20


class UserError(ValueError):
    """A mistake in what the user gave: one sentence that names the file, key or shape and says what was expected.

    A message that would fill more than a screen, as it does with values of a damaged file in it, loses its middle.
    """

    def __init__(self, message: object = ""):
        text = shortened(str(message), LONGEST)
        super().__init__(" ".join(text.split("\n")) if text.count("\n") > MOST_LINES else text)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: the message as it is, whatever a class makes it from, and all attributes."""
        return _as_it_was, (type(self), self.args), self.__dict__


def _as_it_was(kind: type[UserError], arguments: tuple[Any, ...]) -> UserError:
    return kind.__new__(kind, *arguments)


def shortened(text: str, most: int = 100) -> str:
    """The text, or its beginning and end where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]} … {text[len(text) - most // 3 + 3 :]}"


def shown(value: object) -> str:
    """The value as a message has it: short, and without an error where Python cannot write it (a number of thousands
    of digits, lists that lie too deep in each other)."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__} that is too large to show"


class EngineWarning(UserWarning):
    """What works, but perhaps not as it is meant: one sentence that names what it is about. All of ours are of this."""


class DivergedError(UserError):
    """The loss or a gradient became NaN or infinite; nothing was updated in that step. Or the weights did, in its
    update, or the state of the optimiser: then they are lost.

    `step` counts optimiser steps from 0; `layer` is the name of the first layer whose output was not finite, or
    None where every output was finite (then the loss itself or a gradient overflowed). `during` names the data set
    where it happened in an evaluation, after `step` steps.
    """

    def __init__(self, step: int, layer: str | None = None, what: str = "loss", during: str | None = None):
        self.step = step
        self.layer = layer
        self.what = what
        place = f" in layer {layer!r}" if layer else ""
        when = f" while evaluating on {during}" if during else ""
        super().__init__(
            f"training diverged at step {step}{when}: the {what} is NaN or infinite{place}; "
            "try a smaller learning rate or a bound on the gradient norm"
        )


class SampleError(UserError):
    """A mistake in one sample: `before`, "sample 7", `after`; `sample` is its number among those that were given."""

    def __init__(self, before: str, sample: int, after: str, where: str = ""):
        self.sample = sample
        self._parts = before, after
        super().__init__(f"{where}{before}sample {sample} {after}")

    def at(self, sample: int, dataset: str) -> SampleError:
        """The same mistake by the sample's number in a data set."""
        before, after = self._parts
        return SampleError(before, sample, after, f"{dataset}: ")


Item = TypeVar("Item", bound=Hashable)


def twice(items: Iterable[Item]) -> Item | None:
    """The first item that stands there a second time, or None."""
    seen: set[Item] = set()
    for each in items:
        if each in seen:
            return each
        seen.add(each)
    return None


LISTED = 12  # names that a message shows


def listed(names: Sequence[str]) -> str:
    """Names with commas between them; of many the first ones, and how many there are."""
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown}, … ({len(names)} in all)"


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The `known` names that `name` may be meant to be, the likeliest first: those that are a word of it (flip of
    horizontal_flip), then the one that is spelled most alike."""
    lower = {each.lower(): each for each in known}
    given = name.lower()
    words = [each for each in lower if each in re.split(r"[_\W]", given)]
    alike = difflib.get_close_matches(given, lower, n=1)
    return [lower[each] for each in dict.fromkeys([*words, *alike])]


def unknown(what: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a `name` that is not among the `known` ones: it points at the nearest, or lists them all."""
    names = list(known)
    given = shortened(str(name))
    near = nearest(given, names)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(names)}"
    return UserError(f"unknown {what} {given!r}; {hint}")


def warn(message: str) -> None:
    """Say something that is no error: to the logger of the calling module, such as `engine.data.dataset`, and by
    Python's warnings, as EngineWarning at the line outside of this project that led here.

    Whoever gives the logger `engine` (or `experiments`) a handler of its own has said where warnings are to go: then
    they go to the logger alone. The commands do so.
    """
    caller: FrameType | None = sys._getframe(1)
    assert caller is not None
    name = caller.f_globals["__name__"]
    logging.getLogger(name).warning("%s", message, stacklevel=2)
    if any(not isinstance(each, logging.NullHandler) for each in logging.getLogger(_tree(caller)).handlers):
        return
    outside = caller
    while _tree(outside) in TREES and outside.f_back is not None:
        outside = outside.f_back
    seen = outside.f_globals.setdefault("__warningregistry__", {})  # Python's own record of what was shown where
    place = outside.f_code.co_filename, outside.f_lineno, outside.f_globals.get("__name__")
    warnings.warn_explicit(message, EngineWarning, *place, registry=seen)


def _tree(frame: FrameType) -> str:
    """The package at the root of the module in which the frame runs."""
    return str(frame.f_globals.get("__name__")).partition(".")[0]
