"""Draw runs and networks into files: `python -m engine.plots WHAT …` (`--help` lists what there is)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run

FIGURES = ("curves", "samples", "features", "confusion", "mistakes", "filters")
MISTAKES, PER_CLASS = 24, 10  # images drawn unless told otherwise


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.plots",
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
    gradcam = add("gradcam", "where in images a network sees a class (Selvaraju et al. 2017)")
    gradcam.add_argument("checkpoint", type=Path, metavar="NET", help="checkpoint or run folder")
    gradcam.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="image files, or folders of them")
    gradcam.add_argument("--layer", metavar="NAME", help="a layer that gives a map (default: the last convolution)")
    gradcam.add_argument("--class", dest="label", metavar="NAME", help="class (default: the one that is predicted)")
    mistakes = add("mistakes", "the most confident mistakes of a run on its test part, or else on its validation part")
    mistakes.add_argument("run", type=Path, metavar="RUN", help="run folder")
    mistakes.add_argument(
        "--count", type=int, default=MISTAKES, metavar="N", help="draw so many at most (default: %(default)s)"
    )
    mistakes.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="all mistakes as a table, too: file (or sample, its number in the part), truth, label, both probabilities",
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


def main() -> None:
    options = parse_arguments()
    from engine.plots.command import plot  # only now: --help answers at once

    plot(options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
