"""Draw runs and networks into files: `python -m engine.plots WHAT …` (`--help` lists what there is)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli import run
from engine.files import CONFIG, write_atomically

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from engine.data.dataset import Dataset
    from engine.network import Network
    from engine.plots.gather import Predictions

FIGURES = ("curves", "samples", "features", "confusion", "mistakes", "filters")
SHEET_WIDTH = 1200  # pixels of a sheet with every figure of a run
MISTAKES, PER_CLASS = 24, 10  # images drawn unless told otherwise


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engine.plots",
        description="Draw training runs and networks into files, as PNG, SVG or PDF by the ending of --out "
        '(needs matplotlib: pip install "cnn-engine[plots]").',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="WHAT")

    def add(name: str, text: str, out: str | None = None) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument(
            "--out", type=Path, metavar="FILE", default=Path(out or f"{name}.png"), help="default: %(default)s"
        )
        return command

    def add_data_root(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)"
        )

    curves = add("curves", "loss, accuracy and F1 over the epochs of one or many runs")
    curves.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders (or log.jsonl, last.safetensors)"
    )
    confusion = add("confusion", "the confusion matrix of a run's test part, or else of its validation part")
    confusion.add_argument("run", type=Path, metavar="RUN", help="run folder")
    add_data_root(confusion)
    filters = add("filters", "the filters of a layer")
    filters.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint or run folder")
    filters.add_argument("--layer", metavar="NAME", help="layer (default: the first convolution)")
    features = add("features", "the feature maps of every layer for an image")
    features.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint or run folder")
    features.add_argument("--image", type=Path, required=True, metavar="FILE", help="PNG, JPEG or BMP")
    mistakes = add("mistakes", "the most confident mistakes of a run on its test part, or else on its validation part")
    mistakes.add_argument("run", type=Path, metavar="RUN", help="run folder")
    mistakes.add_argument(
        "--count", type=int, default=MISTAKES, metavar="N", help="so many at most (default: %(default)s)"
    )
    add_data_root(mistakes)
    samples = add("samples", "samples of each class and their counts")
    samples.add_argument("config", type=Path, metavar="CONFIG", help="configuration or run folder")
    samples.add_argument("--per-class", type=int, default=PER_CLASS, metavar="N", help="default: %(default)s")
    add_data_root(samples)
    everything = commands.add_parser(
        "all", help="all of a run", description="Every figure of a run, into a folder or on one sheet."
    )
    everything.add_argument("run", type=Path, metavar="RUN", help="run folder")
    everything.add_argument(
        "--out", type=Path, metavar="DIR|FILE.png", help="a folder, or one PNG for all (default: RUN/plots)"
    )
    everything.add_argument(
        "--only", nargs="+", choices=FIGURES, default=FIGURES, metavar="WHAT", help=f"of {', '.join(FIGURES)}"
    )
    add_data_root(everything)
    return parser.parse_args(arguments)


def draw_curves(options: argparse.Namespace) -> Figure:
    from engine.plots import curves

    names = curves.run_names(options.runs)
    return curves.draw_curves([curves.read_log(folder, name) for folder, name in zip(options.runs, names, strict=True)])


def draw_confusion(options: argparse.Namespace) -> Figure:
    return _confusion(judged(options.run, options.data_root)[2])


def draw_filters(options: argparse.Namespace) -> Figure:
    from engine.checkpoint import load
    from engine.plots.gather import find_checkpoint

    path = find_checkpoint(options.checkpoint)
    return _filters(load(path), path, options.layer)


def draw_features(options: argparse.Namespace) -> Figure:
    from engine.checkpoint import load
    from engine.plots.gather import find_checkpoint, read_input

    path = find_checkpoint(options.checkpoint)
    net = load(path)
    return _features(net, read_input(net, options.image, path))


def draw_mistakes(options: argparse.Namespace) -> Figure:
    return _mistakes(judged(options.run, options.data_root)[2], options.count)


def draw_samples(options: argparse.Namespace) -> Figure:
    from engine.plots.gather import find_config, read_parts

    parts = read_parts(find_config(options.config), options.data_root, str(options.config))
    return _samples(parts, options.per_class)


def draw_all(options: argparse.Namespace) -> dict[str, Figure]:
    """The wished figures of a run by name; data are read and images classified once."""
    from engine.plots.gather import filter_layers, find_checkpoint

    curves = draw_curves(argparse.Namespace(runs=[options.run]))  # first: a damaged log shows before data are read
    net, parts, answers = judged(options.run, options.data_root)
    figures: dict[str, Callable[[], Figure]] = {
        "curves": lambda: curves,
        "samples": lambda: _samples(parts),
        "features": lambda: _features(net, answers.dataset.normalise(answers.dataset.images[:1])[0]),
        "confusion": lambda: _confusion(answers),
        "mistakes": lambda: _mistakes(answers),
    }
    if filter_layers(net):
        figures["filters"] = lambda: _filters(net, find_checkpoint(options.run), None)
    return {name: draw() for name, draw in figures.items() if name in options.only}


def judged(folder: Path, root: Path | None) -> tuple[Network, dict[str, Dataset], Predictions]:
    """The network of a run, its data by part, and its answers on the part that it is judged on."""
    from engine.checkpoint import load
    from engine.errors import UserError
    from engine.plots import gather

    if not folder.is_dir():
        raise UserError(f"{folder}: is no run folder")
    config = gather.find_config(folder)
    path = gather.find_checkpoint(folder, config)
    net = load(path)
    parts = gather.read_parts(config, root, str(folder / CONFIG))
    return net, parts, gather.predict_part(net, path, *gather.held_out(parts, str(folder)))


def _confusion(answers: Predictions) -> Figure:
    from engine.metrics import accuracy, confusion_matrix, macro_f1
    from engine.plots.confusion import draw_confusion

    truth, predicted = answers.truth, answers.predicted
    title = (
        f"{answers.dataset.name}, {answers.part}: {len(truth):,} samples, accuracy {accuracy(truth, predicted):.4f}, "
        f"macro F1 {macro_f1(truth, predicted):.4f}"
    )
    matrix = confusion_matrix(truth, predicted, len(answers.class_names))
    return draw_confusion(matrix, answers.class_names, title)


def _mistakes(answers: Predictions, count: int = MISTAKES) -> Figure:
    from engine.plots.sheets import draw_mistakes

    return draw_mistakes(answers.dataset.images, answers.truth, answers.probabilities, answers.class_names, count)


def _samples(parts: Mapping[str, Dataset], per_class: int = PER_CLASS) -> Figure:
    from engine.plots import gather, sheets

    training = parts["training"]
    names = gather.class_names_of(training)
    counts = gather.counts_by_class(parts, len(names))
    return sheets.draw_samples(training.images, gather.class_labels(training), names, counts, per_class)


def _filters(net: Network, path: Path, layer: str | None) -> Figure:
    from engine.plots.gather import filter_layers, pick_layer, reads_colour
    from engine.plots.layers import draw_filters

    weights = filter_layers(net)
    name = pick_layer(weights, net, layer, path)
    return draw_filters(weights[name], f"{name} {type(net.layers[name]).__name__}", reads_colour(net, name))


def _features(net: Network, image: NDArray[np.float32]) -> Figure:
    from engine.activations import activations
    from engine.plots.gather import changing_layers
    from engine.plots.layers import draw_features

    layers = changing_layers(net)
    maps = {name: values[0] for name, values in activations(net, image[None], list(layers)).items()}
    return draw_features(maps, image, layers, net.class_names)


DRAWN: dict[str, Callable[[argparse.Namespace], Figure]] = {
    "curves": draw_curves,
    "samples": draw_samples,
    "features": draw_features,
    "confusion": draw_confusion,
    "mistakes": draw_mistakes,
    "filters": draw_filters,
}


def main() -> None:
    options = parse_arguments()
    from engine.plots.canvas import check_folder, check_target, encode, new_figure, save, tile
    from engine.plots.sheets import MOST_MISTAKES, MOST_PER_CLASS, check_number

    check_number("--count", getattr(options, "count", 1), MOST_MISTAKES)
    check_number("--per-class", getattr(options, "per_class", 1), MOST_PER_CLASS)
    new_figure(1, 1)  # says now, not after the reading and classifying, that nothing can be drawn
    if options.command != "all":
        check_target(options.out)
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


if __name__ == "__main__":
    sys.exit(run(main))
