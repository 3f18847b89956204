"""Grad-CAM as pictures: the image, the heat of a class, and one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.data.images import load_cv2
from engine.errors import UserError
from engine.plots.canvas import GREY, load_parts, new_figure, picture, shorten, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_IMAGES = 32
COLOURS = "inferno"
OPACITY = 0.55  # of the heat where it is largest


def draw_gradcam(
    images: NDArray[Any], heat: NDArray[np.float64], captions: Sequence[str], titles: Sequence[str], layer: str
) -> Figure:
    """A row for each image: itself, the heat, and the heat over the image.

    images    (n, C, H, W), as the network takes them; at most MOST_IMAGES
    heat      (n, h, w), as `engine.inspection.gradcam.gradcam` gives it; each row has a scale of its own, from 0 to its
              largest value (an image without any heat stays as it is)
    captions  what names each image; titles: its class and how sure the network is of that
    """
    if not 1 <= len(images) <= MOST_IMAGES:
        raise UserError(f"Grad-CAM draws 1 to {MOST_IMAGES} images at a time, got {len(images)}")
    height, width = images.shape[2:]
    tall = min(max(2.0 * height / width, 1.0), 4.0)
    figure = new_figure(7.2, len(images) * (tall + 0.35) + 0.5)
    rows = figure.subplots(len(images), 3, squeeze=False)
    colours = load_parts().colormaps[COLOURS]
    for row, pixels, own, caption, title in zip(rows, images, heat, captions, titles, strict=True):
        plain = shown(pixels[None])[0]
        whole = enlarged(own, height, width)
        picture(row[0], plain)
        picture(row[1], whole, cmap=COLOURS, vmin=0.0, vmax=1.0)
        picture(row[2], overlaid(plain, whole, colours(whole)[..., :3]))
        row[0].set_xlabel(shorten(caption), fontsize=7.5, labelpad=2, parse_math=False)
        row[2].set_xlabel(shorten(title, 32), fontsize=7.5, labelpad=2, parse_math=False)
        row[1].set_xlabel(f"largest {own.max():.3g}", fontsize=7.5, color=GREY, labelpad=2)
    figure.suptitle(f"Grad-CAM by the maps of layer {shorten(layer, 40)}", fontsize=9, parse_math=False)
    return figure


def enlarged(heat: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """The heat from 0 to 1, where it is largest, interpolated to the size of the image."""
    scaled = heat / (heat.max() or 1.0)
    cv2 = load_cv2()
    larger: NDArray[np.float64] = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
    return larger


def overlaid(
    image: NDArray[np.float64], heat: NDArray[np.float64], colours: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The image (H, W) or (H, W, 3), 0 to 1, under the colours of its heat: the hotter, the less is seen of it."""
    base = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    share = OPACITY * heat[:, :, None]
    return (1 - share) * base + share * colours
