"""gather_images and recolour_images against NumPy, bit for bit: fills, flips, boxes, factors, memory maps, threads, bad
arguments.
"""

import threading

import cnncore
import numpy as np
import pytest

PADS = {"nearest": "edge", "constant": "constant", "reflect": "symmetric", "wrap": "wrap", "mirror": "reflect"}


def oracle(images, indices, scale, offset, shifts, fill, value, flips, turns, boxes, paints):
    """The same by padding, slicing and reversing, in float32."""
    out = []
    for n, index in enumerate(indices):
        image = images[index]
        channels, height, width = image.shape
        down, right = shifts[n]
        room = ((0, 0), (abs(down), abs(down)), (abs(right), abs(right)))
        keywords = {"constant_values": value} if fill == "constant" else {}
        padded = np.pad(image, room, mode=PADS[fill], **keywords)
        top, left = abs(down) - down, abs(right) - right
        image = padded[:, top : top + height, left : left + width].copy()
        if flips[n]:
            image = image[:, :, ::-1].copy()
        if turns[n]:
            image = image[:, ::-1].copy()
        for (top, left, bottom, right), paint in zip(boxes[n], paints[n]):
            image[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = paint[:, None, None]
        factors, offsets = (scale[n], offset[n]) if scale.ndim == 2 else (scale, offset)
        out.append(image.astype(np.float32) * factors[:, None, None] + offsets[:, None, None])
    return np.stack(out)


def case(shape, per_sample=False, seed=0, n=9, boxes=3):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (5, *shape), np.uint8)
    factors = (n, shape[0]) if per_sample else (shape[0],)
    corner = rng.integers(-3, max(shape[1:]) + 1, (n, boxes, 2))
    changes = {
        "shifts": np.stack([rng.integers(-2 * side, 2 * side + 1, n) // 2 for side in shape[1:]], 1).astype(np.int32),
        "flips": rng.random(n) < 0.5,
        "turns": np.arange(n) % 2 == 1,
        "boxes": np.concatenate([corner, corner + rng.integers(0, 6, corner.shape)], axis=2).astype(np.int32),
        "paints": rng.integers(0, 256, (n, boxes, shape[0]), np.uint8),
    }
    scale = rng.uniform(0.001, 1, factors).astype(np.float32)
    offset = rng.uniform(-1, 1, factors).astype(np.float32)
    return images, rng.integers(0, 5, n), scale, offset, changes


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("fill", PADS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 28, 28), (3, 7, 33), (3, 1, 5), (4, 6, 1)])
def test_every_change_against_numpy_on_every_instruction_set(shape, fill, per_sample):
    images, indices, scale, offset, changes = case(shape, per_sample)
    wanted = oracle(images, indices, scale, offset, fill=fill, value=201, **changes)
    before = cnncore.isa()
    try:
        for isa in cnncore.available_isas():
            cnncore.set_isa(isa)
            for threads in (1, 2, 5):
                got = cnncore.gather_images(
                    images, indices, scale, offset, fill=fill, fill_value=201, threads=threads, **changes
                )
                assert got.dtype == np.float32 and got.tobytes() == wanted.tobytes(), (isa, threads)
    finally:
        cnncore.set_isa(before)
    twin = cnncore.gather_images(images, indices, scale, offset, fill=fill, fill_value=201, reference=True, **changes)
    assert twin.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("change", ["shifts", "flips", "turns", "boxes", None])
def test_each_change_alone(change):
    images, indices, scale, offset, changes = case((3, 9, 11), seed=1)
    none = {
        "shifts": np.zeros((9, 2), int),
        "flips": np.zeros(9, bool),
        "turns": np.zeros(9, bool),
        "boxes": np.zeros((9, 0, 4), int),
        "paints": np.zeros((9, 0, 3), np.uint8),
    }
    chosen = {name: changes[name] for name in ("boxes", "paints") if change == "boxes"}
    if change in ("shifts", "flips", "turns"):
        chosen[change] = changes[change]
    got = cnncore.gather_images(images, indices, scale, offset, **chosen)
    wanted = oracle(images, indices, scale, offset, fill="constant", value=0, **{**none, **chosen})
    assert got.tobytes() == wanted.tobytes()


def test_a_memory_map_no_sample_and_one_image_more_than_once(tmp_path):
    images, _, scale, offset, _ = case((2, 5, 6))
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    got = cnncore.gather_images(mapped, np.array([4, 0, 4]), scale, offset)
    assert np.array_equal(got, cnncore.gather_images(images, np.array([4, 0, 4]), scale, offset))
    assert np.array_equal(got[0], got[2])
    assert cnncore.gather_images(images, np.empty(0, np.int64), scale, offset).shape == (0, 2, 5, 6)


def test_many_threads_of_python_at_once():
    images, indices, scale, offset, changes = case((3, 16, 16), n=300)
    wanted = cnncore.gather_images(images, indices, scale, offset, **changes).tobytes()
    results: list[bytes] = []
    workers = [
        threading.Thread(
            target=lambda: results.append(cnncore.gather_images(images, indices, scale, offset, **changes).tobytes())
        )
        for _ in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [wanted] * 6


IMAGES, TWO = np.zeros((3, 1, 4, 5), np.uint8), np.array([0, 2])
ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": IMAGES.astype(np.float32)}, r"uint8 of shape \(N, C, H, W\), got float32"),
        ({"images": IMAGES[0]}, r"\(1, 4, 5\)"),
        ({"images": [1]}, "got list"),
        ({"images": IMAGES[..., ::2]}, "C-contiguous"),
        ({"indices": np.array([0, 3])}, "indices run from 0 to 3, expected 0 to 2"),
        ({"indices": np.array([-1, 0])}, "indices run from -1"),
        ({"indices": np.array([0, 1], np.int32)}, "indices must be int64"),
        ({"scale": np.ones(2, np.float32)}, r"scale must be float32 of shape \(1,\), got float32 \(2,\)"),
        ({"scale": np.ones((2, 1), np.float32)}, r"offset must be float32 of shape \(2, 1\)"),
        ({"offset": np.ones(1)}, "offset must be float32"),
        ({"shifts": np.zeros((2, 3), np.int32)}, r"shifts must be int32 of shape \(2, 2\)"),
        ({"shifts": np.zeros((2, 2))}, "shifts must be int32"),
        ({"flips": np.zeros(3, bool)}, "flips must be bool"),
        ({"turns": np.zeros(2, np.uint8)}, "turns must be bool"),
        ({"boxes": np.zeros((2, 1, 3), np.int32)}, r"boxes must be int32 of shape \(2, 1, 4\)"),
        ({"boxes": np.zeros((2, 1, 4), np.int32)}, r"paints must be uint8 of shape \(2, 1, 1\), got NoneType"),
        ({"fill": "edge"}, "constant, nearest, reflect, wrap, mirror, got 'edge'"),
        ({"fill_value": 256}, "0 to 255, got 256"),
        ({"threads": 0}, "threads must be in 1"),
    ],
)
def test_what_does_not_fit_is_named(changed, message):
    arguments = {"images": IMAGES, "indices": TWO, "scale": ONE, "offset": ONE, **changed}
    with pytest.raises(ValueError, match=message):
        cnncore.gather_images(**arguments)


def recoloured(image, factors):
    """An image (C, H, W) brightened, with another contrast and saturation, in whole numbers of 2^-16."""
    pixels = image.astype(np.int64)
    for which, factor in enumerate(factors.tolist()):
        grey = pixels
        if len(pixels) == 3:
            grey = (19595 * pixels[0] + 38470 * pixels[1] + 7471 * pixels[2] + 32768) // 65536 * np.ones((3, 1, 1), int)
        base = [0, (2 * grey.sum() + grey.size) // (2 * grey.size), grey][which]
        pixels = np.clip((factor * pixels + (65536 - factor) * base + 32768) // 65536, 0, 255)
    return pixels


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 7, 33), (1, 28, 28), (2, 4, 5), (3, 1, 5)])
def test_colours_against_numpy_on_every_instruction_set(shape):
    rng = np.random.default_rng(3)
    images, indices = rng.integers(0, 256, (4, *shape), np.uint8), rng.integers(0, 4, 12)
    factors = rng.integers(0, 3 * cnncore.COLOUR_ONE, (12, 3)).astype(np.int32)
    factors[:4] = [[cnncore.COLOUR_ONE] * 3, [0, 65536, 65536], [65536, 0, 0], [cnncore.COLOUR_LARGEST] * 3]
    wanted = np.stack([recoloured(images[index], each) for index, each in zip(indices, factors)]).astype(np.uint8)
    assert np.array_equal(wanted[0], images[indices[0]])
    before = cnncore.isa()
    try:
        for isa in cnncore.available_isas():
            cnncore.set_isa(isa)
            for threads in (1, 2, 5):
                got = cnncore.recolour_images(images, indices, factors, threads=threads)
                assert got.dtype == np.uint8 and np.array_equal(got, wanted), (isa, threads)
    finally:
        cnncore.set_isa(before)
    assert np.array_equal(cnncore.recolour_images(images, indices, factors, reference=True), wanted)


def test_greys_of_a_colour_image_lose_their_colour_and_keep_their_mean():
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16), np.uint8)
    one, none = cnncore.COLOUR_ONE, np.zeros(1, np.int64)
    grey = cnncore.recolour_images(images, none, np.array([[one, one, 0]], np.int32))[0]
    assert np.array_equal(grey[0], grey[1]) and np.array_equal(grey[0], grey[2])
    flat = cnncore.recolour_images(images, none, np.array([[one, 0, one]], np.int32))
    assert np.ptp(flat) == 0 and abs(float(flat.mean()) - grey.mean()) <= 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"factors": np.zeros((2, 3))}, r"factors must be int32 of shape \(2, 3\)"),
        ({"factors": np.full((2, 3), -1, np.int32)}, "factors run from -1 to -1, expected 0 to 1048576"),
        ({"factors": np.full((2, 3), 1 << 21, np.int32)}, "expected 0 to 1048576"),
        ({"indices": np.array([0, 3])}, "indices run from 0 to 3"),
        ({"threads": 0}, "threads must be in 1"),
    ],
)
def test_colours_that_do_not_fit_are_named(changed, message):
    arguments = {"images": IMAGES, "indices": TWO, "factors": np.zeros((2, 3), np.int32), **changed}
    with pytest.raises(ValueError, match=message):
        cnncore.recolour_images(**arguments)


def test_draws_are_those_of_single_calls():
    counters = np.array([[0, 0, 0, 0], [2**32 - 1, 5, 7, 9]], np.uint32)
    draws = cnncore.philox_draws(counters, (3, 4))
    assert [tuple(row) for row in draws.tolist()] == [cnncore.philox4x32(row.tolist(), (3, 4)) for row in counters]
    with pytest.raises(ValueError, match="counters must be uint32"):
        cnncore.philox_draws(counters.astype(np.int64), (3, 4))
