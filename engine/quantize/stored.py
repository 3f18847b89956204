"""Quantised networks as files: one safetensors file with the integers, the graph, and what a prediction needs.

Tensors are the integer part's ("body/0.weights") and those of layers in float32 ("head/parameters/0.weights"). The
metadata's one entry has a version, a JSON document with the rest, and a SHA-256 over that and all tensors. Loading
reads numbers and text, builds layers by name, and holds all to what the arithmetic needs: it never runs code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from safetensors.numpy import save as serialise

from engine.files import json_text, write_atomically
from engine.network.checkpoint import QUANTIZED_KEY as METADATA_KEY
from engine.network.checkpoint import Tensors, digest, project_version, storable
from engine.network.network import Network
from engine.quantize.body import Body

FORMAT_VERSION = 1
ENDS = ("head", "tail")


@dataclass(frozen=True)
class Notes:
    """How a network was quantised: the arguments of `engine.quantize`, and how many samples it was calibrated with."""

    scales: str
    calibrate: str | float
    first: str
    last: str
    weight_bits: int
    samples: int


@dataclass(frozen=True)
class Header:
    """The metadata's one entry."""

    version: int
    sha256: str
    document: str


@dataclass(frozen=True)
class Document:
    """What of the file is no array. `encodings` has the scale and zero point of every value, `clamps` the lowest and
    the highest code of layers, `head` and `tail` the graphs of layers in float32."""

    project: str
    graph: dict[str, Any]
    encodings: dict[str, list[Any]]
    clamps: dict[str, list[Any]]
    notes: dict[str, Any]
    head: dict[str, Any] | None = None
    tail: dict[str, Any] | None = None
    preprocess: dict[str, Any] | None = None
    class_names: list[str] = field(default_factory=list)
    trained_by: str | None = None


class Storable(Protocol):
    """What is stored of a quantised network."""

    body: Body
    head: Network | None
    tail: Network | None
    notes: Notes

    @property
    def preprocess(self) -> dict[str, Any] | None: ...
    @property
    def class_names(self) -> Sequence[str]: ...
    @property
    def trained_by(self) -> str | None: ...


def save(net: Storable, path: Path | str) -> None:
    """Write the network to `path`; a file that is there is replaced whole, or not at all."""
    if net.preprocess is not None:
        from engine.data.preprocess import Preprocess  # only now: a first prediction loads nothing of data sets

        Preprocess.from_dict(net.preprocess)
    body = net.body
    tensors = {f"body/{name}": storable(name, array) for name, array in body.arrays.items()}
    for end in ENDS:
        part = getattr(net, end)
        for group, arrays in _groups(part).items():
            tensors |= {f"{end}/{group}/{name}": storable(name, array) for name, array in arrays.items()}
    document = json_text(
        {
            "project": project_version(),
            "graph": body.topology.to_config(),
            "encodings": {name: [each.scale, each.zero] for name, each in body.encodings.items()},
            "clamps": {name: [each.low, each.high] for name, each in body.clamps.items()},
            "notes": asdict(net.notes),
            **{end: None if (part := getattr(net, end)) is None else part.to_config() for end in ENDS},
            "preprocess": net.preprocess,
            "class_names": list(net.class_names),
            **({"trained_by": net.trained_by} if net.trained_by else {}),
        }
    )
    header = {"version": FORMAT_VERSION, "sha256": digest(document, tensors), "document": document}
    write_atomically(Path(path), serialise(tensors, {METADATA_KEY: json.dumps(header)}))


def _groups(part: Network | None) -> dict[str, Tensors]:
    return {} if part is None else {"parameters": part.parameters(), "buffers": part.buffers()}
