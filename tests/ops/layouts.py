"""Between the public layouts of the oracle and those of the C core (see cnn.h)."""

import numpy as np
from cnncore import PANEL
from numpy.typing import NDArray


def to_nhwc(images: NDArray) -> NDArray:
    return np.ascontiguousarray(np.moveaxis(images, 1, -1))


def panels(matrix: NDArray) -> NDArray:
    """(columns, K) -> [ceil(columns / 16)][K][16]; the missing columns of the last panel are zero."""
    columns, depth = matrix.shape
    count = -(-columns // PANEL)
    padded = np.zeros((count * PANEL, depth), matrix.dtype)
    padded[:columns] = matrix
    return np.ascontiguousarray(padded.reshape(count, PANEL, depth).transpose(0, 2, 1))


def filter_panels(filters: NDArray, groups: int) -> NDArray:
    """(OC, IC / groups, KH, KW) -> [groups][ceil(OC / groups / 16)][KH * KW * IC / groups][16]

    Depthwise filters are the columns of one group.
    """
    if filters.shape[1] == 1 and filters.shape[0] == groups:
        groups = 1
    depth_last = filters.transpose(0, 2, 3, 1).reshape(groups, filters.shape[0] // groups, -1)
    return np.stack([panels(group) for group in depth_last])


def winograd_panels(filters: NDArray) -> NDArray:
    """(columns, K, alpha, alpha) -> [pairs of panels][alpha^2][panels of the pair][K][16], flat"""
    columns, depth = filters.shape[:2]
    count = -(-columns // PANEL)
    padded = np.zeros((count * PANEL, depth, filters[0, 0].size), filters.dtype)
    padded[:columns] = filters.reshape(columns, depth, -1)
    by_panel = padded.reshape(count, PANEL, depth, -1).transpose(0, 3, 2, 1)  # [panel][position][K][16]
    pairs = [by_panel[i : i + 2].swapaxes(0, 1).reshape(-1) for i in range(0, count, 2)]
    return np.concatenate(pairs)
