"""The samples of configurations, read and prepared once for all runs that ask for the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.data.dataset import Dataset, RawDataset
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.recipe.config import TrainConfig
from engine.recipe.roles import of_samples
from engine.recipe.samples import load_data
from experiments.tasks.keys import digest

Parts = tuple["Dataset", "Dataset | None", "Dataset | None"]

SETS_READ = 2  # a training and a test part


@dataclass
class DataCache:
    """Samples, split and deterministically prepared: done once and shared by all runs that ask for the same.

    Keeps the last `size` sets, so that a long study does not fill the memory, and the last SETS_READ as they were read:
    rows that prepare the same images in other ways do not list tens of thousands of files again.
    """

    size: int = 4
    _kept: dict[str, Parts] = field(default_factory=dict)
    _read: dict[str, RawDataset] = field(default_factory=dict)

    def load(self, config: TrainConfig) -> Parts:
        """Training, validation and test samples of the configuration."""
        root = data_root(None, config.data_root)
        content = config.to_dict()
        key = digest([str(root), {name: content[name] for name in of_samples(TrainConfig)}])
        if key not in self._kept:
            data = load_data(config, root, read=self.read)
            self._kept = dict([*self._kept.items(), (key, data)][-self.size :])
        return self._kept[key]

    def read(self, name: str, root: Path | None, options: Mapping[str, Any]) -> RawDataset:
        """The set as `engine.data.readers.read_dataset` reads it."""
        key = digest([name, str(root), options])
        raw = self._read.pop(key, None) or read_dataset(name, root, options)
        self._read = dict([*self._read.items(), (key, raw)][-SETS_READ:])  # the one that was asked for last comes last
        return raw
