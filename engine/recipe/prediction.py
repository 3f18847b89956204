"""Predictions as a command line and a configuration ask for them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from engine.data.images import find_images
from engine.data.listing import scan
from engine.errors import UserError
from engine.inference.classify import Damaged, Prediction, classify, report, write_predictions
from engine.inference.ensemble import CHUNK, load_members
from engine.inference.truth import read_truth
from engine.inference.views import parse_views
from engine.recipe.config import load_config
from engine.training.folder import find_checkpoint


def predict(options: argparse.Namespace) -> int:
    """Do what the command line asks for; on an error no output file is written or changed. The exit status: 1 where
    damaged images were passed over.
    """
    if options.out and options.out.is_dir():
        raise UserError(f"{options.out}: is a folder; --out takes the name of a file")
    checkpoints, truth_path = sources(options)
    checkpoints = [find_checkpoint(path) for path in checkpoints]
    views = parse_views(options.tta) if options.tta else ()
    members = load_members(checkpoints)
    names = members[0].class_names
    paths = images_of(options.images, options.recursive)
    truth = None if truth_path is None else read_truth(truth_path, paths, names)
    answers: list[Prediction | Damaged] = []
    rows = classify(members, paths, views, options.skip_damaged)
    write_predictions(_followed(rows, answers, len(paths)), options.out, options.skip_damaged)
    predictions = [each for each in answers if isinstance(each, Prediction)]
    damaged = len(answers) - len(predictions)
    if truth is not None and predictions:
        truth = truth[np.array([isinstance(each, Prediction) for each in answers])]
        # The table of predictions may be read by a program: the report goes beside it, not into it.
        stream = sys.stdout if options.out else sys.stderr
        print(report(truth, predictions, names), file=stream)
    if damaged:
        print(f"{damaged:,} of {len(answers):,} images could not be read: see the column error", file=sys.stderr)
    return 1 if damaged else 0


def images_of(places: Sequence[Path], recursive: bool) -> list[Path]:
    """The images to classify; UserError, which names --recursive where it would help, for a folder without any."""
    if not recursive:
        for place in places:
            if place.is_dir() and (found := scan(place)).folders and not found.images:
                raise UserError(
                    f"{place}: the folder holds no images, but folders ({found.folders[0].name}, …); "
                    "--recursive reads the images in them"
                )
    return find_images(places, recursive)


def _followed(
    rows: Iterable[Prediction | Damaged], kept: list[Prediction | Damaged], count: int
) -> Iterator[Prediction | Damaged]:
    """The rows as they come, kept as well; on a terminal a line says how far they are."""
    shown = sys.stderr.isatty() and count > CHUNK
    for each in rows:
        kept.append(each)
        if shown and (len(kept) % CHUNK == 0 or len(kept) == count):
            end = "\n" if len(kept) == count else ""
            print(f"\r{len(kept):,} of {count:,} images", end=end, file=sys.stderr, flush=True)
        yield each


def sources(options: argparse.Namespace) -> tuple[list[Path], Path | None]:
    """Checkpoints and table of true labels: the command line's, else the configuration's."""
    config = load_config(options.config) if options.config else None
    configured = config and config.checkpoint_path
    checkpoints = options.checkpoint or ([Path(configured)] if configured else [])
    truth = options.gt or (config and config.gt_csv)
    if not checkpoints:
        place = f"{options.config} has no checkpoint_path; " if options.config else ""
        raise UserError(f"{place}which network? Give --checkpoint FILE, or a configuration with checkpoint_path")
    return checkpoints, Path(truth) if truth else None
