"""Packages that come with an extra: loaded when they are needed, and named where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from engine.errors import UserError


def optional(module: str, extra: str, purpose: str) -> Any:
    """The module; UserError, with the extra that brings its package, where it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UserError(f'{purpose} needs the package {package}: pip install "cnn-engine[{extra}]"') from None
