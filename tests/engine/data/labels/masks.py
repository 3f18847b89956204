"""Small folders of images and masks."""

import io

import cv2
import numpy as np
from PIL import Image

from engine.data.labels import palette

CLASSES = ("sheet", "ink", "stamp")


def write_set(folder, count=12, side=16, seed=0, ignore=False, suffix=".png"):
    """`count` grey images with bright squares, and masks that have 1 there (and 255 on the upper edge)."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = rng.integers(0, 60, (side, side)).astype(np.uint8)
        labels = np.zeros((side, side), np.uint8)
        top, left = rng.integers(0, side - 6, 2)
        labels[top : top + 6, left : left + 6] = 1
        image[labels == 1] += 150
        if ignore:
            labels[0] = 255
        cv2.imwrite(str(folder / "images" / f"{number:03}{suffix}"), image)
        (folder / "masks" / f"{number:03}.png").write_bytes(palette.encoded(labels))
    return folder


def png(numbers, mode="L", bits=None, **options):
    """A PNG as Pillow writes it: `mode` L, P (with a palette of noise), 1, I;16, RGB or LA."""
    array = np.asarray(numbers)
    image = Image.fromarray(array.astype(bool) if mode == "1" else array)
    if mode == "P":
        image = Image.fromarray(array.astype(np.uint8), "L")
        image = image.copy()
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    elif mode == "LA":
        image = image.convert("LA")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **({"bits": bits} if bits else {}), **options)
    return buffer.getvalue()
