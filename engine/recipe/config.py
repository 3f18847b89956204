"""The configuration of a training run: its keys, how a YAML file becomes one, and how its sections become objects."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from engine.arguments import checked_seed, number
from engine.data.augment_config import AugmentConfig
from engine.data.choose.noise import LabelNoise
from engine.data.choose.selection import Selection
from engine.data.choose.weights import check_class_weights
from engine.data.preprocess import Preprocess
from engine.errors import UserError, unknown
from engine.inference.evaluation import EvaluationViews
from engine.network.programs import checked_memory
from engine.network.transfer import InitializeConfig
from engine.plan.request import USUAL
from engine.reading.schema import FilePath, is_false, parse_override, read_mapping
from engine.reading.settings import joined, laid_over, with_dataset_section
from engine.reading.yaml_text import read_yaml
from engine.recipe.pseudo import PseudoLabelConfig
from engine.recipe.roles import Role, decides, none_if_false, unsaid
from engine.recipe.whitening import WhitenConfig
from engine.training.average import Average
from engine.training.folder import BEST, LAST, TRAINERS_KEY
from engine.training.schedules import EarlyStopping, WarmupConfig
from engine.training.tracking import WandbConfig


@dataclass(frozen=True)
class DatasetConfig:
    """Which samples there are.

    name               a reader of `engine.data.readers`
    train              options of that reader for the training part
    test               options of that reader for the test part; false or null for none
    subset             train on that many samples, drawn with the split's seed from all classes together: a class that
                       is left without any is warned of, and select.count keeps each (null: all)
    test_subset        test on that many samples, drawn likewise (null: all)
    labelled_fraction  that share of every class keeps its labels, drawn with the split's seed, and alone is divided
                       into training and validation samples; the labels of the rest are put away (null: all are used)
    """

    REST: ClassVar[str] = "train"

    name: str
    train: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] | None = None
    subset: int | None = None
    test_subset: int | None = None
    labelled_fraction: float | None = None


@dataclass(frozen=True)
class SplitConfig:
    """Where the validation samples come from.

    kind      fraction: a share of the training samples, stratified; folds: one of several stratified folds; test: the
              test part is the validation set too; none: no validation
    fraction  that share, of kind fraction
    folds     how many folds there are, of kind folds
    fold      which of them validates, from 0
    stratify  "label" and columns of the data set, together
    seed      of the draws
    file      folds are read from this file and checked against the data; drawn and saved there where it is not yet
    """

    kind: Literal["fraction", "folds", "test", "none"] = "fraction"
    fraction: float = 0.2
    folds: int = 5
    fold: int = 0
    stratify: tuple[str, ...] = ("label",)
    seed: int = 0
    file: FilePath | None = None

    def __post_init__(self) -> None:
        checked_seed("split", self.seed)
        if self.kind == "fraction" and not 0 < self.fraction < 1:
            raise UserError(f"fraction must lie between 0 and 1, got {self.fraction}")
        if self.kind == "folds" and self.folds < 2:
            raise UserError(f"folds must be 2 or more, got {self.folds}")
        if self.file is not None and self.kind != "folds":
            raise UserError(f"file holds folds and belongs to kind folds, not to {self.kind}")


@dataclass(frozen=True)
class ModelConfig:
    """A named network, or layers.

    name         of a network in `engine.models`
    arguments    of the named network
    layers       instead of a name: each is its name, or its name with a list or mapping of arguments:
                 `- Conv2D: [1, 32, 3]`, `- ReLU`
    input_shape  of an image, (C, H, W); with layers
    initializer  of the first weights (see engine.network.init); with layers
    """

    REST: ClassVar[str] = "arguments"

    name: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    layers: tuple[Any, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    initializer: str = "he_normal"


@dataclass(frozen=True)
class TrainConfig:
    """All keys of a configuration file; only `dataset` and `model` have no default. Each states its role, which says
    whether results, resumes and comparisons depend on it (see engine.recipe.roles).

    dataset             which samples there are; a name alone stands for the set with all its defaults
    model               the network
    data_root           folder that holds the data sets (null: CNN_DATA, or the user's cache folder)
    preprocess          what is done to an image in the same way every time
    augment             what is done to training images anew in every epoch; null or false for nothing
    split               where the validation samples come from
    initialize_from     weights of a checkpoint, by names of layers (see engine.network.transfer.initialize)
    whiten              filters of a first convolution that decorrelate the training images (null: drawn as all others)
    pseudo_labels       labels that trained networks give to images without any; false for none
    optimizer           a mapping with `name` and the arguments of that class
    schedule            of the learning rate, likewise
    warmup              a slow beginning of whatever schedule
    loss                likewise
    freeze              names or patterns of layers that stay as they are (see engine.training.trainer.Trainer)
    learning_rates      factors on the schedule's rate, by names or patterns of layers
    freeze_after        epochs after which they stay as they are, by names or patterns of layers or parameters
    average             averages of the weights, which are evaluated and saved; false for none
    class_weights       balanced, a list, or weights by names of classes, 1 for those that are not named: factors on the
                        training loss of a sample
    sample_weights      a column of the data set with such factors (see engine.data.choose.weights)
    max_norm            bound on the Euclidean norm of the whole gradient (null: none)
    algorithm           of the convolutions: auto, direct (exact), or algorithms by layer and pass, as a tuned run
                        printed them
    tune                measure the algorithms on this machine when training begins
    batch_size          samples in a pass
    accumulate          passes in a step, whose gradients are added up: a step has batch_size * accumulate samples
    memory              usual, or small: a step takes about half the memory of activations, for some time
    drop_last           leave out a last batch of an epoch that is not full
    select              which samples to train on
    label_noise         training labels made wrong on purpose; false for none
    epochs              at most so many
    early_stopping      when to stop before; false for none
    metric              picks the best epoch, of equal ones the first (null: val_loss, or train_loss without validation)
    mode                its direction, min or max (null: a loss is to fall, anything else to rise)
    train_metrics       evaluate the training samples too after every epoch
    evaluation_views    judge validation and test samples by several views of each as well (null: not)
    seed                of the first weights, the order of samples, augmentation and dropout
    threads             size of the team (0: all usable cores)
    out                 run folder (null: runs/ and the name of the file)
    checkpoint_every    steps between checkpoints within an epoch (null: at the end of epochs only)
    checkpoint_seconds  seconds between checkpoints within an epoch (null: at the end of epochs only)
    strict              stop where images of the set cannot be decoded (else they are left out, and the run's record
                        names them)
    cache               keep prepared images on disk (see engine.data.cache)
    checkpoint_path     for prediction: the trained network; false for none
    gt_csv              for prediction: the true labels; false for none
    tensorboard         log for TensorBoard as well
    wandb               log at Weights & Biases as well; false for none

    Paths are relative to the working folder.
    """

    dataset: DatasetConfig = field(metadata=decides(Role.DATA))
    model: ModelConfig = field(metadata=decides(Role.TRAINING))
    data_root: str | None = field(default=None, metadata=decides(Role.PLACE))
    preprocess: Preprocess = field(default=Preprocess(), metadata=decides(Role.DATA))
    augment: AugmentConfig = field(default=AugmentConfig(), metadata=decides(Role.TRAINING, false_is_none=True))
    split: SplitConfig = field(default=SplitConfig(), metadata=decides(Role.DATA))
    initialize_from: InitializeConfig | None = field(default=None, metadata=decides(Role.TRAINING))
    whiten: WhitenConfig | None = field(default=None, metadata=decides(Role.TRAINING, later=True))
    pseudo_labels: PseudoLabelConfig | None = field(default=None, metadata=decides(Role.DATA, false_is_none=True))
    optimizer: dict[str, Any] = field(default_factory=lambda: {"name": "Adam"}, metadata=decides(Role.TRAINING))
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "Constant"}, metadata=decides(Role.TRAINING))
    warmup: WarmupConfig | None = field(default=None, metadata=decides(Role.TRAINING, false_is_none=True, later=True))
    loss: dict[str, Any] = field(default_factory=lambda: {"name": "CrossEntropy"}, metadata=decides(Role.TRAINING))
    freeze: tuple[Any, ...] | None = field(default=None, metadata=decides(Role.TRAINING))
    learning_rates: dict[Any, float] | None = field(default=None, metadata=decides(Role.TRAINING))
    freeze_after: dict[Any, int] | None = field(default=None, metadata=decides(Role.TRAINING, later=True))
    average: Average | None = field(default=None, metadata=decides(Role.TRAINING, false_is_none=True, later=True))
    class_weights: Any = field(default=None, metadata=decides(Role.TRAINING))
    sample_weights: str | None = field(default=None, metadata=decides(Role.TRAINING))
    max_norm: float | None = field(default=None, metadata=decides(Role.TRAINING))
    algorithm: str | dict[str, dict[str, str]] = field(default="auto", metadata=decides(Role.TRAINING))
    tune: bool = field(default=False, metadata=decides(Role.TRAINING))
    batch_size: int = field(default=64, metadata=decides(Role.TRAINING))
    accumulate: int = field(default=1, metadata=decides(Role.TRAINING, later=True))
    memory: str = field(default=USUAL, metadata=decides(Role.TRAINING, later=True))
    drop_last: bool = field(default=False, metadata=decides(Role.TRAINING))
    select: Selection = field(default=Selection(), metadata=decides(Role.DATA))
    label_noise: LabelNoise | None = field(default=None, metadata=decides(Role.DATA, false_is_none=True))
    epochs: int = field(default=10, metadata=decides(Role.LENGTH))
    early_stopping: EarlyStopping | None = field(default=None, metadata=decides(Role.TRAINING, false_is_none=True))
    metric: str | None = field(default=None, metadata=decides(Role.SCORE))
    mode: str | None = field(default=None, metadata=decides(Role.TRAINING))
    train_metrics: bool = field(default=False, metadata=decides(Role.RECORD))
    evaluation_views: EvaluationViews | None = field(default=None, metadata=decides(Role.RECORD, later=True))
    seed: int = field(default=0, metadata=decides(Role.SEED))
    threads: int = field(default=0, metadata=decides(Role.PLACE))
    out: str | None = field(default=None, metadata=decides(Role.PLACE))
    checkpoint_every: int | None = field(default=None, metadata=decides(Role.PLACE))
    checkpoint_seconds: float | None = field(default=None, metadata=decides(Role.PLACE))
    strict: bool = field(default=False, metadata=decides(Role.READING))
    cache: bool = field(default=True, metadata=decides(Role.READING))
    checkpoint_path: str | None = field(default=None, metadata=decides(Role.USE, false_is_none=True))
    gt_csv: str | None = field(default=None, metadata=decides(Role.USE, false_is_none=True))
    tensorboard: bool = field(default=False, metadata=decides(Role.LOG))
    wandb: WandbConfig | None = field(default=None, metadata=decides(Role.LOG, false_is_none=True))

    def __post_init__(self) -> None:
        checked_seed("configuration", self.seed)
        for name in ("epochs", "batch_size", "accumulate", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.checkpoint_seconds is not None and not self.checkpoint_seconds > 0:
            raise UserError(f"checkpoint_seconds must be above 0, got {self.checkpoint_seconds}")
        if self.max_norm is not None:
            number("configuration", "max_norm", self.max_norm, 0.0, math.inf, above=True)
        check_class_weights(self.class_weights)
        if isinstance(self.algorithm, str) and self.algorithm not in ("auto", "direct"):
            raise unknown("algorithm", self.algorithm, ("auto", "direct"))
        checked_memory(self.memory)
        if self.tune and self.algorithm != "auto":
            raise UserError(f"tune chooses the algorithms, but algorithm = {self.algorithm!r} does so too")
        if self.pseudo_labels is not None:
            if self.dataset.labelled_fraction is None and not self.pseudo_labels.images:
                raise UserError("pseudo_labels: nothing to label; give dataset.labelled_fraction or images")
            if str(self.loss.get("name")).lower() != "crossentropy":
                raise UserError("pseudo_labels: their weight needs the loss CrossEntropy")

    def to_dict(self) -> dict[str, Any]:
        """The configuration with all defaults, as it would stand in a file. Augmentations that are off are left out,
        and so are keys that came later and stand at their defaults (engine.recipe.roles.decides)."""
        own = {"preprocess": self.preprocess.to_dict(), "augment": self.augment.describe()}
        whole = {**dataclasses.asdict(self), **own}
        left_out = unsaid(self)
        return {name: value for name, value in whole.items() if name not in left_out}


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML file and the `key=value` overrides on top; UserError names the file and the key of any mistake."""
    if path.is_dir():
        raise UserError(
            f"{path}: is a folder; expected a configuration, which is a YAML file and may name a folder of images: "
            "dataset: {name: folder, train: {path: FOLDER}}"
        )
    given = read_yaml(path)
    if TRAINERS_KEY in given and "dataset" not in given:
        raise UserError(
            f"{path}: holds the settings of a run that was started from Python, which name neither data set nor "
            f"network; give a configuration, or where a network is wanted a checkpoint: {BEST} or {LAST} beside it"
        )
    if overrides:
        given = laid_over(TrainConfig, given, joined(TrainConfig, map(parse_override, overrides)))
    return read_config(given, str(path))


def read_config(given: Mapping[str, Any], where: str = "configuration") -> TrainConfig:
    """A mapping, as YAML gives it, to a TrainConfig."""
    may_be_false = none_if_false(TrainConfig)
    given = {key: None if key in may_be_false and is_false(value) else value for key, value in given.items()}
    if given.get("augment") is None:
        given.pop("augment", None)
    given = with_dataset_section(given)
    dataset = given.get("dataset")
    if isinstance(dataset, Mapping) and is_false(dataset.get("test")):
        given["dataset"] = {**dataset, "test": None}
    return read_mapping(TrainConfig, given, where)
