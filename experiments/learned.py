"""Pictures of what a run learned: confusion matrix, worst mistakes, filters and feature maps, as small PNGs.

What was drawn from a finished run never changes, so it is kept beside the runs and not drawn again. The process that
trained a run has its samples at hand and draws at once; a report draws what is missing.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engine.files import write_atomically
from engine.inspection.activations import activations
from engine.network.load import load
from engine.plots import confusion, gather, layers, sheets
from engine.plots.canvas import MISSING, encode, load_parts
from engine.training.folder import find_checkpoint
from engine.training.metrics import accuracy, confusion_matrix, macro_f1
from experiments.tasks.samples import DataCache

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES_VERSION = 3  # of the drawing: kept ones of another version are drawn anew
FOLDER = "figures"  # beside the runs
MISTAKES = 16
PNG_COLOURS = 64


def can_draw() -> str:
    """Empty where drawings can be made, else one sentence that says what to install."""
    # Looked for, not imported: where nothing is to be drawn, the import would be half of the time.
    return "" if find_spec("matplotlib") else MISSING


def draw_ahead(key: str, folder: Path, keep: Path, data: DataCache) -> None:
    """Draw and keep the pictures of the finished run with this key, where that can be done."""
    # Whatever is wrong here, the run is trained. The report draws what is missing, and says why it cannot.
    with suppress(Exception):
        if not can_draw():
            kept_pictures(key, folder, keep, data)


def kept_pictures(key: str, folder: Path, keep: Path, data: DataCache) -> dict[str, bytes]:
    """The PNGs of a finished run by name, drawn where they are not kept in `keep`; a list of names says which there
    are. UserError where the run or its data cannot be read."""
    stem = f"{key[:12]}-{FIGURES_VERSION}"
    names = keep / f"{stem}.txt"
    if not names.is_file():
        drawn = {name: small_png(draw()) for name, draw in _drawings(folder, data).items()}
        for name, png in drawn.items():
            write_atomically(keep / f"{stem}-{name}.png", png)
        write_atomically(names, "".join(f"{name}\n" for name in drawn).encode())
        return drawn
    return {name: (keep / f"{stem}-{name}.png").read_bytes() for name in names.read_text("utf-8").split()}


def _drawings(folder: Path, data: DataCache) -> dict[str, Callable[[], Figure]]:
    config = gather.find_config(folder)
    path = find_checkpoint(folder)
    net = load(path)
    parts = gather.read_parts(config, None, str(folder), data.load)
    answers = gather.predict_part(net, path, *gather.judged_part(folder, parts))
    names, truth = answers.class_names, answers.truth

    def draw_confusion() -> Figure:
        title = (
            f"{answers.dataset.name}, {answers.part}: {len(truth):,} samples, "
            f"accuracy {accuracy(truth, answers.predicted):.4f}, macro F1 {macro_f1(truth, answers.predicted):.4f}"
        )
        return confusion.draw_confusion(confusion_matrix(truth, answers.predicted, len(names)), names, title)

    def draw_features() -> Figure:
        drawn = gather.changing_layers(net)
        image = answers.dataset.normalise(answers.dataset.images[:1])[0]
        maps = {name: values[0] for name, values in activations(net, image[None], list(drawn)).items()}
        return layers.draw_features(maps, image, drawn, net.class_names)

    def draw_filters() -> Figure:
        weights = gather.filter_layers(net)
        name = gather.pick_layer(weights, net, None, path)
        title = f"{name} {type(net.layers[name]).__name__}"
        return layers.draw_filters(weights[name], title, gather.reads_colour(net, name))

    def draw_mistakes() -> Figure:
        images, captions = answers.dataset.images, answers.captions
        return sheets.draw_mistakes(images, truth, answers.probabilities, names, MISTAKES, captions)

    drawings: dict[str, Callable[[], Figure]] = {"confusion": draw_confusion, "mistakes": draw_mistakes}
    if gather.filter_layers(net):
        drawings["filters"] = draw_filters
    drawings["features"] = draw_features
    return drawings


def small_png(figure: Figure) -> bytes:
    """A PNG of few colours."""
    pillow = load_parts().Image
    image = pillow.open(io.BytesIO(encode(figure))).convert("RGB")
    buffer = io.BytesIO()
    few = image.quantize(PNG_COLOURS, pillow.Quantize.FASTOCTREE, dither=pillow.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, which the header (IHDR) of every PNG begins with."""
    width, height = struct.unpack(">II", data[16:24])
    return width, height
