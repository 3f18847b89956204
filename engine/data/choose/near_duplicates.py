"""Images that look alike, by perceptual hashes of the ImageHash package (`pip install "cnn-engine[dedup]"`).

A hash has 64 bits; two images are near duplicates where their hashes differ by `threshold` bits or fewer. Of images in
the set's order one is kept unless an earlier kept one is near, so that no two kept images are near each other.

A perceptual hash sees the coarse layout of light and dark. Pictures of one character on an empty sheet have hardly any,
at 28x28 as at 1200x900: their hashes collide across classes (`python -m experiments.checks.perceptual_hashes` shows
it), so that removal would take different characters for copies of each other. ADVICE refuses it for such sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import RawDataset
from engine.data.images import Image
from engine.data.workers import in_parts
from engine.errors import UserError, unknown, warn

HASH_SIDE = 8  # 8 x 8 bits
METHODS: Mapping[str, str] = MappingProxyType(
    {"phash": "phash", "dhash": "dhash", "ahash": "average_hash", "whash": "whash"}
)
DEFAULT_METHOD, DEFAULT_THRESHOLD = "phash", 4
SMALL_SIDE = 64  # pixels: below this, a set without advice gets a warning
BLOCK = 256  # images that are compared with the kept ones together

Hashes = NDArray[np.uint8]  # (N, 8)


@dataclass(frozen=True)
class Advice:
    """Method and threshold (in bits of 64) for a set, or why such hashes must not be used there."""

    method: str = DEFAULT_METHOD
    threshold: int = DEFAULT_THRESHOLD
    refused: str = ""


_CHARACTERS = Advice(refused="perceptual hashes of single characters collide across classes")

# By the name of the set. For cifar10 and scenes: of the images that phash drops at 4 bits, few carry another label.
ADVICE: Mapping[str, Advice] = MappingProxyType(
    {
        "mnist": _CHARACTERS,
        "emnist": _CHARACTERS,
        "digits5k": _CHARACTERS,
        "numtadb": _CHARACTERS,
        "cmaterdb": _CHARACTERS,
        "chars74k": _CHARACTERS,
        "cifar10": Advice("phash", 4),
        "scenes": Advice("phash", 4),
    }
)


def without_near_duplicates(
    dataset: RawDataset, name: str, method: str | None = None, threshold: int | None = None
) -> tuple[RawDataset, Mapping[str, Any]]:
    """The set without near duplicates, and for the run's record the method, the threshold and what was dropped.

    name: the set's, for ADVICE. UserError for a set whose advice refuses, an unknown method or a threshold that is
    not in 0..63. Warns where images are small, or where dropped images carry another label than the kept ones.
    """
    advice = ADVICE.get(name, Advice())
    if advice.refused:
        raise UserError(
            f"select.near_duplicates is refused for {name}: {advice.refused}; use drop_duplicates for equal images, or "
            "deduplicated to thin out by pixels"
        )
    method = advice.method if method is None else method
    threshold = advice.threshold if threshold is None else threshold
    if not 0 <= threshold < HASH_SIDE**2:
        raise UserError(f"select.near_duplicates.threshold counts bits, 0 to {HASH_SIDE**2 - 1}, got {threshold}")
    leaders = nearest_kept(perceptual_hashes(dataset.images, method), threshold)
    kept = leaders == np.arange(len(dataset))
    conflicting = int((dataset.labels[leaders] != dataset.labels).sum())
    dropped = len(dataset) - int(kept.sum())
    if name not in ADVICE and max(dataset.images[0].shape[:2]) < SMALL_SIDE:
        warn(
            f"{name}: images below {SMALL_SIDE} pixels have hardly anything that a perceptual hash tells apart",
        )
    if conflicting:
        warn(
            f"{name}: {conflicting} of the {dropped} images dropped as near duplicates carry another label than the "
            "image they are near to",
        )
    record = {"method": method, "threshold": threshold, "dropped": dropped, "dropped_of_other_class": conflicting}
    return dataset.subset(np.flatnonzero(kept)), record


def perceptual_hashes(images: Sequence[Image] | NDArray[np.uint8], method: str, threads: int | None = None) -> Hashes:
    """The 64-bit hash of every image by this method of METHODS, as 8 bytes each: uint8 (N, 8)."""
    if method not in METHODS:
        raise unknown("select.near_duplicates.method", method, METHODS)
    imagehash, pillow = _load_imagehash()
    compute: Callable[..., Any] = getattr(imagehash, METHODS[method])

    def part(indices: range) -> list[Hashes]:
        bits = (compute(pillow.fromarray(_plane(images[index])), hash_size=HASH_SIDE).hash for index in indices)
        return [np.packbits(each) for each in bits]

    return np.stack([each for some in in_parts(part, len(images), threads) for each in some])


def _plane(image: Image) -> Image:
    """ImageHash takes (H, W) and (H, W, 3)."""
    return image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image


def nearest_kept(hashes: Hashes, threshold: int) -> NDArray[np.int64]:
    """For each image the first kept one within `threshold` bits; its own index where it is kept. (N,)"""
    signs = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
    # Two rows of signs that differ in d of 64 places have the product 64 - 2 d, exactly.
    least = signs.shape[1] - 2 * threshold
    leaders = np.arange(len(hashes))
    kept = np.empty(0, np.int64)
    for start in range(0, len(hashes), BLOCK):
        block = signs[start : start + BLOCK]
        if len(kept):
            near = block @ signs[kept].T >= least
            found = np.flatnonzero(near.any(axis=1))
            leaders[start + found] = kept[near[found].argmax(axis=1)]
        among = block @ block.T >= least
        fresh: list[int] = []
        for place in range(len(block)):
            if leaders[start + place] != start + place:
                continue
            earlier = among[place, fresh]
            if earlier.any():
                leaders[start + place] = start + fresh[int(earlier.argmax())]
            else:
                fresh.append(place)
        kept = np.concatenate([kept, start + np.array(fresh, np.int64)])
    return leaders


def _load_imagehash() -> tuple[ModuleType, ModuleType]:
    """ImageHash, an optional package, and Pillow's images, which it takes."""
    try:
        import imagehash
        from PIL import Image as pillow
    except ImportError:
        raise UserError(
            'select.near_duplicates needs the package ImageHash: `pip install "cnn-engine[dedup]"`'
        ) from None
    return imagehash, pillow
