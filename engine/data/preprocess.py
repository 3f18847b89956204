"""What happens to a raw image before the network sees it: one description, used by training and by prediction.

The work has two halves. `Preprocess.prepare` turns a raw image of any size into uint8 (C, H, W) and runs once per
image; `Preprocess.normalise` turns a batch of those into float32 and runs per batch. A checkpoint stores the
description, so that prediction does to a photograph exactly what training did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.augment import apply_steps, check_image, check_steps, resize
from engine.data.images import Image, load_cv2
from engine.errors import UserError, unknown
from engine.schema import read_mapping

# Factor and offset that are applied to a value in 0..255.
SCALES: dict[str, tuple[float, float]] = {"0..1": (1 / 255, 0.0), "-1..1": (2 / 255, -1.0), "none": (1.0, 0.0)}


@dataclass(frozen=True)
class Preprocess:
    """The steps, in the order in which they are applied.

    colour   True: three channels (red, green, blue; a grey image is repeated); False: one grey channel
    steps    names of image functions (`engine.data.augment.STEPS`), run at the image's own size
    size     (H, W) to resize to; None keeps the size, then all images of a set must agree
    scale    "0..1", "-1..1" or "none": where the values 0..255 go
    mean, std   per channel, subtracted and divided by after scaling; empty: not done
    """

    colour: bool = False
    steps: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    scale: str = "0..1"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_steps(self.steps))
        if self.size is not None:
            size = tuple(self.size)
            if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
                raise UserError(f"preprocess size must be two positive whole numbers (H, W), got {list(size)}")
            object.__setattr__(self, "size", size)
        if self.scale not in SCALES:
            raise unknown("preprocess scale", self.scale, SCALES)
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) not in (0, 1, self.channels) or not np.all(np.isfinite(values)):
                raise UserError(f"preprocess {name} must give a finite number per channel ({self.channels})")
            object.__setattr__(self, name, values)
        if any(value <= 0 for value in self.std):
            raise UserError(f"preprocess std must be positive, got {list(self.std)}")

    @property
    def channels(self) -> int:
        return 3 if self.colour else 1

    def to_dict(self) -> dict[str, Any]:
        """The description in JSON's own types."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Preprocess:
        """The inverse of `to_dict`; UserError for a key or value that does not belong there."""
        return read_mapping(cls, description, "preprocess")

    def prepare(self, raw: Image) -> Image:
        """One raw image, uint8 (H, W), (H, W, 1) or (H, W, 3) -> uint8 (C, H, W)."""
        image = check_image(raw)
        if image.ndim == 3 and image.shape[2] not in (1, 3):
            raise UserError(f"a raw image has one channel or three, got {image.shape[2]}")
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[:, :, 0]
        if not self.colour and image.ndim == 3:
            cv2 = load_cv2()
            image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        image = apply_steps(image, self.steps)
        if self.size is not None and image.shape[:2] != self.size:
            image = resize(image, *self.size)
        if image.ndim == 2:
            return np.repeat(image[None], self.channels, axis=0)
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def normalise(self, images: Image) -> NDArray[np.float32]:
        """uint8 (N, C, H, W) -> float32 of the same shape; a sample's values do not depend on its batch."""
        factor, offset = SCALES[self.scale]
        mean = np.array(self.mean or (0.0,))
        std = np.array(self.std or (1.0,))
        factors = (factor / std).astype(np.float32).reshape(-1, 1, 1)
        offsets = ((offset - mean) / std).astype(np.float32).reshape(-1, 1, 1)
        values = np.multiply(images, factors, dtype=np.float32)
        if offsets.any():
            values += offsets
        return values

    def __call__(self, raw: Image) -> NDArray[np.float32]:
        """One raw image -> the network's input, float32 (C, H, W)."""
        return self.normalise(self.prepare(raw)[None])[0]
