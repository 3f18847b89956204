"""Keys of a configuration that a study sets itself: what a file or a command gives for them would be ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import UserError

SEED = "a study's seeds stand under 'seeds' (or --seeds)"
OWN_KEYS = {
    "seed": SEED,
    "out": "the runs of a study have folders of their own; --out says where",
    "metric": "a study has one for all rows, its own key 'metric'",
}
OF_SPLITS = {"split.seed": "with split_per_seed it is the seed of each run"}


def refuse_own_keys(content: Mapping[str, Any], where: str, *, split_per_seed: bool = False) -> None:
    """UserError, which begins with `where`, for a configuration that gives a key of the study's own."""
    for key, why in {**OWN_KEYS, **(OF_SPLITS if split_per_seed else {})}.items():
        found: Any = content
        for name in key.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is not None:
            raise UserError(f"{where}: {key}: {why}")
