"""Studies with groups, stages, budgets and factors: what they become, and the words in which a bad one is refused."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UserError
from engine.recipe.config import read_config
from engine.training.schedules import EarlyStopping, WarmupConfig
from experiments.study import read as config
from experiments.study.budget import scaled_schedule
from experiments.study.check import check_studies, check_study
from experiments.study.needs import checked_order, references, resolved
from experiments.study.packaged import study_names
from experiments.study.schema import PublishedValue
from experiments.study.study import base_of, headline

STUDY = """
    name: whole
    title: A study with everything
    metric: val_accuracy
    metrics: [test_accuracy, val_accuracy]
    score_epoch: last
    seeds: [0, 1, 2]
    published:
      title: A report
      source: made up
      columns: {test_accuracy: table 1, val_accuracy: table 2, parameters: table 1}
    base:
      dataset: {name: mnist, train: {split: train}, test: {split: test}}
      split: {kind: test}
      model: {name: mnist_cnn}
      optimizer: {name: Adam}
      schedule: {name: Cosine, total: 1000, warmup: 10}
      epochs: 20
    stages:
      - name: pretraining
        changes: {epochs: 10}
    rows:
      - name: plain
        group: Table 1
        base: true
        published: {test_accuracy: 0.9, parameters: {value: 93322, note: rounded}}
      - name: pretrained
        group: Table 1
        changes: {initialize_from: {checkpoint: "run:pretraining", exclude: ["11"]}}
        incomparable: other data
        footnotes: [odd]
      - name: again
        group: Table 2
        same_as: plain
        changes: {optimizer: {lr: 0.001}}
        published: {val_accuracy: 0.8}
    footnotes:
      odd: the report says two things
      general: the report says nothing about time
    budgets:
      small: {how: a tenth, epochs: 0.1, least_epochs: 3, seeds: [5], samples: 100, test_samples: {mnist: 50}}
      tiny: {how: less, epochs: 0.05, samples: {cifar10: 9}, changes: {batch_size: 8}, rows: {plain: {batch_size: 4}}}
"""


def parse(text: str = STUDY, **given: Any) -> config.Study:
    return config.parse_study(textwrap.dedent(text), "whole.yaml", **given)


def test_rows_carry_what_the_file_says_of_them() -> None:
    study = parse()
    plain, pretrained, again = study.rows
    assert plain.published["parameters"] == PublishedValue(93322, "rounded") and plain.base
    assert pretrained.needs == ("pretraining",) and pretrained.incomparable == "other data"
    assert pretrained.footnotes == ("the report says two things",)
    assert study.footnotes == ("the report says nothing about time",)
    assert again.same_as == "plain" and again.config == plain.config
    assert [stage.name for stage in study.stages] == ["pretraining"] and study.stages[0].config.epochs == 10
    assert [headline(study, row) for row in study.rows] == ["test_accuracy", "test_accuracy", "val_accuracy"]
    assert base_of(study, pretrained) is plain and base_of(study, again) is plain
    assert study.score_epoch == "last" and study.budget.name == "full"
    assert [budget.name for budget in study.budgets] == ["full", "small", "tiny"]


GROUPS = """
    {name: n, title: t, metric: val_loss, seeds: [1], base: {dataset: mnist, model: {name: mnist_cnn}}, rows: [
      {name: A0, group: A, base: true}, {name: A1, group: A, changes: {epochs: 2}},
      {name: B0, group: B, base: BASE, changes: {epochs: 3}}, {name: B1, group: B, changes: {epochs: 4}}]}
"""


@pytest.mark.parametrize(
    ("base", "rows", "bases"),
    [
        ("true", ["A0", "A1", "B1"], ["A0", "A0", None]),
        ("true", ["A1", "B0"], [None, "B0"]),
        ("true", ["B1", "B0", "A1"], [None, "B0", "B0"]),
        ("false", ["A0", "B1"], ["A0", "A0"]),
        ("false", ["A1", "B0"], [None, None]),
    ],
)
def test_the_row_that_one_is_compared_with_is_that_of_the_whole_study(base, rows, bases) -> None:
    for seeds in ([], [7]):
        study = config.select(config.select(parse(GROUPS.replace("BASE", base)), rows), seeds=seeds)
        found = [base_of(study, row) for row in study.rows]
        assert [None if each is None else each.name for each in found] == bases


def test_defaults_leave_one_metric_and_no_base() -> None:
    study = parse("{name: n, title: t, metric: val_loss, seeds: [1], base: {dataset: mnist, model: {name: mnist_cnn}},"
                  " rows: [{name: a}]}")  # fmt: skip
    assert study.metrics == ("val_loss",) and base_of(study, study.rows[0]) is None


def test_a_budget_scales_epochs_schedules_samples_and_seeds() -> None:
    study = parse(budget="small")
    plain = study.rows[0].config
    assert study.seeds == (5,) and study.budget.how == "a tenth"
    assert plain.epochs == 3 and study.stages[0].config.epochs == 3
    assert plain.schedule == {"name": "Cosine", "total": 150, "warmup": 2}
    assert plain.select.count == 100 and plain.dataset.test_subset == 50
    assert study.rows[2].config == plain


@pytest.mark.parametrize(
    ("budget", "section", "expected"),
    [
        ("epochs: 0.2", "warmup: {epochs: 5, start: 0}", WarmupConfig(epochs=1, start=0.0)),
        ("epochs: 0.5", "warmup: {steps: 200}", WarmupConfig(steps=100)),
        ("epochs: 0.5, steps: 0.1", "warmup: {steps: 200}", WarmupConfig(steps=20)),
        ("epochs: 0.1, least_epochs: 5", "warmup: {epochs: 4}", WarmupConfig(epochs=2)),
        ("epochs: 0.5", "warmup: false", None),
        ("epochs: 0.5", "freeze_after: {0.bias: 3, 4: 8, 5: 1}", {"0.bias": 2, 4: 4, 5: 1}),
        ("epochs: 0.5", "early_stopping: {patience: 4}", EarlyStopping(4)),
    ],
)
def test_a_budget_scales_what_counts_epochs_or_steps_beside_the_schedule(budget, section, expected) -> None:
    text = "{name: n, title: t, metric: val_loss, seeds: [1], base: {dataset: mnist, model: {name: mnist_cnn}, "
    text += f"epochs: 10}}, rows: [{{name: a, changes: {{{section}}}}}], budgets: {{less: {{how: less, {budget}}}}}}}"
    assert getattr(parse(text, budget="less").rows[0].config, section.split(":")[0]) == expected


def test_a_budget_changes_all_rows_and_single_ones_and_overrides_come_last() -> None:
    study = parse(budget="tiny")
    assert [row.config.batch_size for row in study.rows] == [4, 8, 4]
    assert study.rows[0].config.select.count is None and study.rows[0].config.epochs == 1
    study = parse(budget="tiny", overrides=("epochs=7", "batch_size=2"))
    assert {(row.config.epochs, row.config.batch_size) for row in study.rows} == {(7, 2)}
    assert study.stages[0].config.epochs == 7


def test_a_size_goes_to_images_and_network_and_not_below_what_the_network_takes() -> None:
    small = STUDY.replace("model: {name: mnist_cnn}", "model: {name: scene_cnn, arguments: {filters: 8}}")
    small = small.replace("how: a tenth,", "how: a tenth, size: 24,")
    row = parse(small, budget="small").rows[0].config
    assert row.preprocess.size == (24, 24) and row.model.arguments == {"filters": 8, "input_size": 24}
    row = parse(small.replace("scene_cnn, arguments: {filters: 8}", "vgg19"), budget="small").rows[0].config
    assert row.preprocess.size == (32, 32) and row.model.arguments == {"input_size": 32}
    with pytest.raises(UserError, match="'mnist_cnn' takes images of one size"):
        parse(STUDY.replace("how: a tenth,", "how: a tenth, size: 24,"), budget="small")


def test_a_row_is_read_once_and_once_more_for_a_budget_and_for_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[str] = []

    def counted(content: Any, place: str) -> Any:
        places.append(place)
        return read_config(content, place)

    monkeypatch.setattr(config, "read_config", counted)
    for given, times in (({}, 1), ({"budget": "small"}, 2), ({"budget": "tiny", "overrides": ("epochs=7",)}, 3)):
        places.clear()
        parse(**given)
        names = ("row 'plain'", "row 'pretrained'", "row 'again'", "stage 'pretraining'")
        assert places == [f"whole.yaml, {name}" for name in names] * times


@pytest.mark.parametrize("budget", ["full", "small"])
def test_overrides_change_parts_of_what_the_file_does_not_write_out(budget: str) -> None:
    short = STUDY.replace("dataset: {name: mnist, train: {split: train}, test: {split: test}}", "dataset: mnist")
    short = short.replace("split: {kind: test}", "").replace("optimizer: {name: Adam}", "")
    short = short.replace("schedule: {name: Cosine, total: 1000, warmup: 10}", "")
    short = short.replace("changes: {optimizer: {lr: 0.001}}", "")
    overrides = ("loss.label_smoothing=0.1", "optimizer.lr=0.5", "dataset.subset=30")
    plain = parse(short, budget=budget, overrides=overrides).rows[0].config
    assert plain.loss == {"name": "CrossEntropy", "label_smoothing": 0.1}
    assert plain.optimizer == {"name": "Adam", "lr": 0.5} and plain.schedule == {"name": "Constant"}
    assert (plain.dataset.name, plain.dataset.subset, plain.dataset.test_subset) == ("mnist", 30, None)
    assert plain.epochs == (20 if budget == "full" else 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("{epochs: few}", "epochs: expected int, got str 'few'"),
        ("{epochs: 0}", "epochs must be 1 or more, got 0"),
        ("{epochs: true}", "epochs: expected int, got bool True"),
        ("{schedule: {total: many}}", "total: expected int, got str 'many'"),
        ("{schedule: {name: PiecewiseConstant, boundaries: 5, values: [1]}}", "boundaries: expected a list"),
        ("{dataset: 5}", "dataset: expected a mapping"),
        ("{model: {name: nets}}, size: 8", "the network 'nets' takes images of one size only"),
    ],
)
def test_a_value_of_a_wrong_type_in_a_budget_is_refused_in_words(changes: str, message: str) -> None:
    text = STUDY.replace("how: a tenth,", f"how: a tenth, changes: {changes},")
    with pytest.raises(UserError, match=message) as caught:
        parse(text, budget="small")
    assert str(caught.value).startswith("whole.yaml, row 'plain'")


def test_schedules_shrink_with_the_run() -> None:
    plateau = {"name": "ReduceLROnPlateau", "patience": 10, "factor": 0.5}
    assert scaled_schedule(plateau, 0.25, 0.1) == {**plateau, "patience": 2}
    assert scaled_schedule(plateau, 0.01, 0.1)["patience"] == 1
    steps = {"name": "PiecewiseConstant", "boundaries": [1400, 2800, 10000], "values": [1, 2, 3, 4]}
    assert scaled_schedule(steps, 0.5, 0.0005)["boundaries"] == [1, 2, 5]
    assert scaled_schedule({**steps, "unit": "epoch"}, 0.5, 0.0005)["boundaries"] == [700, 1400, 5000]


def test_factors_are_crossed_to_rows() -> None:
    rows = """
    factors:
      optimizer.lr: [0.01, 0.002]
      noise:
        none: {}
        smooth: {loss: {name: CrossEntropy, label_smoothing: 0.1}}
    """
    study = parse(STUDY.replace("\n    stages:", rows + "stages:"), budget="tiny")
    crossed = study.rows[3:]
    names = ["lr=0.01/none", "lr=0.01/smooth", "lr=0.002/none", "lr=0.002/smooth"]
    assert [row.name for row in crossed] == names
    assert [row.learning_rate for row in crossed] == [0.01, 0.01, 0.002, 0.002]
    assert crossed[1].config.loss["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("score_epoch: last", "score_epoch: lost", "did you mean 'last'"),
        ("group: Table 2", "grup: Table 2", "did you mean 'group'"),
        ("metrics: [test_accuracy", "metrics: [accuracy", "'accuracy' is no metric"),
        ("published: {test_accuracy: 0.9", "published: {test_acuracy: 0.9", "did you mean 'test_accuracy'"),
        ("{test_accuracy: 0.9", "{test_accuracy: 90.0", "row 'plain'.*fraction from 0 to 1 is expected, got 90"),
        ("{test_accuracy: 0.9", "{test_accuracy: high", "published.test_accuracy: value: expected float"),
        ("columns: {test_accuracy: table 1, val_accuracy: table 2, parameters: table 1}", "columns: {}",
         "say where the column comes from"),
        ("same_as: plain", "same_as: plane", "did you mean 'plain'"),
        ("same_as: plain", "same_as: again", "'again' does not"),
        ("changes: {optimizer: {lr: 0.001}}", "changes: {optimizer: {lr: 0.002}}",
         "row 'again': same_as names 'plain', but their optimizer differs"),
        ("        same_as: plain\n", "", "row 'again': trains the same as 'plain'; say so with same_as"),
        ("name: again", "name: a, b", "'a, b' has a comma in its name"),
        ("footnotes: [odd]", "footnotes: [od]", "row 'pretrained': unknown footnote 'od'; did you mean 'odd'"),
        ("group: Table 2", "group: Table 1\n        base: true", "group 'Table 1' has more than one base row"),
        ("run:pretraining", "run:pretrainig", "unknown row or stage in needs.*did you mean 'pretraining'"),
        ("changes: {epochs: 10}", "changes: {epochs: 10}\n        needs: [pretrained]",
         "needs go in a circle: .*pretrain.* → .*pretrain"),
        ("name: pretraining", "name: plain", "row or stage 'plain' stands there twice"),
        ("budgets:\n", "budgets:\n      full: {how: x}\n", "budgets.full is the study as it stands"),
        ("how: a tenth,", "", "budgets.small: the key 'how' is missing"),
        ("epochs: 0.1,", "epochs: 2,", "epochs is a factor above 0 and at most 1, got 2"),
        ("samples: 100", "samples: lots", "samples is a number of at least 1"),
        ("rows: {plain:", "rows: {plane:", "budgets.tiny.*did you mean 'plain'"),
        ("seeds: [5]", "seeds: [5, 5]", "budgets.small: the seed '5' stands there twice"),
        ("stages:\n", "factors: {optimizer.lr: []}\n    stages:\n", "factors.optimizer.lr: the factor has no values"),
        ("stages:\n", "factors: {optimizer.lr: 3}\n    stages:\n", "factors.optimizer.lr: expected a list"),
        ("stages:\n", "factors: {a: {b: 3}}\n    stages:\n", "factors.a.b: expected a mapping"),
    ],
)  # fmt: skip
def test_a_bad_study_is_refused_in_words(old: str, new: str, message: str) -> None:
    assert old in STUDY
    with pytest.raises(UserError, match=message) as caught:
        parse(STUDY.replace(old, new, 1))
    assert str(caught.value).startswith("whole.yaml")


def test_an_unknown_budget_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown budget 'smal'; did you mean 'small'"):
        parse(budget="smal")


def test_a_default_that_is_written_out_makes_no_other_training() -> None:
    changes = "{model: {arguments: {classes: 10}}, loss: {name: CrossEntropy, label_smoothing: 0}}"
    twin = f"      - {{name: twin, changes: {changes}}}"
    with pytest.raises(UserError, match="row 'twin': trains the same as 'plain'"):
        parse(STUDY.replace("    footnotes:\n      odd", f"{twin}\n    footnotes:\n      odd"))


def test_references_are_found_and_resolved() -> None:
    row = parse().rows[1]
    assert references(row.config) == ("pretraining",) and references(parse().rows[0].config) == ()
    ready = resolved(row.config, lambda name: f"/runs/{name}.safetensors")
    assert ready.initialize_from is not None and ready.initialize_from.checkpoint == "/runs/pretraining.safetensors"
    assert ready.initialize_from.exclude == ("11",) and references(ready) == ()


def test_the_order_keeps_to_needs_and_else_to_the_file() -> None:
    assert checked_order({"a": ["c"], "b": [], "c": []}, "here").index("c") < 2
    assert checked_order({"a": [], "b": [], "c": []}, "here") == ("a", "b", "c")


def test_selecting_rows_keeps_what_they_need() -> None:
    study = config.select(parse(), ["pretrained"])
    assert [row.name for row in study.rows] == ["pretrained"] and [each.name for each in study.stages] == [
        "pretraining"
    ]
    needing = STUDY.replace("same_as: plain", "same_as: plain\n        needs: [pretrained]")
    study = config.select(parse(needing), ["again"])
    assert study.rows[0].same_as is None
    assert [each.name for each in study.stages] == ["pretraining", "pretrained"]


def test_a_study_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(textwrap.dedent(STUDY))
    assert config.load_study(str(path)).name == "whole"
    with pytest.raises(UserError, match="none.yaml: cannot be read"):
        config.load_study(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('exclude: ["11"]', 'exclude: ["99"]', "'pretrained': unknown layer with parameters in exclude"),
        ("epochs: 20", "epochs: 20\n      freeze: [nothing]", "'plain': unknown layer with parameters in freeze"),
        (
            "epochs: 20",
            "epochs: 20\n      learning_rates: {'*.scale': 2}",
            r"parameters in learning_rates: '\*\.scale'",
        ),
        ("epochs: 20", "epochs: 20\n      freeze: ['*']", "'plain': freeze: every layer with parameters is frozen"),
        ("epochs: 20", "epochs: 20\n      learning_rates: {'*': 0}", "'plain': learning_rates: every parameter has"),
        ("name: mnist, train", "name: mnst, train", "'plain': unknown data set 'mnst'; did you mean 'mnist'"),
        ("{split: train}", "{spit: train}", "'plain': data set 'mnist': unknown option 'spit'"),
        (", test: {split: test}", "", "'plain': split.kind is test, but dataset.test is not given"),
        ("name: mnist_cnn}", "name: mnist_cnn}\n      preprocess: {size: [32, 32]}", r"\(1, 32, 32\), but the network"),
    ],
)
def test_a_check_finds_what_could_not_begin(old: str, new: str, message: str) -> None:
    assert old in STUDY
    with pytest.raises(UserError, match=message):
        check_study(parse(STUDY.replace(old, new, 1)))


def test_a_check_knows_parameters_as_well_as_layers() -> None:
    rates = "epochs: 20\n      learning_rates: {'*.bias': 2, '*.weights': 0.5}"
    check_study(parse(STUDY.replace("epochs: 20", rates, 1)))


def test_the_packaged_studies_pass_the_check() -> None:
    said: list[str] = []
    check_studies(say=said.append)
    assert len(said) == len(study_names()) and all(line.endswith(": ok") for line in said)


OWN_KEYS = {
    "seed": ("9", "seed: a study's seeds stand under 'seeds' (or --seeds)"),
    "out": ("elsewhere", "out: the runs of a study have folders of their own; --out says where"),
    "metric": ("val_loss", "metric: a study has one for all rows, its own key 'metric'"),
}


@pytest.mark.parametrize("key", OWN_KEYS)
@pytest.mark.parametrize("place", ["base", "row", "stage", "budget", "budget's row", "factor", "command"])
def test_a_key_that_the_study_sets_itself_is_refused(key: str, place: str) -> None:
    value, told = OWN_KEYS[key]
    text = textwrap.dedent(STUDY)
    who, budget, overrides = "row 'plain'", "full", []
    if place == "base":
        text = text.replace("  epochs: 20\n", f"  epochs: 20\n  {key}: {value}\n")
    elif place == "row":
        text = text.replace("changes: {initialize_from:", f"changes: {{{key}: {value}, initialize_from:")
        who = "row 'pretrained'"
    elif place == "stage":
        text = text.replace("changes: {epochs: 10}", f"changes: {{epochs: 10, {key}: {value}}}")
        who = "stage 'pretraining'"
    elif place == "budget":
        text, budget = text.replace("changes: {batch_size: 8}", f"changes: {{{key}: {value}}}"), "tiny"
    elif place == "budget's row":
        text, budget = text.replace("rows: {plain: {batch_size: 4}}", f"rows: {{plain: {{{key}: {value}}}}}"), "tiny"
    elif place == "factor":
        text = text.replace("footnotes:\n", f"factors: {{{key}: [{value}]}}\nfootnotes:\n")
        who = f"row '{key}={value}'"
    else:
        overrides = [f"{key}={value}"]
    with pytest.raises(UserError) as refused:
        config.parse_study(text, "s.yaml", overrides, budget)
    assert str(refused.value) == f"s.yaml, {who}: {told}"


def test_the_split_has_a_seed_of_its_own_unless_each_seed_divides_anew() -> None:
    text = textwrap.dedent(STUDY).replace("{kind: test}", "{kind: fraction, seed: 3}")
    assert config.parse_study(text, "s.yaml").rows[0].config.split.seed == 3
    with pytest.raises(UserError, match=r"row 'plain': split.seed: with split_per_seed it is the seed of each run"):
        config.parse_study(f"{text}\nsplit_per_seed: true\n", "s.yaml")


def test_nor_may_a_search_vary_it() -> None:
    text = f"{textwrap.dedent(STUDY)}\nsearch: {{row: plain, space: {{seed: {{choice: [1, 2]}}}}}}\n"
    with pytest.raises(UserError, match=r"s.yaml: search: space: seed: a study's seeds stand under 'seeds'"):
        config.parse_study(text, "s.yaml")


def test_a_check_takes_what_stands_behind_the_command(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(textwrap.dedent(STUDY))
    with pytest.raises(UserError, match="row 'plain': seed: "):
        check_studies([str(path)], overrides=["seed=9"])
