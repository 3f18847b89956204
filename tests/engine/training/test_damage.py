"""A run folder with damaged files is no dead end: runs go on from what is whole, to the bits of an undisturbed one."""

import json
import os
import shutil
import warnings

import pytest

import engine
from engine.errors import UserError
from engine.files import write_atomically
from engine.network import checkpoint
from engine.network.checkpoint import weights_hash
from engine.recipe.config import read_config
from engine.recipe.fit import make_trainer as trainer_of
from tests.engine.small import small_config
from tests.engine.training.test_resume import TRAIN, VALIDATION, CutOff, cut_after, make_trainer, without_times

EPOCHS = 4
LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    """One bit of the tensors."""
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)


def flipped_version(path):
    """One bit of what tells the format's version."""
    content = path.read_bytes()
    assert content.count(b'\\"version\\": 1') == 1
    path.write_bytes(content.replace(b'\\"version\\": 1', b'\\"version\\": 3'))


def flipped_kind(path):
    """One bit of what tells that it is ours."""
    path.write_bytes(path.read_bytes().replace(b'"cnn-engine"', b'"cnn-engind"'))


def flipped_length(path):
    """One bit of the first bytes, which tell how long the header is."""
    content = bytearray(path.read_bytes())
    content[6] ^= 1
    path.write_bytes(content)


def without_a_tensor(path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    tensors.pop(sorted(tensors)[-1])
    save_file(tensors, path, metadata)


def overwritten(path):
    path.write_bytes(b"\xff" * 5000)


DAMAGES = [truncated, emptied, flipped, flipped_version, flipped_kind, flipped_length, without_a_tensor, overwritten]


def fit(trainer, **options):
    options = {"checkpoint_every": 4, "epochs": EPOCHS, "restore_best": True, **options}
    return trainer.fit(TRAIN, VALIDATION, **options)


def trainer_in(out):
    return make_trainer(out, seed=5, metric="val_accuracy")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    trainer = trainer_in(out)
    return out, weights_hash(trainer.net), fit(trainer), weights_hash(trainer.net)


@pytest.fixture
def cut(tmp_path):
    """The folder of a run that was cut off in its third epoch (six steps each)."""
    out = tmp_path / "run"
    trainer = trainer_in(out)
    cut_after(trainer, 17)
    with pytest.raises(CutOff):
        fit(trainer)
    return out


def check_resumed(out, whole):
    """The run in the folder goes on to the same end."""
    wanted, _, history, best = whole
    trainer = trainer_in(out)
    again = fit(trainer, resume=True)
    assert weights_hash(trainer.net) == best
    assert without_times(again.epochs) == without_times(history.epochs)
    for name in (LAST, BEST):
        assert weights_hash(engine.load(out / name)) == weights_hash(engine.load(wanted / name))
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert without_times(lines) == without_times(history.epochs)
    assert len((out / "log.csv").read_text().splitlines()) == 1 + EPOCHS


def step_of(path):
    return checkpoint.read(path).training["position"]["step"]


def test_the_checkpoint_before_is_kept(cut):
    assert (step_of(cut / PREVIOUS), step_of(cut / LAST)) == (12, 16)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(cut, whole, damage):
    damage(cut / LAST)
    with pytest.warns(UserWarning) as told:
        check_resumed(cut, whole)
    text = str(told[0].message)
    assert f"{cut / LAST}: " in text and f"goes on from {cut / PREVIOUS}" in text


@pytest.mark.parametrize("damage", DAMAGES[:4])
def test_where_both_are_damaged_the_run_begins_again(cut, whole, damage):
    for name in (LAST, PREVIOUS):
        damage(cut / name)
    if damage is flipped_version:  # it may be another program's: nothing is thrown away
        with pytest.raises(UserError, match="remove it to begin again"):
            fit(trainer_in(cut), resume=True)
        return
    with pytest.warns(UserWarning, match="begins again") as told:
        check_resumed(cut, whole)
    assert all(str(cut / name) in str(told[0].message) for name in (LAST, PREVIOUS))


def test_the_one_before_is_not_replaced_by_a_damaged_one(cut, whole):
    flipped(cut / LAST)
    trainer = trainer_in(cut)
    cut_after(trainer, 13)
    with pytest.warns(UserWarning, match="goes on from"), pytest.raises(CutOff):
        fit(trainer, resume=True)
    assert step_of(cut / LAST) == 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_resumed(cut, whole)


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without"])
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_between_the_renames_leaves_a_good_file(cut, whole, renames, links, monkeypatch):
    """Without hard links, as on FAT, there is a moment in which only the checkpoint before is there."""
    import pathlib

    def refused(*_):
        raise PermissionError("no hard links")

    rename, done = pathlib.Path.replace, []

    def killed(path, target):
        if str(target).endswith((LAST, PREVIOUS)):
            if len(done) == renames:
                raise CutOff
            done.append(target)
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", killed)
    if not links:
        monkeypatch.setattr(os, "link", refused)
    with pytest.raises(CutOff):
        fit(trainer_in(cut), resume=True)
    monkeypatch.undo()
    missing = renames == 1 and not links
    assert (cut / PREVIOUS).is_file() and (cut / LAST).is_file() == (not missing)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_resumed(cut, whole)
    assert [str(each.message) for each in told] == (
        [f"{cut / LAST}: is missing; the run goes on from {cut / PREVIOUS}"] if missing else []
    )
    assert not [*cut.glob(".*.tmp")]


@pytest.mark.parametrize("damage", [*DAMAGES, lambda path: path.unlink()])
def test_the_network_of_the_best_epoch_is_made_anew_where_it_is_lost(cut, whole, damage):
    damage(cut / BEST)
    with pytest.warns(UserWarning, match=f"{BEST}: .*; the run begins again"):
        check_resumed(cut, whole)


def test_the_network_of_the_best_epoch_is_written_anew_where_the_last_checkpoint_has_it(tmp_path):
    trainer = make_trainer(tmp_path, metric="train_loss")
    trainer.fit(TRAIN, epochs=2)
    assert trainer.steps == 12 and checkpoint.read(tmp_path / BEST).training["epoch"] == 2
    wanted = (tmp_path / BEST).read_bytes()
    flipped(tmp_path / BEST)
    resumed = make_trainer(tmp_path, metric="train_loss")
    with pytest.warns(UserWarning, match=f"{BEST}: .*; written anew"):
        resumed.fit(TRAIN, epochs=2, resume=True, restore_best=True)
    assert (tmp_path / BEST).read_bytes() == wanted
    assert weights_hash(resumed.net) == weights_hash(trainer.net)


def test_a_best_checkpoint_of_another_epoch_is_none(cut, whole):
    content = checkpoint.read(cut / BEST)
    content.training["epoch"] = 7 - content.training["epoch"] * 7
    checkpoint.write(cut / BEST, content)
    with pytest.warns(UserWarning, match=f"{BEST}: "):
        check_resumed(cut, whole)


def test_a_finished_run_whose_best_network_is_lost_does_not_report_the_last_one_for_it(tmp_path, whole):
    out = tmp_path / "again"
    shutil.copytree(whole[0], out)
    (out / BEST).unlink()
    with pytest.warns(UserWarning, match=f"{BEST}: "):
        check_resumed(out, whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"epoch"', '"\0epoch', 1),
        lambda text: text + text[: len(text) // 3],
        lambda text: "",
    ],
    ids=["half a line", "damaged middle", "lines twice", "empty"],
)
def test_a_damaged_log_is_written_anew(cut, whole, damage):
    log = cut / "log.jsonl"
    log.write_text(damage(log.read_text()))
    (cut / "log.csv").write_text("epo")
    (cut / "result.json").write_text('{"metric": "val_')
    check_resumed(cut, whole)


def test_other_settings_are_refused_and_lose_nothing(cut):
    flipped(cut / LAST)
    before = {path.name: path.read_bytes() for path in cut.iterdir()}
    with pytest.raises(UserError, match=f"{PREVIOUS}: the run was started with optimizer"):
        make_trainer(cut, engine.SGD(lr=1), seed=5).fit(TRAIN, VALIDATION, epochs=EPOCHS, resume=True)
    truncated(cut / PREVIOUS)
    before[PREVIOUS] = (cut / PREVIOUS).read_bytes()
    with pytest.raises(UserError, match="config.yaml: the run was started with seed"):
        fit(make_trainer(cut, seed=6), resume=True)
    assert {path.name: path.read_bytes() for path in cut.iterdir()} == before


def test_a_run_that_begins_again_takes_the_weights_that_it_was_to_begin_with(tmp_path):
    """Not freshly drawn ones, because there is a checkpoint, if a damaged one."""
    checkpoint.save(make_trainer(None, seed=3).net, tmp_path / "source.safetensors")
    section = {"checkpoint": str(tmp_path / "source.safetensors")}
    config = read_config({**small_config(tmp_path / "unused.npz"), "initialize_from": section})
    out = tmp_path / "run"
    write_atomically(out / LAST, b"")
    (out / "log.jsonl").write_text("{")
    assert trainer_of(config, out).initialized is not None


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The best network of another run, which began with other weights."""
    out = tmp_path_factory.mktemp("other")
    fit(make_trainer(out, seed=6, metric="val_accuracy"))
    return out / BEST


def foreign_best(cut, other, epoch, **header):
    """Put the best network of another run, as one of this epoch, into the folder; return its bytes."""
    content = checkpoint.read(other)
    content.training.update(epoch=epoch, **header)
    checkpoint.write(cut / BEST, content)
    return (cut / BEST).read_bytes()


def test_a_best_checkpoint_of_another_run_is_none(cut, whole, other):
    foreign_best(cut, other, checkpoint.read(cut / BEST).training["epoch"])
    with pytest.warns(UserWarning, match=f"{BEST}: is not the network .* of this run; the run begins again"):
        check_resumed(cut, whole)


def test_nor_is_one_of_an_epoch_that_is_still_to_come(cut, whole, other):
    foreign_best(cut, other, EPOCHS)
    with pytest.warns(UserWarning, match=f"{BEST}: is of another run; the run begins again"):
        check_resumed(cut, whole)


def test_one_of_another_run_is_written_anew_where_the_last_checkpoint_has_it(tmp_path, other):
    trainer = make_trainer(tmp_path, metric="train_loss")
    trainer.fit(TRAIN, epochs=2)
    wanted = (tmp_path / BEST).read_bytes()
    assert foreign_best(tmp_path, other, 2) != wanted
    resumed = make_trainer(tmp_path, metric="train_loss")
    with pytest.warns(UserWarning, match=f"{BEST}: .*; written anew"):
        resumed.fit(TRAIN, epochs=2, resume=True, restore_best=True)
    assert (tmp_path / BEST).read_bytes() == wanted and weights_hash(resumed.net) == weights_hash(trainer.net)


def test_the_best_of_the_epoch_that_was_cut_off_while_it_ended_is_its_own(cut, whole):
    """The process was killed between its two checkpoints: the next one was written, the last one not yet."""
    best = checkpoint.read(cut / BEST)
    best.training["epoch"] = checkpoint.read(cut / LAST).training["position"]["epoch"] + 1
    checkpoint.write(cut / BEST, best)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer_in(cut).fit(TRAIN, VALIDATION, epochs=EPOCHS, resume=True)


def without_hashes(out):
    """The folder as earlier versions left it."""
    for name in (LAST, PREVIOUS, BEST):
        content = checkpoint.read(out / name)
        content.training.pop("run", None)
        content.training.get("position", {"history": {}})["history"].pop("best_hash", None)
        checkpoint.write(out / name, content)


def test_a_run_folder_of_an_earlier_version_goes_on(cut, whole):
    without_hashes(cut)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_resumed(cut, whole)
