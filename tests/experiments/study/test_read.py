"""Reading studies: what is accepted, what is refused and in which words."""

import textwrap

import pytest

from engine.data.steps import Reverse
from engine.errors import UserError
from experiments.study import read as config
from experiments.study.packaged import study_names
from experiments.study.schema import PublishedValue

STUDY = """
    name: small
    title: A small study
    metric: val_macro_f1
    seeds: [0, 1]
    published: {columns: {val_macro_f1: a table, test_accuracy: another}}
    base: {model: {name: lenet}, dataset: {name: digits5k, train: {count: 100}}, epochs: 2, optimizer: {name: SGD}}
    rows:
      - {name: raw, changes: {}}
      - name: reverse
        changes: {preprocess: {steps: [reverse]}, dataset: {train: {seed: 4}}}
        published: {val_macro_f1: 0.5}
"""


def parse(text: str = STUDY, overrides: tuple[str, ...] = ()) -> config.Study:
    return config.parse_study(textwrap.dedent(text), "small.yaml", overrides)


def test_rows_are_the_base_with_their_changes():
    raw, reverse = parse().rows
    assert raw.config.preprocess.steps == () and raw.config.dataset.train == {"count": 100}
    assert reverse.config.preprocess.steps == (Reverse(),)
    assert reverse.config.dataset.train == {"count": 100, "seed": 4}
    assert raw.published == {} and reverse.published == {"val_macro_f1": PublishedValue(0.5)}
    assert {row.config.metric for row in parse().rows} == {"val_macro_f1"}


def test_overrides_lie_over_every_row():
    study = parse(overrides=("epochs=7", "dataset.train.seed=9", "optimizer.lr=1e-3"))
    assert [row.config.epochs for row in study.rows] == [7, 7]
    assert [row.config.dataset.train["seed"] for row in study.rows] == [9, 9]
    assert {row.learning_rate for row in study.rows} == {0.001}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title:", "titel:", "'titel'.*did you mean 'title'"),
        ("epochs: 2", "epoch: 2", "row 'raw'.*'epoch'.*did you mean 'epochs'"),
        ("metric: val_macro_f1", "", "'metric' is missing"),
        ("epochs: 2", "epochs: two", "epochs: expected int, got str 'two'"),
        ("epochs: 2", "epochs: true", "epochs: expected int, got bool"),
        ("{name: SGD}", "{name: SDG}", "row 'raw'.*did you mean 'SGD'"),
        ("{name: SGD}", "{name: SGD, rate: 1}", "row 'raw'.*'rate'"),
        ("[reverse]", "[revers]", "row 'reverse'.*did you mean 'reverse'"),
        ("{train: {seed: 4}}", "4", "row 'reverse'.*expected a mapping"),
        ("name: reverse", "name: raw", "row 'raw' stands there twice"),
        ("[0, 1]", "[0, 0]", "seed '0' stands there twice"),
        ("[0, 1]", "[0, -1]", "seed must not be negative"),
        ("[0, 1]", "[]", "at least one row and one seed"),
        ("[0, 1]", "0", "expected a list"),
        ("seeds: [0, 1]", "seeds: [0, 1", "not valid YAML"),
    ],
)
def test_a_bad_study_is_refused_in_words(old, new, message):
    assert old in STUDY
    with pytest.raises(UserError, match=message) as caught:
        parse(STUDY.replace(old, new))
    assert str(caught.value).startswith("small.yaml")


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs=[", "epoch=3"])
def test_a_bad_override_is_refused(override):
    with pytest.raises(UserError, match="epoch|key=value"):
        parse(overrides=(override,))


def test_the_packaged_studies_are_valid_and_carry_their_names():
    assert "quickstart" in study_names()
    for name in study_names():
        study = config.load_study(name)
        assert study.name == name and study.assumptions


def test_quickstart_has_the_published_lenet_rows():
    study = config.load_study("quickstart")
    values = [row.published["val_macro_f1"] for row in study.rows]
    own = {each.value for each in values if not each.note}
    assert own == {0.8858, 0.8837, 0.7353, 0.9598, 0.9202}
    assert len(study.rows) == 8 and len(study.seeds) == 3


def test_select_keeps_the_order_of_the_study():
    study = config.select(parse(), ["reverse", "raw"], [7])
    assert [row.name for row in study.rows] == ["raw", "reverse"] and study.seeds == (7,)
    assert study.budget.how == f"{parse().budget.how}; but --seeds 7"
    assert config.select(parse(), [], parse().seeds).budget == parse().budget
    with pytest.raises(UserError, match="did you mean 'reverse'"):
        config.select(parse(), ["revers"])
    with pytest.raises(UserError, match="unknown study.*did you mean 'quickstart'"):
        config.load_study("quickstar")
