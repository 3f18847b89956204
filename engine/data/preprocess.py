"""What happens to a raw image before the network sees it: one description, used by training and by prediction.

The work has two halves. `Preprocess.prepare` turns a raw image of any size into uint8 (C, H, W) and runs once per
image; `Preprocess.normalise` turns a batch of those into float32 and runs per batch. A checkpoint stores the
description, so that prediction does to a photograph exactly what training did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.data.images import MAX_SIDE, Image, load_cv2
from engine.data.steps import apply_steps, check_image, check_steps, describe_step, resize
from engine.errors import UserError, unknown
from engine.reading.schema import read_mapping

# Factor and offset that are applied to a value in 0..255.
SCALES: dict[str, tuple[float, float]] = {"0..1": (1 / 255, 0.0), "-1..1": (2 / 255, -1.0), "none": (1.0, 0.0)}
# Not in the checkpoints of earlier versions.
LATER_KEYS: Mapping[str, Any] = {"per_image": False, "standardise": "none"}
FIT_CHUNK = 1024  # images
MOST = 1e12  # of a mean or std, and 1 / the least std: values stay far from the ends of float32
# Keys of a Preprocess that are applied to batches of prepared images: they play no part in the bytes of those.
PER_BATCH = ("scale", "mean", "std", "per_image", "standardise")


@dataclass(frozen=True)
class Preprocess:
    """The steps, in the order in which they are applied.

    colour   True: three channels (red, green, blue; a grey image is repeated); False: one grey channel
    steps    image steps by name, or by name with parameters (`engine.data.steps`), run at the image's own size
    size     (H, W) to resize to, whatever the proportions; None keeps the size, then all images of a set must agree
    scale    "0..1", "-1..1" or "none": where the values 0..255 go
    mean     per channel, subtracted after scaling; empty: not done
    std      per channel, divided by after that; empty: not done
    per_image    True: before scaling, each image's darkest value becomes 0 and its brightest 255 (one value: 0)
    standardise  "set": mean and std are those of the training images (`fitted` puts them in, then it reads "none");
                 "image": each image minus its own mean, divided by its own standard deviation over all its values, but
                 by no less than 1 / sqrt(their number) grey levels; `scale` and `per_image` then make no difference
    """

    colour: bool = False
    steps: tuple[Any, ...] = ()
    size: tuple[int, int] | None = None
    scale: str = "0..1"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    per_image: bool = False
    standardise: Literal["none", "set", "image"] = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_steps(self.steps))
        if self.size is not None:
            size = tuple(self.size)
            if len(size) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in size):
                raise UserError(
                    f"preprocess size must be two whole numbers (H, W) from 1 to {MAX_SIDE}, got {list(size)}"
                )
            object.__setattr__(self, "size", size)
        if self.scale not in SCALES:
            raise unknown("preprocess scale", self.scale, SCALES)
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) not in (0, 1, self.channels) or not all(abs(value) <= MOST for value in values):
                raise UserError(
                    f"preprocess {name} must give a number per channel ({self.channels}) of {MOST:g} at most"
                )
            object.__setattr__(self, name, values)
        if not all(value >= 1 / MOST for value in self.std):
            raise UserError(f"preprocess std must be positive, from {1 / MOST:g} on, got {list(self.std)}")
        if self.standardise not in ("none", "set", "image"):
            raise unknown("preprocess standardise", self.standardise, ("none", "set", "image"))
        if self.standardise != "none" and (self.mean or self.std):
            raise UserError(f"preprocess standardise: {self.standardise} finds mean and std itself; give either")

    @property
    def channels(self) -> int:
        return 3 if self.colour else 1

    @property
    def per_sample(self) -> bool:
        """Whether an image's own values decide how it is normalised."""
        return self.per_image or self.standardise == "image"

    def to_dict(self) -> dict[str, Any]:
        """The description in JSON's own types. Keys of later versions are left out where they are not used."""
        description = {each.name: getattr(self, each.name) for each in fields(self)}
        description["steps"] = [describe_step(step) for step in self.steps]
        for name, unused in LATER_KEYS.items():
            if description[name] == unused:
                del description[name]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in description.items()}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any], source: object = "") -> Preprocess:
        """The inverse of `to_dict`; UserError, which names the source, for what does not belong there."""
        return read_mapping(cls, description, f"{source}: preprocess" if source else "preprocess")

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
        return cnncore.gather_images(np.ascontiguousarray(images), np.arange(len(images)), *self.factors(images))

    def factors(self, images: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(scale, offset), each float32 (C,), or (N, C) with `per_sample`: normalised = value * scale + offset."""
        if self.standardise == "set":
            raise UserError("preprocess standardise: set needs the training images first (Preprocess.fitted)")
        factor, offset = (1.0, 0.0) if self.standardise == "image" else SCALES[self.scale]
        mean, std = np.array(self.mean or (0.0,)), np.array(self.std or (1.0,))
        own_scale, own_offset = self._own_factors(images)
        shape = (len(images),) * self.per_sample + (images.shape[1],)
        scale = np.broadcast_to(own_scale * (factor / std), shape).astype(np.float32)
        return scale, np.broadcast_to((own_offset * factor + offset - mean) / std, shape).astype(np.float32)

    def _own_factors(self, images: Image) -> tuple[Any, Any]:
        """What each image is multiplied by and what is added before `scale`, (N, 1) each; (1, 0) for nothing."""
        values = images.reshape(len(images), -1)
        if self.standardise == "image":
            mean = values.mean(axis=1, keepdims=True, dtype=float)
            std = np.maximum(values.std(axis=1, keepdims=True, dtype=float), values.shape[1] ** -0.5)
            return 1 / std, -mean / std
        if self.per_image:
            low, high = values.min(axis=1, keepdims=True).astype(float), values.max(axis=1, keepdims=True).astype(float)
            stretch = np.divide(255.0, high - low, out=np.zeros_like(low), where=high > low)
            return stretch, -low * stretch
        return 1.0, 0.0

    def fitted(self, images: NDArray[Any]) -> Preprocess:
        """With `standardise: set`: the same with mean and standard deviation of each channel over these images.

        images: uint8 (N, C, H, W), the training part as `prepare` gave it. A channel of one value only gets std 1.
        Without `set` the description itself.
        """
        if self.standardise != "set":
            return self
        plain = replace(self, standardise="none")
        sums = np.zeros((2, self.channels))
        for start in range(0, len(images), FIT_CHUNK):
            values = plain.normalise(images[start : start + FIT_CHUNK]).astype(float)
            sums += values.sum(axis=(0, 2, 3)), np.square(values).sum(axis=(0, 2, 3))
        mean, square = sums / (len(images) * images.shape[2] * images.shape[3])
        std = np.sqrt(np.maximum(square - mean**2, 0))
        return replace(plain, mean=tuple(mean.tolist()), std=tuple(np.where(std > 1e-6, std, 1.0).tolist()))

    def __call__(self, raw: Image) -> NDArray[np.float32]:
        """One raw image -> the network's input, float32 (C, H, W)."""
        return self.normalise(self.prepare(raw)[None])[0]
