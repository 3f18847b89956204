"""An installed browser that can be driven."""

from __future__ import annotations

import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def installed_browser() -> str | None:
    """The first of BROWSERS that is there."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)
