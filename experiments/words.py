"""Figures in words that several commands share."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`42 s`, `7 min`, `3 h 20 min`, `5 days`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 1440:.1f} days"


def exact_duration(seconds: float) -> str:
    """`4.2 s`, `12 min 5 s`, `3 h 20 min`: of what has been measured, not of what is to come."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
