"""Published values that another study states: what a citation becomes, and how a wrong one is refused."""

import pytest

from engine.errors import UserError
from experiments.study.cited import with_cited
from experiments.study.read import load_study
from experiments.study.schema import PublishedValue, read_published

ROW = "numtadb: LeNet Reverse"
COLUMNS = ("val_macro_f1", "test_accuracy", "test_loss")


def read(given):
    return read_published(with_cited(given, "here"), COLUMNS, "here")


def test_a_citation_is_the_value_that_the_other_study_states():
    stated = {row.name: row.published for row in load_study("numtadb").rows}["LeNet Reverse"]["val_macro_f1"]
    assert read({"val_macro_f1": {"as_in": ROW}}) == {"val_macro_f1": stated}
    assert read({"val_macro_f1": {"as_in": ROW, "note": "other digits"}})["val_macro_f1"] == PublishedValue(
        stated.value, "other digits"
    )
    assert read({"val_macro_f1": 0.5}) == {"val_macro_f1": PublishedValue(0.5)}


def test_the_values_after_every_epoch_come_along():
    found = read({"test_accuracy": {"as_in": "midas: MNIST random"}})["test_accuracy"]
    assert len(found.by_epoch) == 3 and found.value == found.by_epoch[-1]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("LeNet Reverse", 'as_in reads "STUDY: ROW"'),
        ("numtadb:", 'as_in reads "STUDY: ROW"'),
        ("numtabd: LeNet Reverse", "unknown study.*did you mean 'numtadb'"),
        ("numtadb: LeNet Revers", "unknown row in numtadb.*did you mean 'LeNet Reverse'"),
        ("mnist: Final", "unknown column in mnist, row 'Final'"),
        ("quickstart: Reverse", f"cites it too; name the row that states it, '{ROW}'"),
    ],
)
def test_a_citation_that_leads_nowhere_is_refused(place, message):
    with pytest.raises(UserError, match=message) as caught:
        read({"val_macro_f1": {"as_in": place}})
    assert str(caught.value).startswith("here: published.val_macro_f1: ")


@pytest.mark.parametrize(("given", "message"), [([], "expected float"), ([0.9, 91], "a fraction from 0 to 1")])
def test_a_wrong_list_of_epochs_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        read({"test_accuracy": given})
