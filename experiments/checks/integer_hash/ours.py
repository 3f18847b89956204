"""The core by instruction set, threads and batch, and the twin in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.layers.topology import INPUT
from engine.quantize import reference
from engine.quantize.network import QuantizedNetwork

Codes = NDArray[np.uint8]
Way = tuple[str, Callable[[NDArray[np.float32]], Codes | str]]
"""A name, and what gives the codes of images, or says why it cannot."""

TEAMS = (1, 2, 3, 7)
BATCHES = (1, 64)
TWIN_BATCH = 250


def ways(net: QuantizedNetwork) -> Iterator[Way]:
    """Every instruction set; all teams and batches with the widest."""
    sets = [(isa, False) for isa in cnncore.available_isas()]
    if cnncore.uses_vnni():
        sets.append((cnncore.isa(), True))
    for isa, vnni in sets:
        name = f"{isa}{' with VNNI' if vnni else ''}"
        settings = [(team, batch) for team in TEAMS for batch in BATCHES] if (isa, vnni) == sets[-1] else [(2, 64)]
        for team, batch in settings:
            threads = f"{team} thread{'s' if team > 1 else ''}"
            yield f"core, {name}, {threads}, batch {batch}", _core(net, isa, vnni, team, batch)
    yield "twin in NumPy", _twin(net)


def _core(net: QuantizedNetwork, isa: str, vnni: bool, team: int, batch: int) -> Callable[[NDArray[np.float32]], Codes]:
    def run(images: NDArray[np.float32]) -> Codes:
        with _setting(isa, vnni, team):
            return QuantizedNetwork(net.body, net.head, net.tail, net.notes).codes(images, batch)

    return run


@contextmanager
def _setting(isa: str, vnni: bool, team: int) -> Iterator[None]:
    before = cnncore.isa(), cnncore.uses_vnni(), cnncore.get_num_threads()
    cnncore.set_isa(isa)
    cnncore.set_vnni(vnni)
    cnncore.set_num_threads(team)
    try:
        yield
    finally:
        cnncore.set_isa(before[0])
        cnncore.set_vnni(before[1])
        cnncore.set_num_threads(before[2])


def _twin(net: QuantizedNetwork) -> Callable[[NDArray[np.float32]], Codes]:
    body = net.body

    def run(images: NDArray[np.float32]) -> Codes:
        parts = []
        for start in range(0, len(images), TWIN_BATCH):
            given = images[start : start + TWIN_BATCH]
            given = given if net.head is None else net.head.predict(given)
            parts.append(reference.run(body, body.encodings[INPUT].codes(given))[body.topology.output])
        return np.concatenate(parts)

    return run
