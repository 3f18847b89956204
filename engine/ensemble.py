"""Several networks, and several views of an image, as one classifier: the mean of their probabilities."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.data.images import Image, load_cv2
from engine.data.preprocess import Preprocess
from engine.errors import UserError, unknown
from engine.layers import Sigmoid, Softmax

if TYPE_CHECKING:
    from engine.network import Network

CHUNK = 256  # images that pass through a network at a time
LISTED = 12  # class names that a message shows

Pixels = NDArray[np.uint8]
View = Callable[[Pixels], Pixels]  # uint8 (N, C, H, W) -> the same shape


@dataclass(frozen=True)
class Member:
    """A trained classifier, and what is done to an image before it; `source` names it in messages."""

    source: str
    net: Network
    preprocess: Preprocess

    @property
    def class_names(self) -> list[str]:
        return class_names(self.net)


def class_names(net: Network) -> list[str]:
    """The network's class names, or their numbers where it has none."""
    return list(net.class_names) or [str(index) for index in range(net.output_shape[0])]


def load_members(paths: Sequence[Path]) -> list[Member]:
    """The networks in these checkpoints.

    UserError for one that knows no preprocessing or is no classifier, for two whose classes differ, and for a file
    given twice.
    """
    from engine.checkpoint import load

    members: list[Member] = []
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f"{path}: the checkpoint is given twice")
        net = load(path)
        if net.preprocess is None:
            raise UserError(f"{path}: the network was saved without its preprocessing, so images cannot be prepared")
        if len(net.output_shape) != 1:
            raise UserError(f"{path}: the network is no classifier, its output has shape {net.output_shape}")
        members.append(Member(str(path), net, Preprocess.from_dict(net.preprocess)))
        first, last = members[0], members[-1]
        if first.class_names != last.class_names:
            raise UserError(
                f"{first.source} and {last.source} cannot predict together: "
                f"the first has {_listed(first.class_names)}, the second {_listed(last.class_names)}"
            )
    return members


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
    return f"{len(names)} classes ({shown})"


def probabilities(net: Network, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs as probabilities (N, classes): softmax is applied here where the network does not end in one.

    A network that ends in Sigmoid gives a probability per class already.
    """
    outputs = net.predict(images, batch_size=CHUNK)
    if isinstance(net.layers[net.topology.output], (Softmax, Sigmoid)):
        return outputs
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def mean_probabilities(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of arrays (N, classes), added in double precision in the given order; one alone is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    total = np.zeros(parts[0].shape)
    for part in parts:
        total += part
    return (total / len(parts)).astype(np.float32)


def ensemble_probabilities(
    members: Sequence[Member], prepared: Sequence[Pixels], views: Sequence[View] = ()
) -> NDArray[np.float32]:
    """Mean of the probabilities over all members and views, (N, classes).

    prepared: for each member, the images as its `preprocess.prepare` gives them, uint8 (N, C, H, W). Without views the
    images are taken as they are.
    """
    parts = [
        probabilities(member.net, member.preprocess.normalise(view(images)))
        for member, images in zip(members, prepared, strict=True)
        for view in views or (_unchanged,)
    ]
    return mean_probabilities(parts)


# ---- views: test-time augmentation ----


def parse_views(text: str) -> tuple[View, ...]:
    """The views that `flip,shift:1,rotate:5` asks for: every combination, the unchanged image first.

    flip       mirrored left to right
    shift:N    moved by N pixels to either side, up and down; the outermost pixels are repeated
    rotate:D   turned about the centre by D degrees either way, linear interpolation, outermost pixels repeated

    UserError for anything else, or a kind given twice.
    """
    choices: list[list[View]] = []
    kinds: list[str] = []
    for part in text.split(","):
        kind, colon, amount = part.strip().partition(":")
        if kind not in ("flip", "shift", "rotate"):
            raise unknown("test-time augmentation", kind, ("flip", "shift:PIXELS", "rotate:DEGREES"))
        if kind in kinds:
            raise UserError(f"test-time augmentation: {kind} is given twice in {text!r}")
        kinds.append(kind)
        if kind == "flip":
            if colon:
                raise UserError(f"test-time augmentation: flip takes no amount, got {part.strip()!r}")
            choices.append([_unchanged, _flip])
        elif kind == "shift":
            pixels = int(_amount(part, amount, whole=True))
            steps = [(0, -pixels), (0, pixels), (-pixels, 0), (pixels, 0)]
            choices.append([_unchanged, *(partial(_shift, rows=rows, columns=columns) for rows, columns in steps)])
        else:
            degrees = _amount(part, amount, whole=False)
            choices.append([_unchanged, *(partial(_rotate, degrees=each) for each in (degrees, -degrees))])
    return tuple(partial(_in_turn, views=combination) for combination in itertools.product(*choices))


def _amount(part: str, text: str, whole: bool) -> float:
    try:
        amount = float(int(text)) if whole else float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < (2**15 if whole else 180):
        wanted = "shift:PIXELS, a positive whole number" if whole else "rotate:DEGREES, between 0 and 180"
        raise UserError(f"test-time augmentation: expected {wanted}, got {part.strip()!r}")
    return amount


def _in_turn(images: Pixels, views: Sequence[View]) -> Pixels:
    for view in views:
        images = view(images)
    return images


def _unchanged(images: Pixels) -> Pixels:
    return images


def _flip(images: Pixels) -> Pixels:
    return images[..., ::-1]


def _shift(images: Pixels, rows: int, columns: int) -> Pixels:
    """Every pixel takes the value of the one `rows` above and `columns` to the left of it, the nearest within."""
    height, width = images.shape[2:]
    from_rows = np.clip(np.arange(height) - rows, 0, height - 1)
    from_columns = np.clip(np.arange(width) - columns, 0, width - 1)
    return images[:, :, from_rows[:, None], from_columns]


def _rotate(images: Pixels, degrees: float) -> Pixels:
    cv2 = load_cv2()
    height, width = images.shape[2:]
    turn: Any = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    options = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    planes: list[Image] = [
        cv2.warpAffine(np.ascontiguousarray(plane), turn, (width, height), **options)
        for plane in images.reshape(-1, height, width)
    ]
    return np.stack(planes).reshape(images.shape)
