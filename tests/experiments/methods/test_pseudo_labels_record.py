"""What the teachers kept is read from a student's result, which may be anything."""

import json

import pytest

from engine.errors import UserError
from experiments.methods.pseudo_labels import _kept

GOOD = {"asked": 4, "kept": 2, "right": 1, "per_class": {"a": {"kept": 2, "right": 1}}}


def test_counts_of_a_result(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps({"pseudo_labels": {"stripped": GOOD}}))
    assert _kept(tmp_path / "result.json") == GOOD


@pytest.mark.parametrize(
    "labels",
    [
        None,
        [],
        {"stripped": None},
        {"stripped": {**GOOD, "asked": "4"}},
        {"stripped": {**GOOD, "kept": -1}},
        {"stripped": {**GOOD, "per_class": [1]}},
        {"stripped": {**GOOD, "per_class": {"a": 3}}},
        {"stripped": {**GOOD, "per_class": {"a": {"kept": 1, "right": True}}}},
    ],
)
def test_a_result_of_another_kind_is_refused(tmp_path, labels):
    (tmp_path / "result.json").write_text(json.dumps({"pseudo_labels": labels}))
    with pytest.raises(UserError, match="result.json: does not tell which pseudo-labels were kept"):
        _kept(tmp_path / "result.json")
