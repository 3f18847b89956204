"""Keys of runs: what a result depends on changes them, and nothing else does."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import cnncore
import pytest

from engine.data.augment_config import AugmentConfig, ContourCutout, Rotation, Scaling
from engine.errors import UserError
from engine.network.transfer import InitializeConfig
from engine.recipe.config import DatasetConfig, ModelConfig, SplitConfig, TrainConfig
from engine.recipe.samples import load_data
from experiments.study.packaged import study_names
from experiments.study.read import load_study
from experiments.tasks import fingerprint
from experiments.tasks.fingerprint import Fingerprints
from experiments.tasks.graph import study_graph
from experiments.tasks.keys import INDIFFERENT_KEYS, KEY_VERSION, Run, digest
from experiments.tasks.samples import DataCache

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), epochs=2)
RUN = Run("raw", 0, CONFIG)
OWN_KEY = RUN.key  # a run asks once: here, before a test changes what it depends on


def folder_config(path) -> TrainConfig:
    return TrainConfig(DatasetConfig("folder", {"path": str(path)}), ModelConfig("lenet"))


@pytest.fixture
def images(tmp_path):
    for name in ("a/1.png", "b/2.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
    return tmp_path / "set"


def test_the_digits_that_come_along_are_the_bytes_that_finished_runs_have_on_record():
    assert Fingerprints().data(CONFIG) == "e3ec2bfd1dd0995e20dc7480db360d3604189ccf6607a808c0e45531d833135b"


def test_the_key_follows_what_the_result_depends_on():
    assert Run("another name", 0, dataclasses.replace(CONFIG, threads=3, out="elsewhere", seed=9)).key == OWN_KEY
    assert RUN.key != Run("raw", 1, CONFIG).key
    assert RUN.key != Run("raw", 0, dataclasses.replace(CONFIG, optimizer={"name": "SGD", "lr": 0.02})).key
    assert RUN.key != Run("raw", 0, dataclasses.replace(CONFIG, algorithm="direct")).key
    assert RUN.key != dataclasses.replace(RUN, score_epoch="last").key


def test_the_keys_that_a_result_does_not_depend_on_stay_as_stored_results_have_them():
    """A key more or less gives every stored result another identity, so that all of them are trained again."""
    assert KEY_VERSION == 2
    first = ("data_root", "threads", "out", "checkpoint_every", "checkpoint_seconds")
    assert (*first, "checkpoint_path", "gt_csv", "strict", "cache", "tensorboard", "wandb") == INDIFFERENT_KEYS


def test_samples_are_shared_by_runs_that_ask_for_the_same(monkeypatch):
    loaded = []
    monkeypatch.setattr("experiments.tasks.samples.load_data", lambda config, root, read: loaded.append(config) or (0,))
    cache = DataCache(size=9)
    for same in ({}, {"seed": 3, "threads": 2, "epochs": 9, "batch_size": 8, "gt_csv": "truth.csv"}):
        cache.load(dataclasses.replace(CONFIG, **same))
    assert len(loaded) == 1
    others = [{"strict": True}, {"split": SplitConfig(seed=1)}, {"dataset": DatasetConfig("digits5k", subset=9)}]
    for other in others:
        cache.load(dataclasses.replace(CONFIG, **other))
    assert len(loaded) == 1 + len(others)


def test_the_instruction_set_is_part_of_the_key():
    before = cnncore.isa()
    others = [name for name in cnncore.available_isas() if name != before]
    if not others:
        pytest.skip("this processor has one instruction set")
    try:
        cnncore.set_isa(others[0])
        assert Run("raw", 0, CONFIG).key != OWN_KEY
    finally:
        cnncore.set_isa(before)


def test_other_code_is_another_key_with_the_same_identity(monkeypatch):
    monkeypatch.setattr("experiments.tasks.keys.code_hash", lambda: "other")
    other = Run("raw", 0, CONFIG)
    assert other.identity == RUN.identity and other.key != OWN_KEY


def test_the_code_is_that_of_engine_and_core_without_the_drawing(tmp_path, monkeypatch):
    import engine

    for name in ("__init__.py", "run.py", "plots/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(engine, "__file__", str(tmp_path / "__init__.py"))
    hashes = []
    for name in ("run.py", "plots/__init__.py"):
        fingerprint.code_hash.cache_clear()
        hashes.append(fingerprint.code_hash())
        (tmp_path / name).write_text("changed")
    fingerprint.code_hash.cache_clear()
    hashes.append(fingerprint.code_hash())
    monkeypatch.setattr(cnncore, "source_hash", lambda: "another build")
    fingerprint.code_hash.cache_clear()
    hashes.append(fingerprint.code_hash())
    fingerprint.code_hash.cache_clear()
    assert hashes[0] != hashes[1] == hashes[2] != hashes[3]


def test_data_are_known_by_their_content_wherever_they_lie(images, tmp_path):
    before = Fingerprints().data(folder_config(images))
    images.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert Fingerprints().data(folder_config(moved)) == before
    (moved / ".hidden").write_text("of no concern")
    assert Fingerprints().data(folder_config(moved)) == before
    (moved / ".git").mkdir()
    (moved / ".git" / "HEAD").write_text("of no concern")
    assert Fingerprints().data(folder_config(moved)) == before
    (moved / ".NET").mkdir()  # a class, where the configuration names it
    (moved / ".NET" / "1.png").write_bytes(b".NET/1.png")
    with_hidden = Fingerprints().data(folder_config(moved))
    assert with_hidden != before
    (moved / "a" / "1.png").write_bytes(b"A/1.png")
    assert Fingerprints().data(folder_config(moved)) not in (before, with_hidden)


def test_links_that_lead_up_or_round_and_pipes_end(images, tmp_path, monkeypatch):
    """What a folder from elsewhere may hold: without these rules it would be hashed for ever, or the disk with it."""
    before = Fingerprints().data(folder_config(images))
    for name, target in (("up", ".."), ("root", "/"), ("self", ".")):
        (images / "a" / name).symlink_to(target)
    assert Fingerprints().data(folder_config(images)) == before
    os.mkfifo(images / "a" / "pipe.png")
    assert Fingerprints().data(folder_config(images)) != before
    for here, there in (("a", "b"), ("b", "a")):
        for number in range(3):
            (images / here / f"link{number}").symlink_to(f"../{there}")
    monkeypatch.setattr("experiments.tasks.fingerprint.MOST_LINKS", 50)
    with pytest.raises(UserError, match="more than 50 links to folders lie in it, or links that go round"):
        Fingerprints().data(folder_config(images))


def test_a_class_folder_may_be_a_link(images, tmp_path):
    before = Fingerprints().data(folder_config(images))
    (images / "b").rename(tmp_path / "elsewhere")
    (images / "b").symlink_to(tmp_path / "elsewhere")
    assert Fingerprints().data(folder_config(images)) == before


def test_files_are_listed_folder_by_folder_as_paths_sort(images, monkeypatch):
    for name in ("a-b/1.png", "a/10.png", "a.png", "a/b/1.png"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(b"")
    expected = sorted(path for path in images.rglob("*") if path.is_file())
    assert fingerprint._listed(images) == list(map(str, expected))
    monkeypatch.chdir(images)
    assert fingerprint._listing(["a.png"]) == fingerprint._listing([str(images / "a.png")])
    assert Fingerprints().data(folder_config(".")) == Fingerprints().data(folder_config(images))


def test_a_renamed_file_is_other_data(images):
    before = Fingerprints().data(folder_config(images))
    (images / "a" / "1.png").rename(images / "b" / "1.png")
    assert Fingerprints().data(folder_config(images)) != before


def test_files_are_hashed_once_and_again_when_they_were_touched(images, monkeypatch):
    hashed = []
    original = fingerprint._file_digest
    monkeypatch.setattr(fingerprint, "_file_digest", lambda path: hashed.append(path) or original(path))
    known = {}
    first = Fingerprints(known).data(folder_config(images))
    assert Fingerprints(known).data(folder_config(images)) == first and len(hashed) == 2
    os.utime(images / "a" / "1.png", ns=(1, 1))
    assert Fingerprints(known).data(folder_config(images)) == first and len(hashed) == 4


def test_folders_that_were_exchanged_are_other_data(images, monkeypatch):
    (images / "b" / "2.png").rename(images / "b" / "1.png")
    facts, real, known, hashes = (images / "a" / "1.png").stat(), os.stat, {}, []
    for moves in ([], [("a", "t"), ("b", "a"), ("t", "b")]):
        for place, target in moves:
            (images / place).rename(images / target)
        with monkeypatch.context() as patch:  # files of the same size, written at the same time
            patch.setattr(os, "stat", lambda path, **more: facts if str(path)[-4:] == ".png" else real(path, **more))
            hashes.append(Fingerprints(known).data(folder_config(images)))
    assert hashes[0] != hashes[1]


def test_missing_data_are_told_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="no such folder.*fetch mnist"):
        Fingerprints().data(TrainConfig(DatasetConfig("mnist"), ModelConfig("lenet"), data_root=str(tmp_path)))
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        Fingerprints().data(folder_config(tmp_path / "nowhere"))


def test_a_checkpoint_to_begin_from_is_part_of_the_data(tmp_path):
    file = tmp_path / "first.safetensors"
    config = dataclasses.replace(CONFIG, initialize_from=InitializeConfig(str(file)))
    keys = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        keys.append(Run("raw", 0, config).key)
    assert keys[0] != keys[1]


def test_a_table_is_part_of_the_data_wherever_it_lies(images, tmp_path):
    def hashed(table: str) -> str:
        options = {"path": str(images), "table": table}
        return Fingerprints().data(TrainConfig(DatasetConfig("folder", options), ModelConfig("lenet")))

    outside = tmp_path / "labels.csv"
    outside.write_text("filename,label\na/1.png,one\n")
    first = hashed(str(outside))
    outside.write_text("filename,label\na/1.png,two\n")
    assert hashed(str(outside)) != first
    (images / "inside.csv").write_text("filename,label\na/1.png,one\n")
    before = hashed("inside.csv")
    (images / "inside.csv").write_text("filename,label\na/1.png,two\n")
    assert hashed("inside.csv") != before


def test_the_folds_in_a_file_are_part_of_the_key_and_known_before_a_run_draws_them(tmp_path, monkeypatch):
    path = tmp_path / "folds.json"
    dataset = DatasetConfig("digits5k", {"count": 60, "sheets": False})

    def key(fold: int = 0, seed: int = 0, known: dict | None = None) -> str:
        split = SplitConfig("folds", folds=3, fold=fold, seed=seed, file=str(path))
        config = dataclasses.replace(CONFIG, dataset=dataset, split=split)
        return Run("raw", 0, config, data=Fingerprints(known).data(config)).key

    known: dict[str, str] = {}
    before = key(known=known)
    assert not path.exists() and key(fold=1, known=known) != before
    monkeypatch.setattr("engine.recipe.samples.folds_to_draw", None)  # it has been asked for them once, for all folds
    assert key(known=known) == before
    monkeypatch.undo()
    other = key(seed=1)
    load_data(dataclasses.replace(CONFIG, dataset=dataset, split=SplitConfig("folds", folds=3, file=str(path))), None)
    assert path.exists() and key() == before == key(known=known) != other
    content = json.loads(path.read_text())
    content["validation"].reverse()
    path.write_text(json.dumps(content))
    assert key() != before


def test_a_run_that_is_needed_counts_by_its_key_and_not_by_its_name():
    def needing(name: str, key: str) -> Run:
        config = dataclasses.replace(CONFIG, initialize_from=InitializeConfig(f"run:{name}"))
        return Run("raw", 0, config, needs={name: key})

    assert needing("first", "k").key == needing("renamed", "k").key != needing("first", "other").key


FINISHED = json.loads((Path(__file__).parent / "finished_keys.json").read_text("utf-8"))
# Their studies leave Adam's rate at its default, where others state it: one configuration has one key, theirs is new.
NEW_FORM = {"scenes", "transfer_mnist"}
LATER = {"cifar10_fast", "mnist_fast"}  # studies that never had keys of the former form


class AnyData(Fingerprints):
    def data(self, config: TrainConfig) -> str:
        return "data"


def identities(study: str, budget: str) -> list[tuple[str, str, str]]:
    """(row, identity, former identity) of every run."""
    tasks = study_graph(load_study(study, (), budget), AnyData()).tasks
    return [(task.run.row, task.run.identity, task.run.former) for task in tasks]


def by_row(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """{row: hash of the identities of its runs}"""
    rows: dict[str, list[str]] = {}
    for row, identity in pairs:
        rows.setdefault(row, []).append(identity)
    return {row: hashlib.sha256(" ".join(each).encode()).hexdigest()[:16] for row, each in rows.items()}


@pytest.mark.parametrize("name", FINISHED)
def test_every_run_of_every_study_keeps_the_key_of_its_stored_results(name, monkeypatch):
    """Recorded before keys came from parsed values, and before they knew the versions of libraries (tested below)."""
    monkeypatch.setattr("experiments.tasks.keys.deciders", lambda config: {})
    monkeypatch.setattr(cnncore, "isa", lambda: "portable")
    study, budget = name.split(", ")
    found = identities(study, budget)
    if study not in LATER:
        assert by_row([(row, former) for row, _, former in found]) == FINISHED[name]
    if study not in NEW_FORM:
        assert by_row([(row, identity) for row, identity, _ in found]) == FINISHED[name]


def test_the_record_has_every_study_and_budget():
    studies = {f"{name}, {each.name}" for name in study_names() for each in load_study(name).budgets}
    assert studies == set(FINISHED)


def augmented(augment, **changes) -> Run:
    config = TrainConfig(DatasetConfig("digits5k", {"sheets": False}), ModelConfig("lenet"), augment=augment, **changes)
    return Run("raw", 0, config, data="the same")


def test_the_version_of_opencv_is_in_the_keys_of_what_it_decides_alone(monkeypatch):
    rotated, plain = augmented(AugmentConfig(rotation=Rotation(10))), augmented(AugmentConfig())
    cut, sheets = augmented(AugmentConfig(contour_cutout=ContourCutout())), Run("raw", 0, CONFIG, data="the same")
    before = [each.identity for each in (rotated, plain, cut, sheets)]
    monkeypatch.setattr("cv2.__version__", "4.14.0")
    same = [dataclasses.replace(each) for each in (rotated, plain, cut, sheets)]
    assert [each.identity == first for each, first in zip(same, before)] == [True, True, False, False]


def test_other_bytes_of_a_warp_change_the_keys_of_what_is_warped_alone(monkeypatch):
    runs = [augmented(AugmentConfig(rotation=Rotation(10))), augmented(AugmentConfig(scaling=Scaling(0.1)))]
    runs.append(augmented(AugmentConfig(flip=0.5)))
    before = [each.identity for each in runs]
    monkeypatch.setattr("engine.recipe.libraries.WARP_VERSION", 99)
    same = [dataclasses.replace(each).identity == first for each, first in zip(runs, before)]
    assert same == [False, False, True]


def test_a_result_of_which_no_library_decides_a_byte_keeps_its_identity():
    """As stored results have it: without a word of libraries."""
    plain = augmented(AugmentConfig(flip=0.5))
    settings = {name: value for name, value in plain.config.to_dict().items() if name not in INDIFFERENT_KEYS}
    content = {"version": KEY_VERSION, "settings": settings, "data": "the same"}
    assert plain.former == digest({**content, "isa": cnncore.isa(), "score_epoch": "best"})
