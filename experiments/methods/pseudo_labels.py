"""Pseudo-labels on NumtaDB: LeNet with a tenth of the labels, before and after its teachers label the rest.

`python -m experiments.methods.pseudo_labels [--seeds 0,1,2,3,4] [--epochs 30] [--out DIR] [KEY=VALUE …]`

Of the parts a, b and c a tenth keeps its labels (stratified on database and digit, drawn anew for every seed); a fifth
of that is the validation set. Three teachers, of other first weights and another order of batches each, learn the rest
of the tenth. The mean of their probabilities labels the other nine tenths; a student learns both, a pseudo-labelled
sample with half the weight. Everything is tested on part d, with the weights of the epoch that was best by validation
macro-F1.

The student is held against the teacher of its own seed. That one sees a tenth of the samples per epoch for ten times as
many epochs, so that both take about as many steps; --epochs are the student's, and the teachers' ten times as many.

The trainings are the study `pseudo_labels`. What stands here is no training, and so no row of a study: the teachers'
joint accuracy, the gain over it, and how many of their labels are right.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.cli import run
from engine.data.dataset import Dataset
from engine.errors import UserError
from engine.inference.ensemble import Member, load_members
from engine.reading.schema import read_json
from engine.recipe.pseudo import label_with
from engine.training.folder import RESULT
from engine.training.metrics import accuracy, macro_f1
from experiments.methods import common
from experiments.methods.common import Options, Trained, difference, difference_text, mean
from experiments.records.result import checkpoint_of
from experiments.report.render import terminal
from experiments.report.table import Cell, Column, Table
from experiments.study.study import Study
from experiments.tasks.graph import Task
from experiments.tasks.samples import DataCache

TEACHER, STUDENT = "a tenth of the labels", "student with pseudo-labels"
FIGURES = {"test_macro_f1": "test (d) macro-F1", "test_accuracy": "test (d) accuracy"}

Figures = Mapping[str, Sequence[float]]


def with_student_epochs(study: Study, epochs: int) -> Study:
    """So many epochs of the student, and of its teachers in proportion."""
    stated = next(row.config.epochs for row in study.rows if row.name == STUDENT)
    return common.with_epochs(
        study, {each.name: max(1, round(each.config.epochs * epochs / stated)) for each in study.trainings}
    )


# ---- the teachers together ----


def measure_ensemble(teachers: Sequence[Member], test: Dataset) -> dict[str, float]:
    """Accuracy and macro-F1 of the mean of the teachers' probabilities."""
    predicted = label_with(teachers, test, threshold=0.0).labels
    truth: Any = test.labels
    return {"test_macro_f1": macro_f1(truth, predicted), "test_accuracy": accuracy(truth, predicted)}


def students(trained: Trained) -> list[Task]:
    """The student of every seed; its teachers are what it needs."""
    return [task for task in trained.graph.rows if task.run.row == STUDENT]


def ensemble_figures(trained: Trained) -> Figures:
    """What the teachers of each seed reach together on the test part."""
    data, found = DataCache(), []
    for student in students(trained):
        members = load_members([checkpoint_of(trained.result(run), run) for run in student.named.values()])
        test = data.load(trained.graph.by_key[student.needs[0]].run.config)[2]
        assert test is not None
        found.append(measure_ensemble(members, test))
    return {key: [each[key] for each in found] for key in FIGURES}


def labels_kept(trained: Trained) -> list[dict[str, Any]]:
    """What the teachers of each seed kept, as `engine.recipe.pseudo.describe` has it."""
    return [_kept(trained.result(task.run).folder / RESULT) for task in students(trained)]


def _kept(path: Path) -> dict[str, Any]:
    """The counts in a student's result: what was asked, kept and right of all, and kept and right of each class."""
    labels = read_json(path).get("pseudo_labels")
    found: Any = labels.get("stripped") if isinstance(labels, dict) else None
    classes: Any = found.get("per_class") if _counts(found, "asked", "kept", "right") else None
    if not isinstance(classes, dict) or not all(_counts(each, "kept", "right") for each in classes.values()):
        raise UserError(f"{path}: does not tell which pseudo-labels were kept; remove its folder to run it again")
    return dict(found)


def _counts(found: Any, *names: str) -> bool:
    """Whether it is a mapping with a count of each of these names."""
    return isinstance(found, dict) and all(type(found.get(name)) is int and found[name] >= 0 for name in names)


# ---- tables ----


def table(trained: Trained, together: Figures) -> Table:
    """Labelled samples only, the teachers together, and the student."""
    study = trained.study
    teachers = len(students(trained)[0].named)
    columns = (Column("row", "row", "text"), *(Column(key, title, digits=4) for key, title in FIGURES.items()))
    rows: list[tuple[Cell, ...]] = [
        (TEACHER, *(mean(trained.values(TEACHER, key)) for key in FIGURES)),
        (f"its {teachers} teachers together", *(mean(together[key]) for key in FIGURES)),
        (STUDENT, *(mean(trained.values(STUDENT, key)) for key in FIGURES)),
    ]
    share = study.rows[0].config.dataset.labelled_fraction or 1.0
    title = f"NumtaDB a+b+c → d, LeNet at 28x28, {share:.0%} of the labels, {len(study.seeds)} seeds"
    before, after = (common.published(study, row, "val_macro_f1") for row in (TEACHER, STUDENT))
    note = (
        "The NumtaDB report has all labels of a, b, c and pseudo-labels on the publisher's testing-a, b, c; with them "
        f"its Model2 goes from {before:g} to {after:g} (validation macro-F1, one run each)."
    )
    return Table(study.name, title, columns, tuple(rows), (note,))


def label_table(labels: Sequence[Mapping[str, Any]], threshold: float) -> Table:
    """What the teachers kept, per class, summed over the seeds, and how much of it is right."""
    columns = (
        Column("class", "class", "text"),
        Column("kept", "kept"),
        Column("right", "right"),
        Column("share", "share right", digits=4),
    )
    rows: list[tuple[Cell, ...]] = []
    for name in labels[0]["per_class"]:
        kept, right = (sum(each["per_class"][name][key] for each in labels) for key in ("kept", "right"))
        rows.append((name, kept, right, right / kept if kept else None))
    asked, kept, right = (sum(each[key] for each in labels) for key in ("asked", "kept", "right"))
    title = f"Pseudo-labels at threshold {threshold:g}: {kept:,} of {asked:,} images kept"
    return Table("labels", title, columns, (*rows, ("all", kept, right, right / kept if kept else None)))


def gains(trained: Trained, together: Figures) -> list[str]:
    """The student's gain over the teacher of its seed, and over the teachers together."""
    lines = []
    for key, title in FIGURES.items():
        student = trained.values(STUDENT, key)
        alone = difference(student, trained.values(TEACHER, key))
        lines.append(f"student less a tenth of the labels, {title}: {difference_text(alone)}")
        lines.append(
            f"student less the teachers together, {title}: {difference_text(difference(student, together[key]))}"
        )
    return lines


def check(options: Options) -> int:
    study = common.load("pseudo_labels", options)
    if options.epochs is not None:
        study = with_student_epochs(study, options.epochs)
    trained = common.train(study, options.out)
    together = ensemble_figures(trained)
    print(terminal(table(trained, together)))
    print("\n".join([*gains(trained, together), ""]))
    section = next(row.config.pseudo_labels for row in study.rows if row.name == STUDENT)
    assert section is not None
    print(terminal(label_table(labels_kept(trained), section.threshold)))
    print(trained.cost)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return common.main("pseudo_labels", (__doc__ or "").splitlines()[0], check, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
