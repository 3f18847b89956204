"""A set of images and masks: how it is read, and what preparation does to masks."""

import shutil

import cv2
import numpy as np
import pytest

from engine.data import cache
from engine.data.dataset import prepare
from engine.data.labels import palette
from engine.data.labels.files import read_label_map
from engine.data.labels.prepared import prepared_map, resized
from engine.data.preprocess import Preprocess
from engine.data.readers import read_dataset
from engine.errors import UserError
from tests.engine.data.labels.masks import write_set


def read(folder, **options):
    return read_dataset("segmentation", None, {"path": str(folder), **options})


def test_images_and_masks_are_matched_by_name(tmp_path):
    write_set(tmp_path, count=5, ignore=True, suffix=".bmp")
    raw = read(tmp_path, classes=["sheet", "ink"], ignore=255)
    assert len(raw) == 5 and raw.class_names == ("sheet", "ink") and raw.maps.ignore == 255
    data = prepare(raw, Preprocess())
    assert data.labels.shape == (5, 16, 16) and data.labels.dtype == np.uint8 and data.ignore == 255
    for number, (image, labels) in enumerate(zip(data.images, data.labels)):
        assert np.array_equal(labels, read_label_map(tmp_path / "masks" / f"{number:03}.png"))
        counted = labels != 255
        assert np.array_equal(image[0][counted] >= 150, labels[counted] == 1)
    some = raw.subset(np.array([4, 1]))
    assert np.array_equal(prepare(some, Preprocess()).labels, data.labels[[4, 1]])
    assert np.array_equal(data.subset(np.array([4, 1])).labels, data.labels[[4, 1]])


def test_folders_may_have_other_names(tmp_path):
    write_set(tmp_path / "set", count=2)
    (tmp_path / "set" / "images").rename(tmp_path / "set" / "JPEGImages")
    (tmp_path / "set" / "masks").rename(tmp_path / "set" / "SegmentationClass")
    assert len(read(tmp_path / "set", images="JPEGImages", masks="SegmentationClass")) == 2
    with pytest.raises(UserError, match="images: no such folder .expected the folders images and masks"):
        read(tmp_path / "set")


def test_what_does_not_pair_is_named(tmp_path):
    def broken(name, change):
        folder = write_set(tmp_path / name, count=3)
        change(folder)
        with pytest.raises(UserError) as caught:
            read(folder)
        return str(caught.value)

    lost = broken("lost", lambda each: (each / "masks" / "001.png").unlink())
    assert "images/001.png: has no mask (expected 001.png in " in lost
    extra = broken("extra", lambda each: shutil.copy(each / "masks" / "001.png", each / "masks" / "9.png"))
    assert "masks/9.png: the mask has no image of the same name" in extra
    twice = broken("twice", lambda each: shutil.copy(each / "images" / "001.png", each / "images" / "001.bmp"))
    assert "001.bmp has the same name but for its ending, so that images are ambiguous" in twice
    with pytest.raises(UserError, match="given once each, got 'a' twice"):
        read(write_set(tmp_path / "names", count=1), classes=["a", "a"])
    with pytest.raises(UserError, match="ignore must be"):
        read(tmp_path / "names", ignore=256)


def test_a_mask_of_another_size_or_with_another_number_is_named(tmp_path):
    folder = write_set(tmp_path, count=3)
    (folder / "masks" / "001.png").write_bytes(palette.encoded(np.zeros((16, 15), np.uint8)))
    with pytest.raises(UserError, match=r"001\.png: the mask has 16x15 pixels, but its image .*001\.png 16x16"):
        prepare(read(folder), Preprocess())
    (folder / "masks" / "001.png").write_bytes(palette.encoded(np.full((16, 16), 2, np.uint8)))
    assert prepare(read(folder), Preprocess()).labels[1].min() == 2
    with pytest.raises(UserError, match=r"001\.png: has the number 2, but there are 2 classes, a, b"):
        prepare(read(folder, classes=["a", "b"]), Preprocess())
    assert prepare(read(folder, classes=["a", "b"], ignore=2), Preprocess()).labels[1].min() == 2
    (folder / "masks" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(UserError, match=r"masks/001\.png: "):
        prepare(read(folder), Preprocess())


def test_an_image_that_cannot_be_read_takes_its_mask_along(tmp_path, caplog):
    folder = write_set(tmp_path, count=4)
    (folder / "images" / "001.png").write_bytes(b"none")
    data = prepare(read(folder), Preprocess())
    assert "1 of 4 images cannot be read" in caplog.text and data.kept.tolist() == [0, 2, 3]
    for place, number in enumerate((0, 2, 3)):
        assert np.array_equal(data.labels[place], read_label_map(folder / "masks" / f"{number:03}.png"))


@pytest.mark.parametrize(
    ("before", "after"), [((8, 8), (4, 4)), ((5, 7), (10, 21)), ((9, 6), (4, 4)), ((3, 3), (3, 3))]
)
def test_resizing_takes_the_pixel_that_the_middle_lies_in(before, after):
    numbers = np.arange(before[0] * before[1], dtype=np.uint8).reshape(before)
    found = resized(numbers, *after)
    for row in range(after[0]):
        for column in range(after[1]):
            y, x = (row + 0.5) * before[0] / after[0], (column + 0.5) * before[1] / after[1]
            assert found[row, column] == numbers[int(y), int(x)]


def test_a_prepared_map_lies_where_its_image_does(tmp_path):
    """Areas much larger than a pixel, by every step that changes the size: the image says where the edge went."""
    rows, columns = np.mgrid[:40, :56]
    numbers = ((rows - 18) ** 2 + (columns - 30) ** 2 < 150).astype(np.uint8)
    image = np.where(numbers, 220, 30).astype(np.uint8)
    for steps, size in (
        (["pad"], (64, 64)),
        (["reverse", "opening"], (30, 50)),
        (["dilation"], None),
        ([], (20, 28)),
        (["pad", "erosion"], None),
    ):
        preprocess = Preprocess(steps=tuple(steps), size=size)
        prepared = preprocess.prepare(image)[0]
        labels = prepared_map(numbers, preprocess, 255)
        assert labels.shape == prepared.shape, steps
        bright = prepared > 125
        if "reverse" in steps:
            bright = ~bright
        assert ((labels == 1) == bright).mean() > 0.97, steps
        assert (labels == 255).any() == ("pad" in steps)


def test_steps_that_masks_cannot_follow_are_refused(tmp_path):
    raw = read(write_set(tmp_path, count=2))
    with pytest.raises(UserError, match="the step bbox crops to what an image shows"):
        prepare(raw, Preprocess(steps=("bbox",)))
    with pytest.raises(UserError, match="the step pad makes borders, which have no class"):
        prepare(raw, Preprocess(steps=("pad",)))


def test_prepared_masks_come_from_the_cache_and_follow_what_they_are_made_of(tmp_path, monkeypatch):
    raw = read(write_set(tmp_path, count=4))
    first = prepare(raw, Preprocess(size=(8, 8)))
    entries = set(cache.cache_folder().iterdir())
    assert len(entries) == 2  # images, and masks
    again = prepare(raw, Preprocess(size=(8, 8), scale="-1..1"))
    assert set(cache.cache_folder().iterdir()) == entries and np.array_equal(again.labels, first.labels)
    other = np.full((16, 16), 1, np.uint8)
    (tmp_path / "masks" / "002.png").write_bytes(palette.encoded(other))
    changed = prepare(raw, Preprocess(size=(8, 8)))
    assert (changed.labels[2] == 1).all() and np.array_equal(changed.labels[[0, 1, 3]], first.labels[[0, 1, 3]])
    monkeypatch.setenv("CNN_CACHE", "off")
    assert np.array_equal(prepare(raw, Preprocess(size=(8, 8))).labels, changed.labels)


def test_a_turned_photograph_has_an_upright_mask(tmp_path):
    folder = tmp_path / "set"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    data = bytes(cv2.imencode(".jpg", np.zeros((6, 10), np.uint8))[1])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (folder / "images" / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    (folder / "masks" / "a.png").write_bytes(palette.encoded(np.ones((10, 6), np.uint8)))
    prepared = prepare(read(folder), Preprocess())
    assert prepared.images.shape[2:] == prepared.labels.shape[1:] == (10, 6)
