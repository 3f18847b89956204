"""The errors that a user can cause and put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UserError(ValueError):
    """A mistake in what the user gave: one sentence that names the file, key or shape and says what was expected."""


class DivergedError(UserError):
    """The loss or a gradient became NaN or infinite; nothing was updated in that step. Or the weights did, in its
    update: then they are lost.

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

    def __reduce__(self) -> tuple[type[Exception], tuple[str]]:
        return UserError, (str(self),)

    def at(self, sample: int, dataset: str) -> SampleError:
        """The same mistake by the sample's number in a data set."""
        before, after = self._parts
        return SampleError(before, sample, after, f"{dataset}: ")


LISTED = 12  # names that a message shows


def listed(names: Sequence[str]) -> str:
    """Names with commas between them; of many the first ones, and how many there are."""
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown}, … ({len(names)} in all)"


def unknown(what: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a `name` that is not among the `known` ones: it points at the nearest, or lists them all."""
    names = list(known)
    lower = {each.lower(): each for each in names}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f"did you mean {lower[near[0]]!r}?" if near else f"known: {', '.join(names)}"
    return UserError(f"unknown {what} {str(name)!r}; {hint}")
