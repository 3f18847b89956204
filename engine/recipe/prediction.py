"""Predictions as a command line and a configuration ask for them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.data.images import find_images
from engine.errors import UserError
from engine.inference.classify import classify, report, write_predictions
from engine.inference.ensemble import load_members
from engine.inference.truth import read_truth
from engine.inference.views import parse_views
from engine.recipe.config import load_config


def predict(options: argparse.Namespace) -> None:
    """Do what the command line asks for; on an error no output file is written or changed."""
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
    config = load_config(options.config) if options.config else None
    configured = config and config.checkpoint_path
    checkpoints = options.checkpoint or ([Path(configured)] if configured else [])
    truth = options.gt or (config and config.gt_csv)
    if not checkpoints:
        place = f"{options.config} has no checkpoint_path; " if options.config else ""
        raise UserError(f"{place}which network? Give --checkpoint FILE, or a configuration with checkpoint_path")
    return checkpoints, Path(truth) if truth else None
