"""What `python -m engine.plots` draws, a function for each word."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.data.images import find_images
from engine.errors import UserError, unknown
from engine.files import write_atomically
from engine.inference.ensemble import load_members, probabilities
from engine.inference.judging import write_mistakes
from engine.inference.rows import opened
from engine.inspection import gradcam as inspection
from engine.inspection.activations import activations
from engine.network.load import load
from engine.network.network import Network
from engine.plots import confusion, curves, gather, gradcam, layers, sheets
from engine.plots.canvas import check_folder, check_target, encode, new_figure, save, tile
from engine.plots.gather import Predictions
from engine.quantize.network import in_float32
from engine.training.folder import CONFIG, find_checkpoint, nearest_run
from engine.training.metrics import accuracy, confusion_matrix, macro_f1

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHEET_WIDTH = 1200  # pixels of a sheet with every figure of a run
MISTAKES, PER_CLASS = 24, 10  # images drawn unless told otherwise
WITHOUT_DATA = ("curves", "filters")  # figures of a run that need no data set


def draw_curves(options: argparse.Namespace) -> Figure:
    names = curves.run_names(options.runs)
    return curves.draw_curves([curves.read_log(folder, name) for folder, name in zip(options.runs, names, strict=True)])


def draw_confusion(options: argparse.Namespace) -> Figure:
    return _confusion(judged(options.run, options.data_root)[2])


def draw_filters(options: argparse.Namespace) -> Figure:
    path = find_checkpoint(options.checkpoint)
    return _filters(load(path), path, options.layer)


def draw_features(options: argparse.Namespace) -> Figure:
    path = find_checkpoint(options.checkpoint)
    net = load(path)
    return _features(net, gather.read_input(net, options.image, path))


def draw_gradcam(options: argparse.Namespace) -> Figure:
    path = find_checkpoint(options.checkpoint)
    (member,) = load_members([path])
    net, names = in_float32(member.net, "be looked into"), member.class_names
    files = find_images(options.images)
    if len(files) > gradcam.MOST_IMAGES:
        raise UserError(f"Grad-CAM draws 1 to {gradcam.MOST_IMAGES} images at a time, got {len(files)}")
    if options.label is not None and options.label not in names:
        raise unknown("class", options.label, names)
    images = np.stack([gather.read_input(net, file, path) for file in files])
    try:
        label = None if options.label is None else names.index(options.label)
        heat = inspection.gradcam(net, images, options.layer, label)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    scores = probabilities(net, images, str(path), lambda index: str(files[index]))
    titles = [f"{names[own]} ({score[own]:.1%})" for own, score in zip(heat.classes, scores)]
    return gradcam.draw_gradcam(images, heat.maps, [file.name for file in files], titles, heat.layer)


def draw_mistakes(options: argparse.Namespace) -> Figure:
    answers = judged(options.run, options.data_root)[2]
    figure = _mistakes(answers, options.count)
    if options.csv:
        with opened(options.csv) as file:
            write_mistakes(answers.judgement(), file)
        print(f"written: {options.csv}")
    return figure


def draw_samples(options: argparse.Namespace) -> Figure:
    parts = gather.read_parts(gather.find_config(options.config), options.data_root, str(options.config))
    return _samples(parts, options.per_class)


def no_folder(place: Path) -> UserError:
    """The error for a run's folder that is not there, or is a file."""
    return UserError(
        f"{place}: is no run folder" if place.exists() else f"{place}: no such run folder{nearest_run(place)}"
    )


def draw_all(options: argparse.Namespace) -> dict[str, Figure]:
    """The wished figures of a run by name; data are read and images classified once. Those that need the data set are
    left out, with a word, where a run from Python names none.
    """
    if not options.run.is_dir():
        raise no_folder(options.run)
    drawn = draw_curves(argparse.Namespace(runs=[options.run]))  # first: a damaged log shows before data are read
    figures: dict[str, Callable[[], Figure]] = {"curves": lambda: drawn}
    of_data = [name for name in options.only if name not in WITHOUT_DATA]
    if of_data and (gather.names_data(options.run) or len(of_data) == len(options.only)):
        net, parts, answers = judged(options.run, options.data_root)
        figures |= {
            "samples": lambda: _samples(parts),
            "features": lambda: _features(net, answers.dataset.normalise(answers.dataset.images[:1])[0]),
            "confusion": lambda: _confusion(answers),
            "mistakes": lambda: _mistakes(answers),
        }
    elif of_data:
        print(f"left out: {', '.join(of_data)}; {gather.FROM_PYTHON}", file=sys.stderr)
    path = find_checkpoint(options.run)
    if gather.filter_layers(filtered := load(path)):
        figures["filters"] = lambda: _filters(filtered, path, None)
    return {name: draw() for name, draw in figures.items() if name in options.only}


def judged(folder: Path, root: Path | None) -> tuple[Network, dict[str, Dataset], Predictions]:
    """The network of a run, its data by part, and its answers on the part that it is judged on."""
    if not folder.is_dir():
        raise no_folder(folder)
    config = gather.find_config(folder)
    path = find_checkpoint(folder)
    net = load(path)
    parts = gather.read_parts(config, root, str(folder / CONFIG))
    return net, parts, gather.predict_part(net, path, *gather.judged_part(folder, parts))


def _confusion(answers: Predictions) -> Figure:
    truth, predicted = answers.truth, answers.predicted
    title = (
        f"{answers.dataset.name}, {answers.part}: {len(truth):,} samples, accuracy {accuracy(truth, predicted):.4f}, "
        f"macro F1 {macro_f1(truth, predicted):.4f}"
    )
    matrix = confusion_matrix(truth, predicted, len(answers.class_names))
    return confusion.draw_confusion(matrix, answers.class_names, title)


def _mistakes(answers: Predictions, count: int = MISTAKES) -> Figure:
    images, names = answers.dataset.images, answers.class_names
    return sheets.draw_mistakes(images, answers.truth, answers.probabilities, names, count, answers.captions)


def _samples(parts: Mapping[str, Dataset], per_class: int = PER_CLASS) -> Figure:
    training = parts["training"]
    names = gather.class_names_of(training)
    counts = gather.counts_by_class(parts, len(names))
    return sheets.draw_samples(training.images, gather.class_labels(training), names, counts, per_class)


def _filters(net: Network, path: Path, layer: str | None) -> Figure:
    weights = gather.filter_layers(net)
    name = gather.pick_layer(weights, net, layer, path)
    return layers.draw_filters(
        weights[name], f"{name} {type(net.layers[name]).__name__}", gather.reads_colour(net, name)
    )


def _features(net: Network, image: NDArray[np.float32]) -> Figure:
    changing = gather.changing_layers(net)
    maps = {name: values[0] for name, values in activations(net, image[None], list(changing)).items()}
    return layers.draw_features(maps, image, changing, net.class_names)


DRAWN: dict[str, Callable[[argparse.Namespace], Figure]] = {
    "curves": draw_curves,
    "samples": draw_samples,
    "features": draw_features,
    "confusion": draw_confusion,
    "mistakes": draw_mistakes,
    "filters": draw_filters,
    "gradcam": draw_gradcam,
}


def plot(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    sheets.check_number("--count", getattr(options, "count", 1), sheets.MOST_MISTAKES)
    sheets.check_number("--per-class", getattr(options, "per_class", 1), sheets.MOST_PER_CLASS)
    new_figure(1, 1)  # says now, not after the reading and classifying, that nothing can be drawn
    if options.command != "all":
        check_target(options.out)
        _check_table(getattr(options, "csv", None), options.out)
        save(DRAWN[options.command](options), options.out)
        print(f"written: {options.out}")
        return
    out = options.out or options.run / "plots"
    one_sheet = out.suffix.lower() == ".png" and not out.is_dir()
    (check_target if one_sheet else check_folder)(out)
    figures = draw_all(options)
    if one_sheet:
        write_atomically(out, tile([encode(figure) for figure in figures.values()], SHEET_WIDTH))
        print(f"written: {out}")
        return
    for name, figure in figures.items():
        save(figure, out / f"{name}.png")
    print(f"written: {out}: " + ", ".join(f"{name}.png" for name in figures))


def _check_table(table: Path | None, figure: Path) -> None:
    """UserError unless a table can be written there, beside the figure."""
    if table is None:
        return
    if table.is_dir() or table.resolve() == figure.resolve():
        raise UserError(f"{table}: --csv takes the name of a file of its own")
    check_folder(table.parent)
