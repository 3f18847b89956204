"""The ink that contour cutout paints on: found once for each sample, and the same batches as when it is found anew."""

import numpy as np
import pytest

from engine.data.augment_config import AugmentConfig, ContourCutout, Rotation
from engine.data.augmenting import contours
from engine.data.augmenting.contours import KnownInk, ink_of
from engine.data.dataset import Dataset
from engine.data.digits import digits5k
from engine.data.loader import Loader


def digits(count=24):
    return digits5k()[0][:count, None]


def test_points_lie_on_the_edge_of_the_ink():
    image = np.full((1, 9, 8), 200, np.uint8)
    image[0, 2:7, 3:6] = 10
    ink = ink_of(image)
    edge = {(row, column) for row in range(2, 7) for column in range(3, 6)} - {(row, 4) for row in range(3, 6)}
    assert {tuple(point) for point in ink.points.tolist()} == edge
    assert ink.paper.tolist() == [200] and ink_of(image.repeat(3, axis=0)).paper.tolist() == [200] * 3
    assert len(ink_of(np.full((1, 9, 8), 200, np.uint8)).points) == 0


def test_what_is_known_is_not_found_again_and_takes_no_more_than_it_may(monkeypatch):
    found = []
    monkeypatch.setattr(contours, "MOST_KEPT", 1500)
    known = KnownInk(lambda image: found.append(1) or ink_of(image))
    images = digits()
    for _ in range(2):
        for sample, image in enumerate(images):
            ink = known.of(sample, image)
            assert np.array_equal(ink.points, ink_of(image).points) and np.array_equal(ink.paper, ink_of(image).paper)
    kept = sum(each.points.nbytes + each.paper.nbytes for each in known._kept.values())
    assert 0 < kept <= 1500 and len(found) == 2 * len(images) - len(known._kept)


@pytest.mark.parametrize("rotation", [None, Rotation(20)])
def test_batches_are_the_same_with_and_without_what_is_known(rotation, monkeypatch):
    images = digits()
    dataset = Dataset("digits", images, np.arange(len(images)) % 10, tuple("0123456789"))
    augment = AugmentConfig(contour_cutout=ContourCutout(0.2, probability=1), rotation=rotation)

    def batches():
        loader = Loader(dataset, 7, seed=3, augment=augment)
        return [values for epoch in range(3) for values, _ in loader.epoch(epoch)]

    kept = batches()
    monkeypatch.setattr(contours, "MOST_KEPT", 0)
    anew = batches()
    assert all(np.array_equal(*pair) for pair in zip(kept, anew, strict=True))
    assert not np.array_equal(kept[0], kept[4])
