"""The augmentations that a configuration can ask for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cnncore

from engine.arguments import number
from engine.errors import UserError, unknown

MAX_RATIO = 10.0  # of the sides of a random rectangle
MAX_ALPHA = 1000  # of mixup: beyond, every mix is half and half to a percent, and the draws overflow at the end
MIXING = ("mixup", "cutmix")  # these take whole batches of values
ALTERNATE = "alternate"  # of a flip
Fill = Literal["nearest", "constant", "reflect", "wrap", "mirror"]


def _check_fill(what: str, fill: str, value: int) -> None:
    if fill not in cnncore.FILLS:
        raise unknown(f"{what} fill", fill, cnncore.FILLS)
    if not 0 <= value <= 255:
        raise UserError(f"{what} value must be a grey level in 0..255, got {value}")


def _check_squares(what: str, size: float, count: int, probability: float) -> None:
    if not 0 < size <= 1:
        raise UserError(f"{what} size is a share of the image's shorter side, above 0 and at most 1, got {size}")
    if not 1 <= count <= 64:
        raise UserError(f"{what} count must be in 1..64, got {count}")
    _check_probability(f"{what} probability", probability)


def _check_probability(what: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise UserError(f"{what} must be a probability, 0 to 1, got {probability}")


@dataclass(frozen=True)
class Rotation:
    """About the middle, bilinear.

    degrees  the angle is uniform in -degrees … degrees
    fill     as for a shift
    value    as for a shift
    """

    SHORTHAND: ClassVar[str] = "degrees"
    degrees: float = 10.0
    fill: Fill = "nearest"
    value: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.degrees <= 180:
            raise UserError(f"rotation degrees must be above 0 and at most 180, got {self.degrees}")
        _check_fill("rotation", self.fill, self.value)


@dataclass(frozen=True)
class Scaling:
    """About the middle, bilinear.

    amount  the factor is uniform in 1-amount … 1+amount
    fill    as for a shift
    value   as for a shift
    """

    SHORTHAND: ClassVar[str] = "amount"
    amount: float = 0.1
    fill: Fill = "nearest"
    value: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.amount < 1:
            raise UserError(f"scaling amount must lie between 0 and 1, got {self.amount}")
        _check_fill("scaling", self.fill, self.value)


@dataclass(frozen=True)
class Shift:
    """By whole pixels down and to the right.

    fraction  each is uniform in -fraction … fraction of height and width, then rounded
    fill      what comes in from outside: the nearest pixel (Keras' default), a constant `value`, the image reflected
              with its border twice (reflect, as in Keras) or once (mirror, which PyTorch's pad calls reflect), or its
              other end (wrap)
    value     grey level of a constant fill
    """

    SHORTHAND: ClassVar[str] = "fraction"
    fraction: float = 0.1
    fill: Fill = "nearest"
    value: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UserError(f"shift fraction must be above 0 and at most 1, got {self.fraction}")
        _check_fill("shift", self.fill, self.value)


@dataclass(frozen=True)
class Crop:
    """Of the size of the image, at a random place of the image with a border around it.

    padding  pixels of that border
    fill     as for a shift
    value    as for a shift
    """

    SHORTHAND: ClassVar[str] = "padding"
    padding: int = 4
    fill: Fill = "constant"
    value: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.padding <= 1000:
            raise UserError(f"crop padding must be in 1..1000 pixels, got {self.padding}")
        _check_fill("crop", self.fill, self.value)


def _check_rectangle(what: str, smallest: float, largest: float, ratio: float) -> None:
    if not 0 < smallest <= largest <= 1:
        raise UserError(
            f"{what} smallest and largest are shares of the image's area, above 0 and at most 1, in this order; got "
            f"{smallest} and {largest}"
        )
    if not 1 <= ratio <= MAX_RATIO:
        raise UserError(f"{what} ratio must be from 1 to {MAX_RATIO:g}, got {ratio}")


@dataclass(frozen=True)
class ResizedCrop:
    """A random rectangle of the image, stretched to the size of the image, bilinear (Szegedy et al. 2015).

    smallest  of the shares of the image's area, of which one is drawn uniformly
    largest   of these shares
    ratio     width / height is log-uniform in 1/ratio … ratio
    """

    SHORTHAND: ClassVar[str] = "smallest"
    smallest: float = 0.08
    largest: float = 1.0
    ratio: float = 4 / 3

    def __post_init__(self) -> None:
        _check_rectangle("resized_crop", self.smallest, self.largest, self.ratio)


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast and saturation by random factors, in this order; a grey image has no saturation.

    brightness  its factor is uniform in 1-brightness … 1+brightness
    contrast    likewise, about the image's mean grey
    saturation  likewise, about each pixel's own grey
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __post_init__(self) -> None:
        if not all(0 <= each <= 1 for each in self.amounts):
            raise UserError(f"colour_jitter amounts must be from 0 to 1, got {', '.join(map(str, self.amounts))}")
        if not any(self.amounts):
            raise UserError("colour_jitter changes nothing with amounts of 0; give null for none")

    @property
    def amounts(self) -> tuple[float, float, float]:
        return self.brightness, self.contrast, self.saturation


@dataclass(frozen=True)
class RandomErasing:
    """A rectangle within the image becomes one colour (Zhong et al. 2017).

    probability  of a rectangle
    smallest     of the shares of the image's area, of which one is drawn uniformly
    largest      of these shares
    ratio        width / height is log-uniform in 1/ratio … ratio
    value        grey level (null: a random colour)
    """

    SHORTHAND: ClassVar[str] = "probability"
    probability: float = 0.5
    smallest: float = 0.02
    largest: float = 0.4
    ratio: float = 10 / 3
    value: int | None = None

    def __post_init__(self) -> None:
        _check_probability("random_erasing probability", self.probability)
        _check_rectangle("random_erasing", self.smallest, self.largest, self.ratio)
        if self.value is not None and not 0 <= self.value <= 255:
            raise UserError(f"random_erasing value must be a grey level in 0..255, got {self.value}")


@dataclass(frozen=True)
class CutMix:
    """A rectangle of every image comes from another of its batch, labels are mixed by area (Yun et al. 2019).

    alpha        of the Beta distribution of what stays
    probability  of a batch to be mixed
    """

    SHORTHAND: ClassVar[str] = "alpha"
    alpha: float = 1.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        number("", "cutmix alpha", self.alpha, 0, MAX_ALPHA, above=True)
        _check_probability("cutmix probability", self.probability)


@dataclass(frozen=True)
class Cutout:
    """Squares at random places become `value` (DeVries & Taylor 2017); they may reach over the border.

    size         of a square's side, as a share of the image's shorter side
    count        squares
    probability  of each of them
    value        grey level
    """

    SHORTHAND: ClassVar[str] = "size"
    size: float = 0.5
    count: int = 1
    probability: float = 1.0
    value: int = 0

    def __post_init__(self) -> None:
        _check_squares("cutout", self.size, self.count, self.probability)
        if not 0 <= self.value <= 255:
            raise UserError(f"cutout value must be a grey level in 0..255, got {self.value}")


@dataclass(frozen=True)
class ContourCutout:
    """Squares round random points of the ink's contour become paper (NumtaDB report); an empty image has none.

    size         as for a cutout
    count        as for a cutout
    probability  as for a cutout
    value        a grey level instead of the paper's (null: the paper's)
    """

    SHORTHAND: ClassVar[str] = "size"
    size: float = 0.12
    count: int = 3
    probability: float = 0.5
    value: int | None = None

    def __post_init__(self) -> None:
        _check_squares("contour_cutout", self.size, self.count, self.probability)
        if self.value is not None and not 0 <= self.value <= 255:
            raise UserError(f"contour_cutout value must be a grey level in 0..255, got {self.value}")


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes while training; null for none. A value alone is a section's first key: `shift: 0.1`.

    rotation        about the middle, by a random angle
    scaling         about the middle, by a random factor
    resized_crop    a random rectangle, stretched to the whole image
    colour_jitter   random brightness, contrast and saturation
    shift           by whole pixels; not together with crop
    crop            of the image with a border around it
    flip            probability of a mirrored image; alternate: a coin of its own decides whether an image is mirrored
                    in the first epoch, and it changes with every epoch (Jordan 2024)
    vertical_flip   probability of an image upside down
    contour_cutout  squares of paper on the ink's contour
    cutout          squares at random places
    random_erasing  a rectangle of one colour
    mixup           alpha of its Beta distribution, 0 for none
    cutmix          rectangles of other images; not together with mixup
    """

    rotation: Rotation | None = None
    scaling: Scaling | None = None
    resized_crop: ResizedCrop | None = None
    colour_jitter: ColourJitter | None = None
    shift: Shift | None = None
    crop: Crop | None = None
    flip: float | str = 0.0
    vertical_flip: float = 0.0
    contour_cutout: ContourCutout | None = None
    cutout: Cutout | None = None
    random_erasing: RandomErasing | None = None
    mixup: float = 0.0
    cutmix: CutMix | None = None

    def __post_init__(self) -> None:
        number("", "mixup", self.mixup, 0, MAX_ALPHA)
        if isinstance(self.flip, str):
            if self.flip != ALTERNATE:
                raise UserError(f"flip must be a probability, 0 to 1, or {ALTERNATE}, got {self.flip!r}")
        else:
            _check_probability("flip", self.flip)
        _check_probability("vertical_flip", self.vertical_flip)
        if self.mixup and self.cutmix:
            raise UserError("mixup and cutmix both mix the images of a batch; give one of them")
        if self.shift and self.crop:
            raise UserError("shift and crop both move the image; give one of them")
        if self.rotation and self.scaling:
            ours, theirs = (self.rotation.fill, self.rotation.value), (self.scaling.fill, self.scaling.value)
            if ours != theirs:
                raise UserError(f"rotation and scaling are one movement: give both the same fill, not {ours}, {theirs}")

    @property
    def moves(self) -> Shift | Crop | None:
        return self.shift or self.crop

    @property
    def warps(self) -> Rotation | Scaling | None:
        return self.rotation or self.scaling

    @property
    def redraws(self) -> bool:
        """Whether new pixels are computed from those that are there."""
        return bool(self.warps or self.resized_crop or self.colour_jitter)

    @property
    def changes_images(self) -> bool:
        """Whether anything but mixup and CutMix is asked for."""
        return any(getattr(self, each.name) for each in dataclasses.fields(self) if each.name not in MIXING)

    def describe(self) -> dict[str, Any]:
        """What is asked for, in JSON's own types; mixup always, as in the checkpoints of earlier versions."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value or name == "mixup"}
