"""Maps of labels as the command line of prediction asks for them: a picture for each image, and a table of shares."""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.labels import palette
from engine.data.labels.files import LabelMap, check_stems, read_label_map
from engine.data.listing import images_in
from engine.errors import UserError
from engine.files import json_text, naming
from engine.inference.classify import Damaged
from engine.inference.places import expanded, images_of
from engine.inference.rows import opened
from engine.inference.segment import Segmented, Segmenter, segment, segmenter
from engine.quantize.network import AnyNetwork
from engine.training.metrics import class_iou, confusion_matrix, mean_iou, pixel_accuracy

TABLE = "shares.csv"
OF_CLASSIFIERS = ("tta", "top", "probabilities", "mistakes", "json")


@dataclass
class Sheet:
    """The rows of the table, and the confusion matrix (row: true class) of all pixels that count."""

    names: Sequence[str]
    judged: bool
    rows: list[list[Any]] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)
    matrix: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.matrix = np.zeros((len(self.names),) * 2, np.int64)

    @property
    def header(self) -> list[str]:
        """The columns of the table."""
        measured = ["pixel_accuracy", "mean_iou"] if self.judged else []
        return ["file", "map", *(f"share({name})" for name in self.names), *measured]

    def add(self, path: Path, place: Path, numbers: LabelMap, own: NDArray[np.int64] | None) -> None:
        """An image with its map, and its confusion matrix where the truth is known."""
        shares = np.bincount(numbers.reshape(-1), minlength=len(self.names)) / numbers.size
        row = [path, place, *(f"{share:.6f}" for share in shares)]
        if own is not None:
            self.matrix += own
            row += ["" if np.isnan(value) else f"{value:.6f}" for value in (pixel_accuracy(own), mean_iou(own))]
        self.rows.append(row)


def predict_maps(
    options: argparse.Namespace, checkpoints: Sequence[Path], nets: Sequence[AnyNetwork], truth: Path | None
) -> int:
    """Write a map for each image and the table; with true masks print pixel accuracy and mean IoU. On an error nothing
    is written. The exit status: 1 where damaged images were passed over.
    """
    network = _checked(options, checkpoints, nets, truth)
    paths = images_of(expanded(options.images), options.recursive, options.skip_damaged)
    out: Path = options.out
    places = _places(out, paths)
    masks = None if truth is None else _masks(truth, paths)
    read = {path.resolve() for path in (*paths, *checkpoints, *(masks or {}).values())}
    written = {path.resolve(): path for path in (*places.values(), out / TABLE)}
    for real, path in written.items():
        if real in read:
            raise UserError(f"{path}: is read, and --out would write over it; choose another folder")
    if options.report is not None and options.report.resolve() in {*read, *written}:
        raise UserError(f"{options.report}: is read, or written by --out; --report takes a file of its own")
    sheet = Sheet(network.class_names, masks is not None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with naming(out), tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        for each in segment(network, paths, options.skip_damaged):
            if isinstance(each, Damaged):
                sheet.damaged.append(each)
                sheet.rows.append([each.path, *[""] * (len(sheet.header) - 1), each.error])
                continue
            own = None if masks is None else _judged(each, masks[each.path], options.ignore, network)
            (Path(folder) / places[each.path].name).write_bytes(palette.encoded(each.numbers))
            sheet.add(each.path, places[each.path], each.numbers, own)
        out.mkdir(exist_ok=True)
        for path in paths:
            made = Path(folder) / places[path].name
            if made.exists():
                os.replace(made, places[path])
    _write_table(out / TABLE, sheet, options.skip_damaged)
    print(f"written: {out}: {len(paths) - len(sheet.damaged)} maps and {TABLE}")
    if masks is not None and len(sheet.damaged) < len(paths):
        print(described(sheet))
    if options.report is not None:
        with opened(options.report) as file:
            file.write(json_text(report(sheet, checkpoints), indent=2) + "\n")
    if sheet.damaged:
        print(f"{len(sheet.damaged):,} of {len(paths):,} images could not be read: their rows say why", file=sys.stderr)
    return 1 if sheet.damaged else 0


def _checked(
    options: argparse.Namespace, checkpoints: Sequence[Path], nets: Sequence[AnyNetwork], truth: Path | None
) -> Segmenter:
    """The network; UserError for options that are for classifiers, and for what cannot be written."""
    source = checkpoints[0]
    network = segmenter(source, nets[0])
    if len(nets) > 1:
        raise UserError(f"{source}: a network that gives a class for each pixel predicts alone; give one --checkpoint")
    for name in OF_CLASSIFIERS:
        if getattr(options, name) not in (None, False):
            raise UserError(f"--{name} is for networks that give a class for each image, {source} one for each pixel")
    if options.out is None:
        raise UserError(f"{source}: the network gives a class for each pixel: give --out DIR, a folder for the maps")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"{options.out}: is a file; with maps --out takes a folder")
    if options.report is not None and truth is None:
        raise UserError("--report needs the true masks: give --gt FOLDER")
    if options.report is not None and options.report.is_dir():
        raise UserError(f"{options.report}: is a folder; --report takes the name of a file")
    if truth is not None and not truth.is_dir():
        raise UserError(f"{truth}: is no folder; the truth of maps is a folder of masks, each with its image's name")
    return network


def _places(out: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """Where the map of each image goes; UserError where two would have one name."""
    taken: dict[str, Path] = {}
    for path in paths:
        name = f"{path.stem}.png"
        if (first := taken.setdefault(name, path)) != path:
            raise UserError(f"{path}: its map would have the name {name}, as that of {first}; give them apart")
    return {path: out / name for name, path in taken.items()}


def _masks(folder: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """The true mask of each image, by its name; UserError where one has none, or could have several."""
    masks = images_in(folder).images
    check_stems("masks", masks)
    found = {path.stem: path for path in masks}
    missing = [path for path in paths if path.stem not in found]
    if missing:
        raise UserError(
            f"{folder / missing[0].stem}.png: no such mask ({len(missing)} of the {len(paths)} images have none)"
        )
    return {path: found[path.stem] for path in paths}


def _judged(said: Segmented, mask: Path, ignore: int | None, network: Segmenter) -> NDArray[np.int64]:
    """The confusion matrix of one image; UserError for a mask of another size, or with a number that is no class."""
    truth, numbers, classes = read_label_map(mask), said.numbers, len(network.class_names)
    if truth.shape != numbers.shape:
        raise UserError(
            f"{mask}: the mask has {truth.shape[0]}x{truth.shape[1]} pixels, but {said.path} "
            f"{numbers.shape[0]}x{numbers.shape[1]}"
        )
    counts = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    bad = counts & (truth >= classes)
    if bad.any():
        raise UserError(
            f"{mask}: has the number {truth[bad].max()}, but the network {classes} classes; --ignore names the number "
            "of pixels that do not count"
        )
    if not counts.any():
        return np.zeros((classes, classes), np.int64)
    return confusion_matrix(truth[counts], numbers[counts], classes)


def _write_table(path: Path, sheet: Sheet, errors: bool) -> None:
    with opened(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*sheet.header, *["error"] * errors])
        table.writerows([*row, *[""] * (len(sheet.header) + errors - len(row))] for row in sheet.rows)


def described(sheet: Sheet) -> str:
    """The figures in words."""
    shares = ", ".join(
        f"{name} {'-' if np.isnan(share) else f'{share:.4f}'}"
        for name, share in zip(sheet.names, class_iou(sheet.matrix))
    )
    images = len(sheet.rows) - len(sheet.damaged)
    return (
        f"pixel accuracy {pixel_accuracy(sheet.matrix):.4f}  mean IoU {mean_iou(sheet.matrix):.4f}  images {images}\n"
        f"IoU by class: {shares}"
    )


def report(sheet: Sheet, checkpoints: Sequence[Path]) -> Mapping[str, Any]:
    """All of it, in JSON's own types."""
    matrix = sheet.matrix
    classes = [
        {"class": name, "pixels": int(true), "predicted": int(said), "iou": float(share)}
        for name, true, said, share in zip(sheet.names, matrix.sum(axis=1), matrix.sum(axis=0), class_iou(matrix))
    ]
    return {
        "checkpoints": list(map(str, checkpoints)),
        "images": len(sheet.rows) - len(sheet.damaged),
        "pixel_accuracy": pixel_accuracy(matrix),
        "mean_iou": mean_iou(matrix),
        "per_class": classes,
        "confusion": matrix.tolist(),
        "damaged": [{"file": str(each.path), "error": each.error} for each in sheet.damaged],
    }
