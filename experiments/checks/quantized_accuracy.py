"""What int8 costs in accuracy: trained networks on their test sets, in float32 and with integers.

`python -m experiments.checks.quantized_accuracy RUN [RUN …] [--samples 512] [--test 10000]`

RUN is a folder that `engine.train` wrote; its configuration says which data it was trained and tested on. Calibrated
with samples of the training part, spread evenly over it. The core's integers are also held to those of the NumPy twin.
Status 1 where power-of-two scales lose more than half a point, or a bit differs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.cli import command_parser, run
from engine.layers.topology import INPUT
from engine.network.network import Network
from engine.quantize import reference
from engine.quantize.build import quantize
from engine.quantize.network import QuantizedNetwork
from experiments.checks.integer_hash.trained import add_arguments, check_counts, opened

MOST_LOST = 0.005  # of the accuracy, with power-of-two scales
TWIN_SAMPLES = 100  # which the twin, in plain NumPy, is given
WAYS: Mapping[str, Mapping[str, Any]] = {
    "int8": {},
    "free": {"scales": "free"},
    "minmax": {"calibrate": "minmax"},
    "7 bits": {"weight_bits": 7},
}


@dataclass(frozen=True)
class Row:
    """A network on its test set: accuracy in float32, and in each of WAYS; bytes of weights; whether the core's
    integers were the twin's."""

    name: str
    samples: int
    exact: float
    found: Mapping[str, float]
    bytes: tuple[int, int]
    same: bool

    @property
    def change(self) -> float:
        return self.found["int8"] - self.exact

    def __str__(self) -> str:
        found = " ".join(f"{self.found[way]:8.2%}" for way in WAYS)
        before, after = (f"{count:,}" for count in self.bytes)
        twin = "same bits" if self.same else "OTHER BITS"
        head = f"{self.name:<22}{self.samples:>7,}{self.exact:9.2%} {found}{100 * self.change:+8.2f}"
        return f"{head} {before:>12}{after:>11}  {twin}"


def measured(path: Path, root: Path | None, count: int, most: int) -> Row:
    """The row of a run."""
    trained = opened(path, root, count, most)
    net, images, labels = trained.net, trained.images, trained.labels
    quantised = {way: quantize(net, trained.samples, **arguments) for way, arguments in WAYS.items()}
    found = {way: accuracy(each, images, labels) for way, each in quantised.items()}
    plain = quantised["int8"]
    body, seen = plain.body, images[:TWIN_SAMPLES]
    twin = reference.run(body, body.encodings[INPUT].codes(seen))[body.topology.output]
    sizes = 4 * net.num_parameters, plain.weight_bytes
    exact = accuracy(net, images, labels)
    return Row(trained.name, len(images), exact, found, sizes, bool(np.array_equal(twin, plain.codes(seen))))


def accuracy(net: Network | QuantizedNetwork, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((net.predict(images).argmax(axis=1) == labels).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser("experiments.checks.quantized_accuracy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a folder that engine.train wrote")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    check_counts(options)
    ways = " ".join(f"{way:>8}" for way in WAYS)
    print(f"{'network':<22}{'images':>7}{'float32':>9} {ways}{'change':>8} {'bytes before':>12}{'after':>11}  the twin")
    rows = []
    for path in options.runs:
        rows.append(measured(path, options.data_root, options.samples, options.test))
        print(rows[-1], flush=True)
    print(f"\nint8: power-of-two scales, ranges by the error. change: of int8, in points. {options.samples} samples.")
    kept = all(row.same and row.change >= -MOST_LOST for row in rows)
    print(f"verdict: {'no network loses more than' if kept else 'a network loses more than'} half a point")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(run(main))
