"""Which libraries decide bytes of a training, and in which version: part of what the training is known by."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine.data.augment import WARP_VERSION
from engine.data.images import load_cv2
from engine.data.readers import AS_STORED, GREY_AS_STORED
from engine.data.steps import Pad, Reverse
from engine.recipe.config import TrainConfig


def deciders(config: TrainConfig) -> dict[str, Any]:
    """Versions by name, empty where nothing but this project's own code decides a byte:

    opencv   it decodes image files, resizes, makes grey of colours, and finds ink and contours
    scipy, imagehash, pillow   which samples select.deduplicated and select.near_duplicates keep
    warp     rotation, scaling, resized crop and colours in the core

    OpenCV counts where a set's images may need it, though those at hand may have the right size already. UserError
    where OpenCV decides and cannot be loaded.
    """
    found: dict[str, Any] = {}
    if _uses_opencv(config):
        found["opencv"] = load_cv2().__version__
    if config.select.deduplicated is not None:
        found["scipy"] = _installed("scipy")
    if config.select.near_duplicates is not None:
        found |= {name: _installed(name) for name in ("imagehash", "pillow", "scipy")}
    if config.augment.redraws:
        found["warp"] = WARP_VERSION
    return found


def _uses_opencv(config: TrainConfig) -> bool:
    preprocess, pseudo = config.preprocess, config.pseudo_labels
    parts = [part for part in (config.dataset.train, config.dataset.test) if part is not None]
    return (
        any(_is_decoded(config.dataset.name, part) for part in parts)
        or preprocess.size is not None
        or any(type(step) not in (Reverse, Pad) for step in preprocess.steps)
        or (not preprocess.colour and not _is_grey(config.dataset.name))
        or config.augment.contour_cutout is not None
        or config.select.deduplicated is not None  # compared at one size
        or (pseudo is not None and bool(pseudo.images))
    )


def _is_decoded(name: str, options: Mapping[str, Any]) -> bool:
    if name == "digits5k":
        return options.get("sheets", True) is not False
    return name not in AS_STORED


def _is_grey(name: str) -> bool:
    return name == "digits5k" or name in GREY_AS_STORED


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"  # the run will say so
