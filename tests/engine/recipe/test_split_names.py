"""A split that cannot be made says for which class."""

import numpy as np
import pytest

from engine.data.dataset import RawDataset
from engine.errors import UserError
from engine.recipe.config import SplitConfig
from engine.recipe.pseudo import strip_labels
from engine.recipe.samples import split_indices


def owls():
    """Three cats of two farms and an owl."""
    columns = {"farm": np.array(["x", "y", "x", "y"])}
    return RawDataset("own", np.zeros((4, 2, 2), np.uint8), np.array([0, 0, 0, 1]), ("cat", "owl"), columns)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"kind": "fraction", "fraction": 0.5}, r"of the 2 classes needs two samples, .*, and 'owl' has one"),
        (
            {"kind": "fraction", "fraction": 0.5, "stratify": ("label", "farm")},
            r"and 'cat, y' has one",
        ),
        ({"kind": "folds", "folds": 2}, r"samples of the smallest class \('owl', 1\), got"),
        ({"kind": "folds", "folds": 3, "stratify": ("farm",)}, r"samples of the smallest class \('x', 2\), got"),
    ],
)
def test_a_configured_split_names_the_smallest_class(split, message):
    with pytest.raises(UserError, match=message):
        split_indices(owls(), SplitConfig(**split))


def test_a_saved_split_names_the_smallest_class(tmp_path):
    with pytest.raises(UserError, match=r"samples of the smallest class \('owl', 1\), got"):
        split_indices(owls(), SplitConfig(kind="folds", folds=2, file=str(tmp_path / "folds.json")))


def test_labels_that_would_leave_a_class_without_any_name_it():
    with pytest.raises(UserError, match="labelled_fraction 0.5 leaves no label in the class owl of 1 samples"):
        strip_labels(np.array([0, 0, 0, 1]), 0.5, 0, ["cat", "owl"])
