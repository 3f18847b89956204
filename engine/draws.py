"""Random draws: what each purpose is numbered, and the generators that are keyed by it.

There is no global generator. A draw depends on the seed, its purpose and its place (layer, epoch, sample) and on
nothing else, so that it is the same whatever was drawn before, on which thread, and after a resume. Philox is that of
Salmon et al. 2011. The numbers below are part of every result: none changes, and none is given twice.
"""

from __future__ import annotations

import cnncore
import numpy as np
from numpy.typing import NDArray

# Purposes, the second word of the key of Philox4x64 (the first is the seed).
ORDER, SAMPLE, BATCH = 1, 2, 3  # of an epoch's samples; changes of one sample; changes of a batch
SUBSET, NOISE = 101, 102  # drawn once, before training: which samples, and which labels are changed
SHEETS = 0x5EE7  # where a digit stands on its larger sheet
WEIGHTS = 1 << 32  # plus the layer's number in its network: first weights

# Streams of NOISE: which samples change, and to what.
NOISE_WHICH, NOISE_TO = 0, 1

# Augmentations of a sample, the last word of the counter of Philox4x32. The sum keeps these draws apart from those of
# dropout layers, which have small numbers in its place.
AUGMENTATION = 0xA06E0000
ROTATION, SCALING, SHIFT, CROP, FLIP, CONTOUR_CUTOUT, CUTOUT = 0, 1, 2, 3, 4, 5, 6
VERTICAL_FLIP, RESIZED_CROP, COLOURS, ERASING = 7, 8, 9, 10


def generator(seed: int, purpose: int, epoch: int = 0, index: int = 0) -> np.random.Generator:
    """A generator of its own for (seed, purpose, epoch, index): Philox4x64, 2^64 blocks apart from every other."""
    return np.random.Generator(_philox(seed, purpose, [0, index, epoch, 0]))


def random_words(count: int, seed: int, purpose: int, stream: int = 0) -> NDArray[np.uint64]:
    """`count` raw words of Philox keyed (seed, purpose, stream): the same with every version of NumPy."""
    return _philox(seed, purpose, [0, stream, 0, 0]).random_raw(count)


def place_words(count: int, seed: int, purpose: int, place: int) -> NDArray[np.uint64]:
    """`count` raw words of Philox for one of many places that each take a few."""
    return _philox(seed, purpose, [place, 0, 0, 0]).random_raw(count)


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The permutation of 0 … count-1 for this epoch: samples sorted by a random 64-bit number each.

    The raw words of Philox are fixed by its definition, so the order is the same with every version of NumPy.
    """
    return np.argsort(_philox(seed, ORDER, [0, 0, epoch, 0]).random_raw(count), kind="stable")


def augmentation_words(
    seed: int, epoch: int, samples: NDArray[np.int64], augmentation: int, count: int
) -> NDArray[np.uint32]:
    """`count` 32-bit words for each sample, (n, count), of one augmentation in one epoch."""
    blocks = -(-count // 4)
    counters = np.empty((len(samples), blocks, 4), np.uint32)
    counters[..., 0] = samples[:, None]
    counters[..., 1] = np.arange(blocks)
    counters[..., 2] = epoch
    counters[..., 3] = AUGMENTATION + augmentation
    words = cnncore.philox_draws(counters.reshape(-1, 4), (seed & 0xFFFFFFFF, seed >> 32))
    return words.reshape(len(samples), -1)[:, :count]


def _philox(seed: int, purpose: int, counter: list[int]) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, purpose], np.uint64), counter=counter)
