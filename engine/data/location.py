"""Where the data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CNN_DATA"
CACHE_NAME = "cnn-engine"


def data_root(given: Path | None = None, configured: str | None = None) -> Path:
    """The folder that holds a folder per data set.

    The first of: `given` (the option --data-root), `configured` (the key data_root of a configuration), the variable
    CNN_DATA, and `data` in the user's cache folder (~/.cache/cnn-engine on Linux). It need not exist.
    """
    if given is not None:
        return given
    place = configured or os.environ.get(VARIABLE)
    if place:
        return Path(place)
    return user_cache() / "data"


def user_cache() -> Path:
    """Our folder among the user's caches, where this system keeps them."""
    import platformdirs  # only now: not needed where a folder is given, and a prediction looks for none

    return platformdirs.user_cache_path(CACHE_NAME)
