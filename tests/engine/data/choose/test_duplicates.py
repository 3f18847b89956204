"""Equal images, within a split and across splits."""

import tracemalloc

import cv2
import numpy as np
import pytest

from engine.data.choose.duplicates import content_hash, digest, digests, find_duplicates, read_digests, repeated
from engine.data.images import ImageFiles
from engine.data.readers import read_dataset
from engine.errors import UserError


def different_images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5), np.uint8)


def test_groups_within_and_across_splits_in_order():
    train, test = different_images(600), different_images(300, seed=1)
    train[599] = train[3]
    test[7] = test[250] = train[3]
    test[100] = test[2]
    found = find_duplicates({"train": train, "test": list(test)}, threads=2)
    assert found == [
        [("train", 3), ("train", 599), ("test", 7), ("test", 250)],
        [("test", 2), ("test", 100)],
    ]
    assert find_duplicates({"train": train[:599]}) == []
    assert find_duplicates({}) == [] == find_duplicates({"train": []})


def test_shape_counts_and_a_channel_axis_of_one_does_not():
    image = different_images(1)[0]
    assert digest(image) == digest(image[:, :, None]) == digest(np.asfortranarray(image))
    assert digest(image) != digest(image.reshape(5, 6))
    assert digest(image) != digest(np.repeat(image[:, :, None], 3, axis=2))
    assert find_duplicates({"a": [image, image.reshape(5, 6)], "b": [image[:, :, None]]}) == [[("a", 0), ("b", 0)]]


def test_files_are_compared_by_their_pixels_not_by_their_bytes(tmp_path):
    image = different_images(1)[0]
    cv2.imwrite(str(tmp_path / "small.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    cv2.imwrite(str(tmp_path / "large.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    assert small.read_bytes() != large.read_bytes()
    assert find_duplicates({"a": ImageFiles([small]), "b": ImageFiles([large])}) == [[("a", 0), ("b", 0)]]
    large.write_bytes(b"no image")
    with pytest.raises(UserError, match="large.png"):
        find_duplicates({"a": ImageFiles([small]), "b": ImageFiles([large])})


def test_repeated_leaves_the_first_of_each_group():
    images = different_images(1000)
    images[[10, 500, 999]] = images[4]
    assert np.flatnonzero(repeated(digests(images))).tolist() == [10, 500, 999]


def test_content_hash_knows_pixels_labels_and_order_but_not_threads():
    images, labels = different_images(600), np.arange(600)
    known = content_hash(images, labels, threads=1)
    assert known == content_hash(list(images), labels.astype(np.int32), threads=3)
    assert known != content_hash(images[::-1], labels)
    assert known != content_hash(images, labels[::-1])


def test_images_that_cannot_be_read_are_told_in_order_and_equal_to_none(tmp_path):
    paths = [tmp_path / f"{place}.png" for place in range(600)]
    for path in paths:
        cv2.imwrite(str(path), different_images(1)[0])
    for place in (300, 4, 599):
        paths[place].write_bytes(b"no image")
    values, unreadable = read_digests(ImageFiles(paths), threads=2)
    assert list(unreadable) == [4, 300, 599] and "300.png" in str(unreadable[300])
    assert np.flatnonzero(~repeated(values)).tolist() == [0, 4, 300, 599]
    paths[4].write_bytes(b"")  # what is wrong with it is of no concern to the hash
    labels = np.zeros(600, np.int64)
    known = content_hash(ImageFiles(paths), labels)
    paths[4].write_bytes(b"no image")
    assert content_hash(ImageFiles(paths), labels) == known
    paths[4].unlink()  # a link that leads nowhere is no better
    assert content_hash(ImageFiles(paths), labels) == known
    paths[4].mkdir()
    with pytest.raises(UserError, match="cannot be read"):  # no damaged image: none may be asked for
        read_digests(ImageFiles(paths))
    assert list(read_digests(ImageFiles(paths), forgiven=UserError)[1]) == [4, 300, 599]


def test_memory_grows_by_bytes_per_image_only():
    class Drawn:
        """Images that exist only while they are looked at, 10 kB each."""

        def __len__(self):
            return 4000

        def __getitem__(self, index):
            return np.full((100, 100), index % 251, np.uint8)

    tracemalloc.start()
    found = find_duplicates({"all": Drawn()}, threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 251 and found[0][:2] == [("all", 0), ("all", 251)]
    assert peak < 4000 * 100 * 100 / 10


def test_the_scenes_have_two_pairs_of_equal_files_one_of_them_under_two_classes(data_root):
    sets = {split: read_dataset("scenes", data_root, {"split": split}) for split in ("train", "test")}
    groups = find_duplicates({split: raw.images for split, raw in sets.items()})
    paths = [[sets[split].images.paths[index] for split, index in group] for group in groups]
    names = [[f"{path.parent.name}/{path.stem}" for path in group] for group in paths]
    assert names == [["inside_city/urb992", "tallbuilding/urb992"], ["mountain/sclos4", "mountain/sharp59"]]
    assert all(first.read_bytes() == second.read_bytes() for first, second in paths)


def test_mnist_has_no_equal_images(data_root):
    splits = ("train", "test")
    assert find_duplicates({split: read_dataset("mnist", data_root, {"split": split}).images for split in splits}) == []
