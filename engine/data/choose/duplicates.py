"""Images that are equal, pixel by pixel, within a split and across splits.

An image is known by a digest of its decoded pixels, so that two files with the same content are found under any name
and in any format; only the digests are held, never the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.images import Image, UnreadableImage
from engine.data.workers import in_parts
from engine.errors import UserError

DIGEST_BYTES = 16

Place = tuple[str, int]  # split, index in it
Digests = NDArray[np.uint64]  # (N, 2)


def digest(image: Image) -> bytes:
    """BLAKE2b of shape and pixels, 16 bytes; uint8 (H, W) and (H, W, 1) with the same values give the same."""
    pixels = np.ascontiguousarray(image)
    shape = pixels.shape[:2] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels.shape
    content = hashlib.blake2b(repr(tuple(map(int, shape))).encode(), digest_size=DIGEST_BYTES)
    content.update(pixels.data)
    return content.digest()


def read_digests(
    images: Sequence[Image] | NDArray[Any],
    threads: int | None = None,
    forgiven: type[UserError] | tuple[()] = UnreadableImage,
) -> tuple[Digests, dict[int, UserError]]:
    """The digest of every image, in order, as two words each: uint64 (N, 2); and the errors of those that cannot be
    read, by index. Each image is decoded once, on one of several threads, and let go.

    forgiven: errors of the reader that are returned, the image then having a digest that no other has; any other is
    raised.
    """
    unreadable: dict[int, UserError] = {}

    def each(index: int) -> bytes:
        try:
            return digest(images[index])
        except forgiven as error:
            unreadable[index] = error
            return digest(np.frombuffer(f"unreadable {index} {error}".encode(), np.uint8))

    def part(indices: range) -> bytes:
        return b"".join(map(each, indices))

    joined = bytearray().join(in_parts(part, len(images), threads))
    values = np.frombuffer(joined, np.uint64).reshape(-1, DIGEST_BYTES // 8)
    return values, dict(sorted(unreadable.items()))


def digests(images: Sequence[Image] | NDArray[Any], threads: int | None = None) -> Digests:
    """`read_digests` of images that can all be decoded: the error of the first that cannot is raised."""
    return read_digests(images, threads, ())[0]


def content_hash(images: Sequence[Image] | NDArray[Any], labels: NDArray[Any], threads: int | None = None) -> str:
    """SHA-256, in hexadecimal, of all decoded pixels and labels in their order: which data a file of indices is for.

    Images that cannot be decoded count as such, whatever is wrong with them.
    """
    values, unreadable = read_digests(images, threads)
    values[list(unreadable)] = 0
    whole = hashlib.sha256(values.tobytes())
    whole.update(np.ascontiguousarray(labels, "<i8").tobytes())
    return whole.hexdigest()


def find_duplicates(
    images_by_split: Mapping[str, Sequence[Image] | NDArray[np.uint8]], threads: int | None = None
) -> list[list[Place]]:
    """Groups of two or more equal images, each a list of (split, index).

    Two images are equal where their shapes and all their decoded pixels are; a grey image is not equal to the same one
    in three channels. Members of a group stand in the order of the splits and of their indices, groups in that of
    their first members. Holds 16 bytes per image, and decodes on `threads` threads (None: the core's number).
    UserError of the reader for an image that cannot be decoded.
    """
    return duplicate_places({name: digests(images, threads) for name, images in images_by_split.items()})


def duplicate_places(digests_by_split: Mapping[str, Digests]) -> list[list[Place]]:
    """Groups of two or more equal digests, as `find_duplicates` has them."""
    places = [(name, index) for name, values in digests_by_split.items() for index in range(len(values))]
    if not places:
        return []
    groups = equal_groups(np.concatenate(list(digests_by_split.values())))
    return [[places[member] for member in group] for group in groups]


def equal_groups(keys: Digests) -> list[list[int]]:
    """Indices of rows that occur more than once, grouped; sorted within groups and by their first members."""
    order = np.lexsort(keys.T)  # stable: equal rows stay in the order of their indices
    ordered = keys[order]
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    bounds = np.flatnonzero(np.concatenate([[True], differs, [True]]))
    lengths = np.diff(bounds)
    starts = bounds[:-1][lengths > 1]
    return sorted(
        order[start : start + length].tolist() for start, length in zip(starts, lengths[lengths > 1], strict=True)
    )


def repeated(keys: Digests) -> NDArray[np.bool_]:
    """True for every row that occurred before: dropping these leaves the first of each group."""
    seen = np.zeros(len(keys), bool)
    for group in equal_groups(keys):
        seen[group[1:]] = True
    return seen
