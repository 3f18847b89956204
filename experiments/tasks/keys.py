"""What a run is, and the key under which its result is kept.

The key is a SHA-256 over what the result depends on, so that a changed setting is another run and a renamed row is not:

    configuration   all settings but those that say where and how fast a run works (INDIFFERENT_KEYS), in one
                    form however they are written (experiments.study.identity)
    data            the content of the files that it reads, folds included (`experiments.tasks.fingerprint`)
    runs it needs   their identities, in place of the names of their checkpoints (`run:NAME`)
    libraries       versions of those that decide a byte of it, where one does (`engine.recipe.libraries`)
    plan            the algorithms in the configuration, and the instruction set
    code            the sources of the engine and of the compiled core

All but the code is the run's `identity`: a result with the same identity and another code is stale. The first results
had identities of settings as a file writes them; these are the run's `former` ones, and such results are found as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cnncore

from engine.recipe.config import TrainConfig
from engine.recipe.libraries import deciders
from experiments.study.identity import INDIFFERENT_KEYS, order_counts, settings
from experiments.study.needs import PREFIX, resolved
from experiments.study.schema import ScoreEpoch
from experiments.tasks.fingerprint import Fingerprints, code_hash

KEY_VERSION = 2


@dataclass(frozen=True)
class Run:
    """One training: the configuration of a row (or stage) with one seed. A `Row` has one for each of its seeds.

    score_epoch   whose figures count: those of the best epoch by the configuration's metric, or of the last one.
                  Without validation it is always the last
    data          hash of the files that it reads (empty: taken when the key is asked for)
    needs         identities of the runs whose checkpoints the configuration names as run:NAME, by NAME
    former_needs  their former identities, likewise
    asked_needs   what is asked of them, likewise
    """

    row: str
    seed: int
    config: TrainConfig
    score_epoch: ScoreEpoch = "best"
    data: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    former_needs: Mapping[str, str] = field(default_factory=dict)
    asked_needs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", dataclasses.replace(self.config, seed=self.seed))

    @property
    def label(self) -> str:
        return f"{self.row}, seed {self.seed}"

    @cached_property
    def identity(self) -> str:
        """SHA-256, hexadecimal, of what the result depends on beside the code."""
        return self._digest(settings(self._resolved(self.needs)))

    @cached_property
    def former(self) -> str:
        """The identity that the first results of this very text have. Where the order of keys counts there is no other
        one than now: it does not tell which order such a result is of."""
        if order_counts(self.config):
            return self.identity
        content = self._resolved(self.former_needs).to_dict()
        try:
            return self._digest({name: value for name, value in content.items() if name not in INDIFFERENT_KEYS})
        except TypeError:  # JSON cannot sort numbers among names as keys: such a configuration never had a key
            return self.identity

    @cached_property
    def asked(self) -> str:
        """SHA-256, hexadecimal, of what is asked for alone: settings, seed, and which epoch counts. It needs no data,
        and is the same on every machine."""
        asked = settings(self._resolved(self.asked_needs))
        return digest({"settings": asked, "score_epoch": self.score_epoch})

    def _resolved(self, needs: Mapping[str, str]) -> TrainConfig:
        return resolved(self.config, lambda name: f"{PREFIX}{needs.get(name, name)}")

    def _digest(self, settings: Mapping[str, Any]) -> str:
        data = self.data or Fingerprints().data(self.config)
        content: dict[str, Any] = {"version": KEY_VERSION, "settings": settings, "data": data}
        content |= {"isa": cnncore.isa(), "score_epoch": self.score_epoch}
        if libraries := deciders(self.config):
            content["libraries"] = libraries
        return digest(content)

    @cached_property
    def key(self) -> str:
        """SHA-256, hexadecimal, of what the result depends on."""
        return digest({"identity": self.identity, "code": code_hash()})


def digest(content: Any) -> str:
    """SHA-256, hexadecimal, of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
