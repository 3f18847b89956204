"""A sheet that shows what augmentations do: in each row an image of a data set, as it is and after every stage.

`python -m engine.data preview numtadb --augment bbox,reverse,dilation,contour_cutout --out sheet.png`
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.data.augment import changes, redrawn
from engine.data.augment_config import AugmentConfig
from engine.data.images import Image, UnreadableImage, load_cv2
from engine.data.loader import batch_mixer
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.data.sets.registry import reader_options, record
from engine.data.steps import STEPS, Step, apply_steps, describe_step, read_step, resize
from engine.draws import BATCH, epoch_order, generator
from engine.errors import UserError, shortened, unknown, warn
from engine.files import write_atomically
from engine.reading.schema import read_mapping
from engine.reading.yaml_text import parse_yaml

CELL, GAP, LABEL = 112, 6, 16  # pixels: a picture's longer side, the space between two, a line of text
BACKGROUND, INK = 236, 40
# Sections of AugmentConfig that are a number: what their name alone stands for in a sheet.
NUMBERS = {"flip": 0.5, "vertical_flip": 0.5, "mixup": 1.0}


def run(options: argparse.Namespace) -> None:
    """Write the sheet that the command line asks for."""
    for name in ("count", "epochs"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} must be 1 or more, got {getattr(options, name)}")
    if options.out.suffix.lower() != ".png":
        raise UserError(f"{options.out}: --out takes the name of a PNG file")
    stages = read_stages(options.augment)
    arguments = reader_options(record(options.name).name, options.options)
    raw = read_dataset(options.name, data_root(options.data_root), arguments)
    samples, images = readable(raw.images, epoch_order(len(raw), options.seed, 0), options.count)
    size = tuple(options.size) if options.size else None
    titles, columns = staged(images, samples, stages, size=size, seed=options.seed, epochs=options.epochs)
    write_atomically(options.out, encode(draw(titles, columns)))
    print(f"{options.out}: {len(images)} images of {options.name}, stages: {', '.join(titles)}")


def readable(
    images: Sequence[Image] | NDArray[np.uint8], order: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], list[Image]]:
    """The first `count` samples (n,) in `order` whose images can be read, and these; the others are warned of, as a
    training leaves them out. UserError where none can be read."""
    found: dict[int, Image] = {}
    lost: list[UnreadableImage] = []
    for sample in map(int, order):
        if len(found) == count:
            break
        try:
            found[sample] = images[sample]
        except UnreadableImage as error:
            lost.append(error)
    if not found:
        raise lost[0]
    if lost:
        warn(f"{len(lost):,} of the images drawn cannot be read and are left out; the first: {lost[0]}")
    return np.array(list(found), np.int64), list(found.values())


@dataclass(frozen=True)
class Stages:
    """What a sheet shows: deterministic steps, then sections of `augment` in the order in which they are named."""

    steps: tuple[Step, ...] = ()
    random: tuple[tuple[str, Any], ...] = ()

    def augment(self, count: int) -> AugmentConfig:
        """The first `count` random augmentations together."""
        return read_mapping(AugmentConfig, dict(self.random[:count]), "--augment")


def read_stages(text: str) -> Stages:
    """The stages in `bbox,{dilation: {kernel: 5}},shift`; UserError for one that is unknown or in the wrong place."""
    try:
        entries = parse_yaml(f"[{text}]", "--augment")
    except UserError as error:
        raise UserError(f"--augment: expected names with commas between, got {shortened(text)!r} ({error})") from None
    sections = [each.name for each in dataclasses.fields(AugmentConfig)]
    steps: list[Step] = []
    random: dict[str, Any] = {}
    for entry in entries:
        name = next(iter(entry)) if isinstance(entry, Mapping) and len(entry) == 1 else str(entry)
        if name in STEPS:
            if random:
                raise UserError(f"--augment: {name} is a step and comes before random augmentations, not after them")
            steps.append(read_step(entry))
        elif name in sections:
            given = entry[name] if isinstance(entry, Mapping) else None
            random[name] = NUMBERS.get(name, {}) if given is None else given
        elif (known := name.partition("=")[0].strip()) in (*STEPS, *sections):
            value = name.partition("=")[2].strip()
            raise UserError(f"--augment: unknown stage {shortened(name)!r}; is {{{known}: {shortened(value)}}} meant?")
        else:
            raise unknown("stage", name, [*STEPS, *sections])
    stages = Stages(tuple(steps), tuple(random.items()))
    stages.augment(len(random))
    return stages


def staged(
    images: Sequence[Image],
    samples: NDArray[np.int64],
    stages: Stages,
    *,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    epochs: int = 1,
) -> tuple[list[str], list[list[Image]]]:
    """Titles and columns of a sheet; a column has every image after all stages up to its own.

    images: uint8 (H, W) or (H, W, 3), whose numbers in their set are `samples`. The last stage is shown for epochs
    0 … epochs-1, which differ where it is random.
    """
    titles, columns = ["original"], [list(images)]
    for count, step in enumerate(stages.steps, 1):
        titles.append(title(describe_step(step)))
        columns.append([apply_steps(image, stages.steps[:count]) for image in images])
    if size is not None:
        titles.append(f"{size[0]}x{size[1]}")
        columns.append([resize(image, *size) for image in columns[-1]])
    prepared = columns[-1]
    for count, (name, value) in enumerate(stages.random, 1):
        last = count == len(stages.random)
        for epoch in range(epochs if last else 1):
            titles.append(title({name: value} if not epoch else f"epoch {epoch + 1}"))
            columns.append(augmented(prepared, samples, stages.augment(count), seed, epoch))
    return titles, columns


def title(stage: str | Mapping[str, Any]) -> str:
    """A stage in a few letters: its name, and its parameters where it has some."""
    if isinstance(stage, str):
        return stage
    name, value = next(iter(stage.items()))
    if isinstance(value, Mapping):
        return " ".join([name, *(f"{key} {each}" for key, each in value.items())])
    return f"{name} {value}"


def augmented(
    images: Sequence[Image], samples: NDArray[np.int64], augment: AugmentConfig, seed: int, epoch: int
) -> list[Image]:
    """Images as training would see them before they are normalised, each of its own size; mixing wants one."""
    out: list[Any] = []
    first = np.zeros(1, np.int64)
    for image, sample in zip(images, samples):
        batch = np.array(image[None, None] if image.ndim == 2 else image.transpose(2, 0, 1)[None], order="C")
        number = np.array([sample])
        batch, _ = redrawn(batch, first, augment, seed, epoch, number)
        unchanged = np.ones(batch.shape[1], np.float32), np.zeros(batch.shape[1], np.float32)
        changed = changes(batch, first, augment, seed, epoch, number)
        out.append(cnncore.gather_images(batch, first, *unchanged, **changed)[0])
    mix = batch_mixer(augment, len(out)) if len(out) > 1 else None
    if mix is not None:
        if len({each.shape for each in out}) > 1:
            raise UserError("--augment: mixup and cutmix mix images of one size; give --size")
        labels = np.eye(len(out), dtype=np.float32)
        out = list(mix(np.stack(out), labels, generator(seed, BATCH, epoch, 0))[0])
    whole = [np.rint(each).astype(np.uint8) for each in out]
    return [each[0] if len(each) == 1 else np.ascontiguousarray(each.transpose(1, 2, 0)) for each in whole]


def draw(titles: Sequence[str], columns: Sequence[Sequence[Image]]) -> Image:
    """The sheet, uint8 (height, width, 3): a column per title, under every picture its height and width in pixels."""
    rows = len(columns[0])
    height = LABEL + rows * (CELL + LABEL + GAP) + GAP
    sheet = np.full((height, len(columns) * (CELL + GAP) + GAP, 3), BACKGROUND, np.uint8)
    for place, (heading, images) in enumerate(zip(titles, columns, strict=True)):
        left = GAP + place * (CELL + GAP)
        write(sheet, heading, left, LABEL - 4)
        for row, image in enumerate(images):
            top = LABEL + GAP // 2 + row * (CELL + LABEL + GAP)
            cell = fitted(image)
            y, x = top + (CELL - cell.shape[0]) // 2, left + (CELL - cell.shape[1]) // 2
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
            write(sheet, f"{image.shape[0]}x{image.shape[1]}", left, top + CELL + LABEL - 4)
    return sheet


def fitted(image: Image) -> Image:
    """The image with CELL pixels on its longer side, uint8 (H, W, 3); it shrinks by averages and grows in blocks."""
    cv2 = load_cv2()
    scale = CELL / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    return np.repeat(resized[:, :, None], 3, axis=2) if resized.ndim == 2 else resized


def write(sheet: Image, text: str, left: int, baseline: int) -> None:
    """Put a line of small text on the sheet, as much of it as fits over a picture."""
    cv2 = load_cv2()
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.38
    while len(text) > 1 and cv2.getTextSize(text, font, scale, 1)[0][0] > CELL:
        text = text[:-1]
    cv2.putText(sheet, text, (left, baseline), font, scale, (INK, INK, INK), 1, cv2.LINE_AA)


def encode(sheet: Image) -> bytes:
    """PNG; grey where the sheet has no colour, so that the file is small."""
    cv2 = load_cv2()
    grey = bool((sheet == sheet[:, :, :1]).all())
    pixels = sheet[:, :, 0] if grey else np.ascontiguousarray(sheet[:, :, ::-1])
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1])
