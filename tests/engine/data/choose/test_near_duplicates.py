"""Near duplicates by perceptual hashes: where they serve, where they collide, and where they are refused."""

import sys
import warnings

import cv2
import numpy as np
import pytest

from engine.data.choose.near_duplicates import ADVICE, BLOCK, nearest_kept, perceptual_hashes, without_near_duplicates
from engine.data.choose.selection import NearDuplicates, Selection, select
from engine.data.dataset import RawDataset
from engine.data.readers import read_dataset
from engine.errors import UserError

NEEDED = "ImageHash is not installed: pip install cnn-engine[dedup]"


def photographs(count=12, side=96, seed=0):
    """Smooth random pictures, which hashes tell apart."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6), np.uint8)
    images = np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_CUBIC) for each in coarse])
    return RawDataset("photos", images, np.arange(count) % 3, ("a", "b", "c"))


@pytest.mark.parametrize("threshold", [0, 3, 20, 63])
def test_what_is_kept_is_what_a_plain_loop_keeps(threshold):
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 256, (2 * BLOCK + 40, 8), np.uint8)
    hashes[BLOCK:] = hashes[rng.integers(0, BLOCK, BLOCK + 40)] ^ (rng.random((BLOCK + 40, 8)) < 0.2)
    bits = np.unpackbits(hashes, axis=1).astype(int)
    kept, leaders = [], []
    for index, row in enumerate(bits):
        near = [other for other in kept if np.abs(bits[other] - row).sum() <= threshold]
        leaders.append(near[0] if near else index)
        kept += [] if near else [index]
    assert nearest_kept(hashes, threshold).tolist() == leaders


def test_a_brighter_and_a_resized_copy_are_dropped_and_nothing_else():
    pytest.importorskip("imagehash", reason=NEEDED)
    data = photographs()
    brighter = (data.images[3] * 0.9 + 20).astype(np.uint8)
    images = [*data.images, brighter, cv2.resize(data.images[5], (48, 48), interpolation=cv2.INTER_AREA)]
    labels = np.append(data.labels, [data.labels[3], data.labels[5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left, record = without_near_duplicates(RawDataset("photos", images, labels, data.class_names), "photos")
    assert len(left) == 12
    assert record == {"method": "phash", "threshold": 4, "dropped": 2, "dropped_of_other_class": 0}


def test_dropped_images_of_another_class_are_warned_of():
    pytest.importorskip("imagehash", reason=NEEDED)
    data = photographs()
    images, labels = np.concatenate([data.images, data.images[:1]]), np.append(data.labels, 2)
    with pytest.warns(UserWarning, match="1 of the 1 images dropped as near duplicates carry another label"):
        without_near_duplicates(RawDataset("photos", images, labels, data.class_names), "photos", "dhash", 0)


def test_small_images_of_an_unknown_set_are_warned_of():
    pytest.importorskip("imagehash", reason=NEEDED)
    with pytest.warns(UserWarning, match="photos: images below 64 pixels"):
        without_near_duplicates(photographs(side=32), "photos")


@pytest.mark.parametrize("name", ["mnist", "numtadb", "chars74k", "emnist"])
def test_sets_of_characters_are_refused(name):
    with pytest.raises(UserError, match=f"refused for {name}: .*collide across classes; use drop_duplicates"):
        select(photographs(), None, Selection(near_duplicates=NearDuplicates("dhash", 1)), name)


def test_mistakes():
    pytest.importorskip("imagehash", reason=NEEDED)
    with pytest.raises(UserError, match="did you mean 'phash'"):
        without_near_duplicates(photographs(), "photos", "phahs")
    with pytest.raises(UserError, match="counts bits, 0 to 63, got 64"):
        without_near_duplicates(photographs(), "photos", threshold=64)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(UserError, match=r"pip install .cnn-engine\[dedup\]."):
        without_near_duplicates(photographs(), "photos")


@pytest.mark.parametrize(
    ("name", "method", "threshold", "least"),
    [
        ("numtadb", "phash", 4, 0.3),
        ("numtadb", "dhash", 4, 0.3),
        ("mnist", "phash", 8, 0.05),
        ("mnist", "ahash", 2, 0.05),
    ],
)
def test_hashes_of_real_digits_collide_across_classes(data_root, name, method, threshold, least):
    """`least` is a share of the images that would be dropped whose kept twin is another digit."""
    pytest.importorskip("imagehash", reason=NEEDED)
    raw = select(read_dataset(name, data_root, {}), None, Selection(count=2500), name)[0]
    leaders = nearest_kept(perceptual_hashes(raw.images, method), threshold)
    dropped = leaders != np.arange(len(raw))
    wrong = raw.labels[leaders] != raw.labels
    assert ADVICE[name].refused and dropped.sum() > 100
    assert wrong.sum() > least * dropped.sum()


def test_the_scenes_near_duplicates(data_root):
    pytest.importorskip("imagehash", reason=NEEDED)
    raw = read_dataset("scenes", data_root, {"split": "train"})
    with pytest.warns(UserWarning, match="1 of the 5 images"):  # urb992 stands under two classes
        left, _, record = select(raw, None, Selection(near_duplicates=NearDuplicates()), "scenes")
    assert len(left) == 1876 and record["near_duplicates"]["dropped"] == 5
