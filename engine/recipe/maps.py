"""What a configuration may say of a data set that has a label for every pixel."""

from __future__ import annotations

from dataclasses import replace

from engine.data.choose.selection import Selection
from engine.data.labels.moved import check_movable
from engine.data.labels.prepared import check_preparable
from engine.data.readers import WITH_MASKS
from engine.errors import UserError
from engine.losses import LabelMaps, Loss
from engine.recipe.config import TrainConfig

OF_IMAGES = "goes by a label of each image, but this set has one for every pixel"


def check_maps(config: TrainConfig, loss: Loss) -> None:
    """UserError, which names the key, for what does not go with maps of labels; nothing for other sets."""
    section = config.dataset
    if section.name not in WITH_MASKS:
        return
    asked = {
        "select": replace(config.select, seed=0) != Selection(),
        "dataset.labelled_fraction": section.labelled_fraction is not None,
        "label_noise": config.label_noise is not None,
        "pseudo_labels": config.pseudo_labels is not None,
        "class_weights": config.class_weights is not None,
        "sample_weights": config.sample_weights is not None,
        "evaluation_views": config.evaluation_views is not None,
    }
    for key, given in asked.items():
        if given:
            raise UserError(f"{key} {OF_IMAGES}")
    if config.split.stratify != ("label",):
        raise UserError(f"split.stratify {OF_IMAGES}; leave it out, and samples are drawn by chance")
    if not isinstance(loss, LabelMaps):
        raise UserError(
            f"loss: {type(loss).__name__} has no use for maps of labels; take PixelCrossEntropy, Dice or Focal"
        )
    ignore = section.train.get("ignore")
    for part, options in (("train", section.train), ("test", section.test)):
        if options is not None and options.get("ignore") != loss.ignored:
            raise UserError(
                f"dataset.{part}.ignore is {_shown(options.get('ignore'))}, but loss.ignore_index "
                f"{_shown(loss.ignored)}: the same pixels are not to count"
            )
    check_preparable("preprocess.steps", config.preprocess, ignore)
    check_movable("augment", config.augment, ignore)


def _shown(number: object) -> str:
    return "null" if number is None else str(number)
