"""Draws the pictures of docs/augmentations.md on the packaged digits: `python docs/augmentations/draw.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.augment_config import AugmentConfig
from engine.data.digits import digits5k, digits_on_sheets
from engine.data.images import Image
from engine.data.sets.preview import augmented, draw, encode, title
from engine.data.steps import apply_steps, resize
from engine.files import write_atomically
from engine.reading.schema import read_mapping

FOLDER = Path(__file__).parent
ROWS = 3
EPOCHS = 5
INPUT = (28, 28)
NOISE = 0.0015  # share of the sheet's pixels that are specks

STEPS: dict[str, list[list[Any]]] = {
    "reverse": [["reverse"]],
    "bbox": [["bbox"], [{"bbox": {"margin": 0}}], [{"bbox": {"margin": 20}}], [{"bbox": {"kernel": 1}}]],
    "dilation": [["reverse"], ["reverse", "dilation"], *(["reverse", {"dilation": {"kernel": k}}] for k in (5, 9))],
    "erosion": [["reverse"], ["reverse", "erosion"], *(["reverse", {"erosion": {"kernel": k}}] for k in (5, 9))],
    "opening": [["reverse"], ["reverse", "opening"], *(["reverse", {"opening": {"kernel": k}}] for k in (5, 9))],
    "pad": [["bbox"], *(["bbox", {"pad": {"value": value}}] for value in (0, 128, 255))],
}
RANDOM: dict[str, Any] = {
    "rotation": 20,
    "scaling": 0.25,
    "crop": 4,
    "flip": 0.5,
    "vertical_flip": 0.5,
    "resized_crop": {"smallest": 0.3},
    "random_erasing": {},
    "cutmix": 1.0,
    "cutout": {"size": 0.3, "value": 128},
    "contour_cutout": {},
    "mixup": 1.0,
}
FILLS = ("nearest", "constant", "reflect", "mirror", "wrap")


def sheets() -> list[Image]:
    """Digits black on white sheets of about 180 pixels, with a few specks of dirt."""
    images, _ = digits_on_sheets(seed=4, sheet_sides=(150, 200), digit_sides=(80, 120), count=40)
    chosen = [images[place] for place in (9, 17, 33)]
    rng = np.random.default_rng(1)
    return [np.where(rng.random(image.shape) < NOISE, np.uint8(90), image) for image in chosen]


def small() -> list[Image]:
    """White on black, as a network takes them."""
    images, _ = digits5k()
    return [images[place] for place in (1010, 2503, 4020)]


def coloured() -> list[Image]:
    """The same in two colours, as photos would have them."""
    inks, papers = ((230, 180, 60), (90, 200, 220), (240, 120, 150)), ((40, 60, 120), (110, 50, 40), (30, 80, 60))
    return [
        (np.array(paper) + image[:, :, None] / 255 * (np.array(ink) - paper)).round().astype(np.uint8)
        for image, ink, paper in zip(small(), inks, papers, strict=True)
    ]


def steps(originals: Sequence[Image], variants: Sequence[list[Any]]) -> Image:
    """A column for each list of steps."""
    titles = ["original", *(title(variant[-1]) for variant in variants)]
    return draw(
        titles, [list(originals), *([apply_steps(each, variant) for each in originals] for variant in variants)]
    )


def random(images: Sequence[Image], sections: Mapping[str, dict[str, Any]], epochs: int = 1) -> Image:
    """A column for each section of `augment`, by title, and each epoch."""
    numbers = np.arange(len(images))
    titles, columns = ["original"], [list(images)]
    for name, section in sections.items():
        augment = read_mapping(AugmentConfig, section, "augment")
        for epoch in range(epochs):
            titles.append(f"{name}, epoch {epoch + 1}" if epochs > 1 else name)
            columns.append(augmented(images, numbers, augment, 0, epoch))
    return draw(titles, columns)


def per_image(images: Sequence[Image]) -> Image:
    """Faint images, and the same with their own darkest value at 0 and their brightest at 255."""
    from engine.data.preprocess import Preprocess

    faint = [(90 + image // divisor).astype(np.uint8) for image, divisor in zip(images, (3, 5, 8))]
    stretch = Preprocess(scale="none", per_image=True)
    stretched = [np.rint(stretch.normalise(image[None, None])[0, 0]).astype(np.uint8) for image in faint]
    return draw(["original", "per_image"], [faint, stretched])


def main() -> None:
    pictures = {name: steps(sheets(), variants) for name, variants in STEPS.items()}
    for name, value in RANDOM.items():
        pictures[name] = random(small(), {name.partition("_")[0]: {name: value}}, EPOCHS)
    pictures["colour_jitter"] = random(coloured(), {"colour": {"colour_jitter": {}}}, EPOCHS)
    pictures["shift"] = random(small(), {fill: {"shift": {"fraction": 0.3, "fill": fill}} for fill in FILLS})
    pictures["per_image"] = per_image(small())
    all_stages = ["bbox", "reverse", "dilation"]
    columns = [sheets(), *([apply_steps(each, all_stages[: n + 1]) for each in sheets()] for n in range(3))]
    columns.append([resize(each, *INPUT) for each in columns[-1]])
    cut = read_mapping(AugmentConfig, {"contour_cutout": {"probability": 1.0}}, "augment")
    columns.append(augmented(columns[-1], np.arange(ROWS), cut, 0, 0))
    pictures["stages"] = draw(["original", *all_stages, "28x28", "contour_cutout"], columns)
    for name, picture in pictures.items():
        data = encode(picture)
        write_atomically(FOLDER / f"{name}.png", data)
        print(f"{name}.png: {picture.shape[1]}x{picture.shape[0]}, {len(data) / 1024:.0f} KB")


if __name__ == "__main__":
    main()
