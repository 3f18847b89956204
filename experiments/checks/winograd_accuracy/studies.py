"""The studies of pairs, one for each data set, and how exactly each must come out."""

from __future__ import annotations

import argparse

ALLOWED = {"mnist": 0.15, "cifar10": 1.5}  # half-width of the interval, in points
AUTO, DIRECT = "auto", "direct"


def studies(text: str) -> list[str]:
    """`mnist,cifar10` as a list, for argparse."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in ALLOWED]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(ALLOWED)}")
    return names
