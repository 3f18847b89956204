"""Classify images with one trained network or several: `python -m engine.predict IMAGES --checkpoint F`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.ensemble import Member, View

# Column names that a table of true labels may use, in the order in which they are looked for.
FILE_COLUMNS = ("filename", "file", "image")
LABEL_COLUMNS = ("label", "digit")


@dataclass(frozen=True)
class Prediction:
    """What is said about one image; probability is that of the label, 0 … 1."""

    path: Path
    index: int
    label: str
    probability: float


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engine.predict",
        description="Classify images with a trained network: what training did to its images is done to these. "
        "Writes file, label and probability as CSV; with true labels also prints accuracy, macro-F1 and the "
        "confusion matrix.",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="image files, or folders of them")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        action="append",
        help="a trained network; given several times, the mean of the networks' probabilities counts",
    )
    parser.add_argument(
        "--tta",
        metavar="VIEWS",
        help="test-time augmentation: flip, shift:PIXELS and rotate:DEGREES with commas between them, such as "
        "flip,shift:1; the mean of the probabilities over all combinations counts",
    )
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG.yaml", help="take the keys checkpoint_path and gt_csv from this file"
    )
    parser.add_argument("--gt", type=Path, metavar="CSV", help="true labels: columns filename and label (or digit)")
    parser.add_argument("--out", type=Path, metavar="CSV", help="predictions (default: standard output)")
    return parser.parse_args(arguments)


def predict(options: argparse.Namespace) -> None:
    """Do what the command line asks for; on an error no output file is written or changed."""
    from engine.data.images import find_images
    from engine.ensemble import load_members, parse_views
    from engine.errors import UserError

    if options.out and options.out.is_dir():
        raise UserError(f"{options.out}: is a folder; --out takes the name of a file")
    checkpoints, truth_path = sources(options)
    views = parse_views(options.tta) if options.tta else ()
    members = load_members(checkpoints)
    names = members[0].class_names
    paths = find_images(options.images)
    truth = None if truth_path is None else read_truth(truth_path, paths, names)
    predictions = list(classify(members, paths, views))
    write_predictions(predictions, options.out)
    if truth is not None:
        # The table of predictions may be read by a program: the report goes beside it, not into it.
        stream = sys.stdout if options.out else sys.stderr
        print(report(truth, predictions, names), file=stream)


def sources(options: argparse.Namespace) -> tuple[list[Path], Path | None]:
    """Checkpoints and table of true labels: the command line's, else the configuration's."""
    from engine.config import load_config
    from engine.errors import UserError

    config = load_config(options.config) if options.config else None
    configured = config and config.checkpoint_path
    checkpoints = options.checkpoint or ([Path(configured)] if configured else [])
    truth = options.gt or (config and config.gt_csv)
    if not checkpoints:
        place = f"{options.config} has no checkpoint_path; " if options.config else ""
        raise UserError(f"{place}which network? Give --checkpoint FILE, or a configuration with checkpoint_path")
    return checkpoints, Path(truth) if truth else None


def classify(members: Sequence[Member], paths: Sequence[Path], views: Sequence[View] = ()) -> Iterator[Prediction]:
    """Predictions in the order of the paths; each image is decoded once. UserError for one that is unreadable or does
    not give the input of a network.
    """
    import numpy as np

    from engine.data.images import read_image
    from engine.ensemble import CHUNK, ensemble_probabilities

    names = members[0].class_names
    for start in range(0, len(paths), CHUNK):
        part = paths[start : start + CHUNK]
        prepared: list[list[Any]] = [[] for _ in members]
        for path in part:
            raw = read_image(path)
            for member, images in zip(members, prepared, strict=True):
                images.append(member.preprocess.prepare(raw))
                _check_shape(path, images[-1].shape, member)
        scores = ensemble_probabilities(members, [np.stack(images) for images in prepared], views)
        for path, row in zip(part, scores, strict=True):
            index = int(row.argmax())
            yield Prediction(path, index, names[index], float(row[index]))


def _check_shape(path: Path, shape: tuple[int, ...], member: Member) -> None:
    from engine.errors import UserError

    if shape != member.net.input_shape:
        raise UserError(
            f"{path}: gives an input of shape {shape}, the network in {member.source} takes {member.net.input_shape}"
        )


def write_predictions(predictions: Sequence[Prediction], out: Path | None) -> None:
    """CSV with the columns file, label, probability, to a file or to standard output."""
    import csv
    import io

    from engine.files import write_atomically

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "label", "probability"])
    table.writerows([each.path, each.label, f"{each.probability:.6f}"] for each in predictions)
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_atomically(out, text.getvalue().encode())


def read_truth(table: Path, paths: Sequence[Path], names: Sequence[str]) -> NDArray[np.int64]:
    """The true label of each image from a CSV table (see `match_rows`).

    UserError for a missing column, a label that is no class, a file named twice with different labels, and an image
    that the table does not have.
    """
    import numpy as np

    from engine.data.readers import csv_header, read_csv
    from engine.errors import UserError

    header = csv_header(table)
    file_column = _first(table, header, FILE_COLUMNS)
    label_column = _first(table, header, LABEL_COLUMNS)
    labels = {name: index for index, name in enumerate(names)}
    known: dict[Path, int] = {}
    for line, row in read_csv(table, (file_column, label_column)):
        label = row[label_column].strip()
        if label not in labels:
            raise UserError(f"{table}, line {line}: label {label!r} is none of the classes {', '.join(names)}")
        name = Path(row[file_column].strip())
        if known.setdefault(name, labels[label]) != labels[label]:
            raise UserError(f"{table}, line {line}: {name} has a second, different label")
    rows = match_rows(table, paths, list(known))
    return np.array([known[row] for row in rows], np.int64)


def match_rows(table: Path, paths: Sequence[Path], rows: Sequence[Path]) -> list[Path]:
    """The table's row for each image: its path as written, else the longest one that its path ends in, else the only
    one of its name. UserError where an image has none or several, or a row would stand for two images.
    """
    from engine.errors import UserError

    by_name: dict[str, list[Path]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    missing = [path for path in paths if path.name not in by_name]
    if missing:
        raise UserError(f"{table}: no label for {missing[0].name} ({len(missing)} of {len(paths)} images are missing)")
    image_of: dict[Path, Path] = {}
    matched = []
    for path in paths:
        named = by_name[path.name]
        whole = path.absolute().parts
        endings = [row for row in named if row == path or row.parts == whole[-len(row.parts) :]]
        if not endings and len(named) > 1:
            raise UserError(f"{table}: {path} is ambiguous, it could be {named[0]} or {named[1]}")
        best = path if path in endings else max(endings or named, key=lambda row: len(row.parts))
        if image_of.setdefault(best, path) != path:
            raise UserError(f"{table}: {best} is ambiguous, it could be {image_of[best]} or {path}")
        matched.append(best)
    return matched


def _first(table: Path, header: Sequence[str], wanted: Sequence[str]) -> str:
    from engine.errors import UserError

    for column in wanted:
        if column in header:
            return column
    raise UserError(f"{table}: needs a column {' or '.join(wanted)}; it has {', '.join(header) or 'no header'}")


def report(truth: NDArray[np.int64], predictions: Sequence[Prediction], names: Sequence[str]) -> str:
    """Accuracy, macro-F1 and the confusion matrix as text."""
    import numpy as np

    from engine.metrics import accuracy, confusion_matrix, format_confusion, macro_f1

    predicted: Any = np.array([each.index for each in predictions], np.int64)
    return "\n".join(
        [
            f"accuracy {accuracy(truth, predicted):.4f}  macro-F1 {macro_f1(truth, predicted):.4f}  "
            f"images {len(truth)}",
            "confusion matrix (row: true class, column: predicted class)",
            format_confusion(confusion_matrix(truth, predicted, len(names)), names),
        ]
    )


def main() -> None:
    predict(parse_arguments())


if __name__ == "__main__":
    sys.exit(run(main))
