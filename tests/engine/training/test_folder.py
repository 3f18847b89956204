"""What the log in a run's folder says: one reader, one policy."""

from pathlib import Path

import pytest

import engine
from engine.errors import UserError
from engine.training.folder import LOG, find_checkpoint, read_epochs, trained_seconds
from tests.engine.small import small_dataset, small_net

FIRST = '{"epoch": 1, "train_loss": 2.0, "val_loss": null, "seconds": 1.5}\n'


def test_epochs_are_read_and_other_events_passed_over(tmp_path):
    log = tmp_path / LOG
    assert read_epochs(log) == []
    log.write_text('{"event": "skipped_images", "count": 3}\n' + FIRST + '{"event": "diverged", "epoch": 2}\n')
    assert read_epochs(log) == [{"epoch": 1, "train_loss": 2.0, "val_loss": None, "seconds": 1.5}]


@pytest.mark.parametrize("last", ["", "{", '{"epoch": 2, "sec', '{"epoch": 2, "seconds": 1}', "\0\0\0"])
def test_a_last_line_without_its_end_is_being_written(tmp_path, last):
    (tmp_path / LOG).write_text(FIRST + last)
    assert [each["epoch"] for each in read_epochs(tmp_path / LOG)] == [1]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[1, 2]",
        "[" * 100_000,
        '{"step": 3}',
        '{"epoch": 0}',
        '{"epoch": "2"}',
        '{"epoch": true}',
        '{"epoch": 2, "val_loss": "low"}',
        '{"epoch": 2, "seconds": [1]}',
    ],
)
@pytest.mark.parametrize("after", ["", FIRST])
def test_any_other_line_that_is_no_epoch_is_named(tmp_path, line, after):
    (tmp_path / LOG).write_text(f"{FIRST}{line}\n{after}")
    with pytest.raises(UserError, match=r"log\.jsonl, line 2: is damaged"):
        read_epochs(tmp_path / LOG)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / LOG).write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(UserError, match=r"log\.jsonl: is damaged, it is not UTF-8 text"):
        read_epochs(tmp_path / LOG)


def test_a_folder_around_runs_names_one_of_them(tmp_path):
    with pytest.raises(UserError, match=r": holds no run, it has neither best.safetensors nor last.safetensors$"):
        find_checkpoint(tmp_path)
    for name in ("runs/b", "runs/a", "runs/empty"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / LOG).write_text("" if name == "runs/empty" else FIRST)
    for folder in (tmp_path, tmp_path / "runs"):  # a study, and a place of runs
        with pytest.raises(UserError, match=f"holds no run but others within; give {tmp_path}/runs/a or another of 2$"):
            find_checkpoint(folder)


def test_a_run_that_has_no_epoch_yet_is_told_from_a_folder_without_a_run(tmp_path):
    (tmp_path / LOG).write_text("")
    with pytest.raises(UserError, match="it is in its first epoch, or ended there; if it ended, train into the folder"):
        find_checkpoint(tmp_path)
    (tmp_path / LOG).write_text('{"event": "diverged", "epoch": 1}\n')  # which no command writes over
    with pytest.raises(UserError, match="if it ended, remove the folder, or train into another"):
        find_checkpoint(tmp_path)
    (tmp_path / LOG).write_text(FIRST)  # its checkpoints were taken away
    with pytest.raises(UserError, match="holds no run, it has neither"):
        find_checkpoint(tmp_path)


def test_a_run_by_its_name_alone_is_looked_for_in_the_usual_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "pets").mkdir(parents=True)
    (tmp_path / "runs" / "pets" / LOG).write_text(FIRST)
    for name in ("pets", "runs/pet"):
        with pytest.raises(UserError, match=f"^{name}: no such checkpoint or run folder; did you mean runs/pets.$"):
            find_checkpoint(Path(name))
    with pytest.raises(UserError, match="^birds: no such checkpoint or run folder$"):
        find_checkpoint(Path("birds"))


def test_a_file_of_a_run_that_is_no_checkpoint_is_told_the_run(tmp_path):
    (tmp_path / LOG).write_text(FIRST)
    with pytest.raises(UserError, match=f"{LOG}: is no checkpoint; give the run's folder {tmp_path}, or best"):
        find_checkpoint(tmp_path / LOG)


def test_seconds_are_summed_where_they_are_told():
    assert trained_seconds([{"epoch": 1, "seconds": 1.5}, {"epoch": 2}, {"epoch": 3, "seconds": 2}]) == 3.5
    assert trained_seconds([]) == 0.0


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["config.yaml", "log.csv", "tensorboard/events.out.tfevents.1"])
def test_a_file_that_is_no_run_s_is_not_written_over(tmp_path, name, resume):
    """As with `--out .` beside the configuration."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    trainer = engine.Trainer(small_net(), engine.SGD(lr=0.1), out=tmp_path, progress="none")
    with pytest.raises(UserError, match=f"{name}: lies where a run would write, and is none of a run"):
        trainer.fit(small_dataset(32), epochs=1, resume=resume)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine"


def test_of_a_folder_with_other_files_a_run_touches_its_own_only(tmp_path):
    others = [".mine.7.tmp", ".draft.tmp", "notes.txt"]
    stale = [".last.safetensors.123.tmp", ".config.yaml.9.tmp", ".log.csv.9.tmp"]
    for name in (*others, *stale):
        (tmp_path / name).write_text("mine")
    engine.Trainer(small_net(), engine.SGD(lr=0.1), out=tmp_path, progress="none").fit(small_dataset(32), epochs=1)
    assert all((tmp_path / name).read_text() == "mine" for name in others)
    assert not any((tmp_path / name).exists() for name in stale)


def test_a_run_that_was_killed_before_its_configuration_was_written_begins_again(tmp_path):
    (tmp_path / LOG).write_text("")
    for resume in (False, True):
        trainer = engine.Trainer(small_net(), engine.SGD(lr=0.1), out=tmp_path, progress="none")
        trainer.fit(small_dataset(32), epochs=1 + resume, resume=resume)
    assert (tmp_path / "config.yaml").is_file() and len(read_epochs(tmp_path / LOG)) == 2
