"""Predictions as a command line and a configuration ask for them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from engine.cli import on_terminal
from engine.data.images import UnreadableImage
from engine.errors import UserError
from engine.files import json_text
from engine.inference.classify import Damaged, Prediction, classify
from engine.inference.ensemble import CHUNK, load_members, load_networks
from engine.inference.judging import Judgement, describe, rank_of, report, write_mistakes
from engine.inference.places import expanded, images_of
from engine.inference.rows import Form, opened, write_rows
from engine.inference.truth import read_truth
from engine.inference.views import check_shift, parse_views
from engine.recipe.config import load_config
from engine.recipe.segmentation import predict_maps
from engine.training.folder import find_checkpoint


def predict(options: argparse.Namespace) -> int:
    """Do what the command line asks for; on an error no output file is written or changed. The exit status: 1 where
    damaged images were passed over.
    """
    checkpoints, truth_path = sources(options)
    checkpoints = [find_checkpoint(path) for path in checkpoints]
    nets = load_networks(checkpoints)
    if any(len(net.output_shape) == 3 for net in nets):
        return predict_maps(options, checkpoints, nets, truth_path)
    if options.ignore is not None:
        raise UserError("--ignore is for networks that give a class for each pixel")
    check_outputs(options, checkpoints, truth_path)
    views = parse_views(options.tta) if options.tta else ()
    members = load_members(checkpoints, nets)
    if options.tta:
        for member in members:
            check_shift(options.tta, member.net.input_shape[1:])
    names = members[0].class_names
    if options.top is not None and not 1 <= options.top <= len(names):
        raise UserError(f"--top must be 1 or more and at most {len(names)}, the network's classes; got {options.top}")
    paths = images_of(expanded(options.images), options.recursive, options.skip_damaged)
    check_overwritten(options, paths)
    truth = None if truth_path is None else read_truth(truth_path, paths, names)
    answers = Answers(names, truth)
    rows = classify(members, paths, views, options.skip_damaged, options.top or 1)
    form = Form(names, options.top, options.probabilities, options.skip_damaged, options.json)
    with ExitStack() as stack:
        # All are opened first: what cannot be written shows before the work, and all appear or none.
        details, wrong = (
            None if path is None else stack.enter_context(opened(path)) for path in (options.report, options.mistakes)
        )
        table = stack.enter_context(opened(options.out))
        try:
            write_rows(answers.followed(rows, len(paths)), table, form)
        except UnreadableImage as error:
            if len(paths) == 1:
                raise
            raise UnreadableImage(f"{error}; --skip-damaged goes on behind it") from None
        if truth is not None:
            _write_judgement(answers, details, wrong, options, list(map(str, checkpoints)))
    damaged = len(answers.damaged)
    if truth is not None and damaged < len(paths):
        # The table of predictions may be read by a program: the report goes beside it, not into it.
        print(describe(answers.judgement(), options.top), file=sys.stdout if options.out else sys.stderr)
    if damaged:
        print(f"{damaged:,} of {len(paths):,} images could not be read: their rows say why", file=sys.stderr)
    return 1 if damaged else 0


class Answers:
    """What was said, as it comes: with true labels (N,) all that judging it needs, and the images passed over."""

    def __init__(self, class_names: Sequence[str], truth: NDArray[np.int64] | None):
        self.class_names, self.truth = class_names, truth
        self.damaged: list[Damaged] = []
        self._judged: list[tuple[str, int, int, np.float32, np.float32, int]] = []

    def followed(self, rows: Iterable[Prediction | Damaged], count: int) -> Iterator[Prediction | Damaged]:
        """The rows as they come, kept as well; on a terminal a line says how far they are."""
        shown = on_terminal() and count > CHUNK
        for number, each in enumerate(rows, 1):
            if isinstance(each, Damaged):
                self.damaged.append(each)
            elif self.truth is not None:
                true = int(self.truth[number - 1])
                scores = each.scores
                rank = rank_of(scores, true)
                self._judged.append((str(each.path), true, each.index, scores[each.index], scores[true], rank))
            if shown and (number % CHUNK == 0 or number == count):
                end = "\n" if number == count else ""
                print(f"\r{number:,} of {count:,} images", end=end, file=sys.stderr, flush=True)
            yield each

    def judgement(self) -> Judgement:
        """The answers beside the truth, without the images passed over."""
        files, truth, predicted, probability, true_probability, ranks = zip(*self._judged) if self._judged else [()] * 6
        return Judgement(
            self.class_names,
            files,
            np.array(truth, np.int64),
            np.array(predicted, np.int64),
            np.array(probability, np.float32),
            np.array(true_probability, np.float32),
            np.array(ranks, np.int64),
        )


def _write_judgement(
    answers: Answers, details: TextIO | None, wrong: TextIO | None, options: argparse.Namespace, checkpoints: list[str]
) -> None:
    judgement = answers.judgement()
    if details is not None:
        content = {
            "checkpoints": checkpoints,
            "tta": options.tta,
            **report(judgement, options.top),
            "damaged": [{"file": str(each.path), "error": each.error} for each in answers.damaged],
        }
        details.write(json_text(content, indent=2) + "\n")
    if wrong is not None:
        write_mistakes(judgement, wrong)


def check_outputs(options: argparse.Namespace, checkpoints: Sequence[Path], truth: Path | None) -> None:
    """UserError for an output that is a folder, another output, or a file that is read; and for one that needs true
    labels where there are none."""
    read = {path.resolve(): path for path in (*checkpoints, truth, options.config) if path is not None}
    written: dict[Path, str] = {}
    for name, path in _outputs(options).items():
        if path.is_dir():
            raise UserError(f"{path}: is a folder; {name} takes the name of a file")
        if path.resolve() in read:
            raise UserError(f"{path}: is read, and {name} would write over it")
        other = written.setdefault(path.resolve(), name)
        if other != name:
            raise UserError(f"{path}: is given for {other} and for {name}; each needs a file of its own")
        if name != "--out" and truth is None:
            raise UserError(f"{name} needs the true labels: give --gt CSV, or a configuration with gt_csv")


def check_overwritten(options: argparse.Namespace, images: Sequence[Path]) -> None:
    """UserError for an output that would be written over an image."""
    outputs = {path.resolve(): name for name, path in _outputs(options).items() if path.exists()}
    for image in images if outputs else ():
        name = outputs.get(image.resolve())
        if name:
            raise UserError(f"{image}: is read, and {name} would write over it")


def _outputs(options: argparse.Namespace) -> dict[str, Path]:
    given = {"--out": options.out, "--report": options.report, "--mistakes": options.mistakes}
    return {name: path for name, path in given.items() if path is not None}


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
