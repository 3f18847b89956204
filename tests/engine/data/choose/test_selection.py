"""Subsets by class, count and list, without duplicates; and what cannot be selected."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from engine.data.choose.listed import Listed
from engine.data.choose.representatives import condensed_distances, representatives
from engine.data.choose.selection import Selection, keep_classes, select
from engine.data.choose.shares import proportional
from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.data.readers import read_dataset
from engine.errors import UserError
from engine.recipe.config import read_config
from engine.recipe.samples import load_data

COUNTS = (40, 20, 30)


def pictures(seed=0, counts=COUNTS, names=("cat", "dog", "owl")):
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(seed).permutation(labels)
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 6, 5), np.uint8)
    return RawDataset("pets", images, labels, names, {"place": np.arange(len(labels))})


def chosen(selection, train=None, test=None):
    return select(train or pictures(), test, selection, "pets")


def places(dataset):
    return dataset.columns["place"].tolist()


def test_no_choice_gives_the_parts_as_they_are():
    train, test = pictures(), pictures(seed=1)
    assert select(train, test, Selection(seed=5), "pets") == (train, test, {})


def test_classes_are_relabelled_in_the_order_of_their_names_in_both_parts():
    train, test, record = select(pictures(), pictures(1, (2, 3, 4)), Selection(classes=("owl", "cat")), "pets")
    assert train.class_names == test.class_names == ("owl", "cat")
    assert np.bincount(train.labels).tolist() == [30, 40] and np.bincount(test.labels).tolist() == [4, 2]
    whole = pictures()
    for image, label, place in zip(train.images, train.labels, places(train)):
        assert whole.class_names[whole.labels[place]] == train.class_names[label]
        assert np.array_equal(image, whole.images[place])
    assert record == {"read": 90, "in_classes": 70, "kept": 70, "kept_by_class": {"owl": 30, "cat": 40}}


def test_per_class_takes_so_many_of_each_and_a_smaller_number_part_of_them():
    small, _, record = chosen(Selection(per_class=5, seed=3))
    large, _, _ = chosen(Selection(per_class=9, seed=3))
    assert record["kept_by_class"] == {"cat": 5, "dog": 5, "owl": 5}
    assert set(places(small)) < set(places(large)) and places(large) == sorted(places(large))
    assert places(small) == places(chosen(Selection(per_class=5, seed=3))[0])
    assert places(small) != places(chosen(Selection(per_class=5, seed=4))[0])


def test_fraction_and_count_keep_the_proportions():
    assert chosen(Selection(fraction=0.1))[2]["kept_by_class"] == {"cat": 4, "dog": 2, "owl": 3}
    assert chosen(Selection(count=45))[2]["kept_by_class"] == {"cat": 20, "dog": 10, "owl": 15}
    assert chosen(Selection(count=44))[2]["kept"] == 44
    assert places(chosen(Selection(count=90))[0]) == list(range(90))


def test_largest_remainders():
    assert proportional(np.array([5, 3, 2]), 5).tolist() == [3, 1, 1]  # quotas 2.5, 1.5, 1: the first half rounds up
    big = np.array([10**9, 10**9 - 1, 10**9])
    assert proportional(big, 3 * 10**9 - 1).tolist() == big.tolist()


def test_a_listed_file_is_not_looked_for_in_a_folder_that_is_not_the_sets(tmp_path):
    (tmp_path / "root" / "folder").mkdir(parents=True)
    (tmp_path / "root" / "folder" / "some.json").write_text('{"few": {"train": ["a/1"]}}')
    (tmp_path / "own" / "a").mkdir(parents=True)
    for name in "12":
        cv2.imwrite(str(tmp_path / "own" / "a" / f"{name}.png"), np.zeros((8, 8), np.uint8))
    given = {
        "dataset": {"name": "folder", "train": {"path": str(tmp_path / "own")}},
        "select": {"listed": {"file": "some.json", "name": "few"}},
        "split": {"kind": "none"},
        "model": {"name": "lenet"},
    }
    with pytest.raises(UserError, match="some.json: "):
        load_data(read_config(given), tmp_path / "root")


def test_duplicates_are_dropped_within_the_training_part_and_across():
    train, test = pictures(), pictures(seed=1)
    train.images[[7, 50]] = train.images[2]
    train.labels[[2, 7, 50]] = 0, 0, 1
    train.images[[60, 61]] = test.images[4]
    train.labels[[60, 61]] = 2
    left, same_test, record = select(train, test, Selection(drop_duplicates=True), "pets")
    assert same_test is test
    assert sorted(set(range(90)) - set(places(left))) == [7, 50, 60, 61]
    assert record["duplicates"] == {"dropped_within": 2, "dropped_across": 2, "conflicting": 1}
    assert chosen(Selection(drop_duplicates=True), train)[2]["kept"] == 87
    with pytest.raises(UserError, match="every training image is in the test part"):
        select(test, test, Selection(drop_duplicates=True), "pets")


def test_dropping_duplicates_leaves_a_damaged_image_to_the_loader_and_stops_at_it_where_strict(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 2, 8, 8), np.uint8)
    for label in (0, 1):
        (tmp_path / "pets" / str(label)).mkdir(parents=True)
        for number in range(8):
            cv2.imwrite(str(tmp_path / "pets" / str(label) / f"{number}.png"), image[number % 6, label])
    for place in ("0/1.png", "1/2.png"):
        (tmp_path / "pets" / place).write_bytes(b"no image")
    given = {
        "dataset": {"name": "folder", "train": {"path": str(tmp_path / "pets")}},
        "select": {"drop_duplicates": True},
        "split": {"kind": "none"},
        "model": {"name": "lenet"},
        "cache": False,
    }
    with pytest.warns(UserWarning, match="2 of 13 images cannot be read and are left out; the first: .*0/1.png"):
        train, _, _ = load_data(read_config(given), None)
    assert len(train) == 11 and [reason.partition(": ")[0][-7:] for reason in train.skipped] == ["0/1.png", "1/2.png"]
    assert train.record["select"]["duplicates"] == {"dropped_within": 3, "dropped_across": 0, "conflicting": 0}
    with pytest.raises(UserError, match="0/1.png: not an image"):
        load_data(read_config({**given, "strict": True}), None)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"classes": ["cat", "dgo"]}, "unknown class in select.classes: 'dgo'; did you mean 'dog'"),
        ({"classes": ["cat", "cat"]}, "'cat' is given twice"),
        ({"per_class": 21}, "select.per_class is 21, but the class 'dog' has 20 samples"),
        ({"fraction": 0.02}, "fraction 0.02 leaves the class 'dog' empty: it has 20 of 90"),
        ({"count": 2}, "count 2 leaves the class 'dog' empty"),
        ({"count": 91}, "count must be in 1..90"),
        ({"deduplicated": 91}, "select.deduplicated must be in 1..90"),
        ({"deduplicated": 2}, "deduplicated 2 leaves the class 'dog' empty"),
    ],
)
def test_what_the_data_cannot_give(section, message):
    with pytest.raises(UserError, match=message):
        chosen(Selection(**section))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"per_clas": 3}, "did you mean 'per_class'"),
        ({"per_class": 0}, "per_class must be 1 or more, got 0"),
        ({"fraction": 1.5}, "fraction must lie above 0 and be at most 1, got 1.5"),
        ({"count": 5, "fraction": 0.5}, "give one of .*, got count and fraction"),
        ({"seed": -1}, "seed"),
        ({"classes": "cat"}, "expected a list"),
        ({"listed": {"file": "folds.json"}}, "the key 'name' is missing"),
    ],
)
def test_mistakes_in_the_section_are_named_before_data_are_read(section, message):
    with pytest.raises(UserError, match=f"select: .*{message}|{message}"):
        read_config({"dataset": "mnist", "model": {"name": "lenet"}, "select": section})


# ---- representatives ----


def test_distances_are_exact_and_in_scipys_order():
    from scipy.spatial.distance import pdist

    pixels = np.random.default_rng(0).integers(0, 256, (700, 30), np.uint8)
    pixels[650] = pixels[3]
    found = condensed_distances(pixels)
    expected = pdist(pixels.astype(float)) / np.sqrt(30)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (found == 0).sum() == 1


def test_representatives_drop_what_is_most_alike_first():
    data = pictures(counts=(12, 8), names=("cat", "dog"))
    data.images[:] = 0
    blobs = np.random.default_rng(0).integers(0, 256, (10, 6, 5))
    for label, distinct in ((0, 6), (1, 4)):
        members = np.flatnonzero(data.labels == label)
        for turn, member in enumerate(members):
            data.images[member] = np.clip(blobs[turn % distinct] + turn // distinct, 0, 255)
    kept, spread = representatives(data, 10)
    expected = [np.flatnonzero(data.labels == label)[:distinct] for label, distinct in ((0, 6), (1, 4))]
    assert kept.tolist() == sorted(np.concatenate(expected).tolist())
    assert spread.largest_merged < 2  # one grey level, and what resizing rounds
    assert representatives(data, 20)[0].tolist() == list(range(20))


def test_representatives_compare_all_images_or_none(tmp_path):
    places = [tmp_path / f"{index}.png" for index in range(4)]
    for index, place in enumerate(places):
        cv2.imwrite(str(place), np.full((4, 4), 40 * index, np.uint8))
    places[2].write_bytes(b"")
    data = RawDataset("files", ImageFiles(places), np.zeros(4, np.int64), ("a",))
    with pytest.raises(UserError, match="1 of 4 images cannot be read.*2.png"):
        representatives(data, 2, use_cache=False)


def test_what_was_chosen_is_kept_and_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("CNN_CACHE", str(tmp_path))
    whole = pictures()
    first = representatives(whole, 30)
    plain = representatives(whole, 30, use_cache=False)
    monkeypatch.setattr("engine.data.choose.representatives._thinned", lambda pixels, size: pytest.fail("computed"))
    again = representatives(whole, 30)
    assert first[0].tolist() == plain[0].tolist() == again[0].tolist() and again[0].dtype == first[0].dtype
    assert first[1] == plain[1] == again[1]
    other = dataclasses.replace(whole, labels=np.roll(whole.labels, 1))
    for data, size in ((whole, 31), (pictures(1), 30), (other, 30)):
        with pytest.raises(pytest.fail.Exception, match="computed"):
            representatives(data, size)


def test_a_kept_choice_that_was_damaged_is_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("CNN_CACHE", str(tmp_path))
    first = representatives(pictures(), 30)
    (file,) = tmp_path.rglob("numbers.f64")
    whole = file.read_bytes()
    for damaged in (b"", whole[:-8], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damaged)
        assert representatives(pictures(), 30)[0].tolist() == first[0].tolist()
        assert file.read_bytes() == whole


def test_representatives_of_real_digits_are_further_apart_than_drawn_ones(data_root):
    raw = read_dataset("numtadb", data_root, {"parts": "abc"})
    raw = select(raw, None, Selection(count=2000), "numtadb")[0]
    kept = select(raw, None, Selection(deduplicated=605), "numtadb")[0]
    drawn = select(raw, None, Selection(count=605), "numtadb")[0]
    assert len(kept) == 605 and np.array_equal(np.bincount(kept.labels), np.bincount(drawn.labels))

    def nearest(dataset):
        from scipy.spatial.distance import squareform

        total = []
        for label in range(10):
            members = np.flatnonzero(dataset.labels == label)
            pixels = np.stack([dataset.images[index].reshape(-1) for index in members])
            distances = squareform(condensed_distances(pixels))
            np.fill_diagonal(distances, np.inf)
            total.append(distances.min(axis=1))
        return np.concatenate(total)

    assert np.median(nearest(kept)) > 1.1 * np.median(nearest(drawn))


# ---- through load_data ----


def config(tmp_path, **sections):
    data = pictures()
    path = tmp_path / "pets.npz"
    if not path.exists():
        np.savez(path, x=data.images, y=data.labels)
    options = {"path": str(path)}
    return read_config(
        {"dataset": {"name": "npz", "train": options, "test": options}, "model": {"name": "lenet"}, **sections}
    )


def test_a_run_trains_on_the_selection_and_its_record_says_so(tmp_path):
    sections = {"select": {"classes": [2, 0], "per_class": 10}, "split": {"fraction": 0.2}}
    train, validation, test = load_data(config(tmp_path, **sections), None)
    assert np.bincount(train.labels).tolist() == [8, 8] and np.bincount(validation.labels).tolist() == [2, 2]
    assert np.bincount(test.labels).tolist() == [30, 40] and test.class_names == ("2", "0")
    assert train.record["select"]["kept_by_class"] == {"2": 10, "0": 10}
    assert json.loads(json.dumps(train.record)) == train.record
    assert load_data(config(tmp_path), None)[0].record == {}


def test_errors_of_the_selection_begin_with_the_place(tmp_path):
    with pytest.raises(UserError, match="^pets.yaml: select.per_class is 99, but the class '1' has 20 samples"):
        load_data(config(tmp_path, select={"per_class": 99}), None, "pets.yaml: ")


def test_one_image_in_a_class_cannot_make_five_folds(tmp_path):
    for name, count in (("cat", 6), ("dog", 1)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(count):
            image = np.random.default_rng(index).integers(0, 256, (6, 5), np.uint8)
            cv2.imwrite(str(tmp_path / "pets" / name / f"{index}.png"), image)
    section = {"name": "folder", "train": {"path": str(tmp_path / "pets")}}
    wished = read_config({"dataset": section, "model": {"name": "lenet"}, "split": {"kind": "folds", "folds": 5}})
    with pytest.raises(UserError, match=r"samples of the smallest class \('dog', 1\), got 5"):
        load_data(wished, None)


@pytest.mark.parametrize(
    "split", [{"kind": "fraction", "fraction": 0.25}, {"kind": "folds", "folds": 2}, {"kind": "none"}]
)
def test_the_record_counts_what_could_be_read(tmp_path, split):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(10):
            image = np.random.default_rng(index).integers(0, 256, (6, 5), np.uint8)
            cv2.imwrite(str(tmp_path / "pets" / name / f"{index}.png"), image)
    for index in (2, 5):
        (tmp_path / "pets" / "dog" / f"{index}.png").write_bytes(b"no picture")
    section = {"name": "folder", "train": {"path": str(tmp_path / "pets")}}
    wished = {"dataset": section, "model": {"name": "lenet"}, "split": split, "select": {"per_class": 10}}
    with pytest.warns(UserWarning, match="could not be|cannot be"):
        train, validation, _ = load_data(read_config(wished), None)
    used = len(train) + (0 if validation is None else len(validation))
    record = train.record["select"]
    assert record["kept_by_class"] == {"cat": 10, "dog": 8} and record["kept"] == used == 18
    assert record["unreadable"] == 2 and json.loads(json.dumps(record)) == record


def test_relabelling_refuses_a_set_without_any_of_the_classes():
    data = pictures(counts=(3, 0, 3))
    with pytest.raises(UserError, match="holds no samples of the classes in select.classes: dog"):
        keep_classes(data, ["dog"])


def test_the_scenes_published_subsets(data_root):
    raw = read_dataset("scenes", data_root, {"split": "train"})
    for number in range(1, 5):
        listed = Listed("folds.json", f"MIT_small_train_{number}")
        train, _, record = select(raw, None, Selection(listed=listed), "scenes", data_root / "scenes")
        assert len(train) == record["listed"] == 400 and len(record["kept_by_class"]) == 8
        names = {f"{path.parent.name}/{path.stem}" for path in train.images.paths}
        stated = json.loads((data_root / "scenes" / "folds.json").read_text())[listed.name]["train"]
        assert names == {name.removesuffix(".jpg") for name in stated}


def test_scenes_drop_their_duplicates(data_root):
    parts = [read_dataset("scenes", data_root, {"split": split}) for split in ("train", "test")]
    train, _, record = select(*parts, Selection(drop_duplicates=True), "scenes")
    assert len(train) == 1879
    assert record["duplicates"] == {"dropped_within": 2, "dropped_across": 0, "conflicting": 1}
