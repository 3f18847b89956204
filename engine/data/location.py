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
    import pooch

    return Path(pooch.os_cache(CACHE_NAME)) / "data"
