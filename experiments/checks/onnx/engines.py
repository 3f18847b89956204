"""Networks as ONNX models in other engines, and back; models of other programs in ours.

`python -m experiments.checks.onnx.engines [--networks lenet,…] [--foreign FOLDER]`

For each named network, with its first weights made uneven: whether the network that comes back from its file predicts
with the same bits, and each engine's largest difference from our logits, as a share of the largest of them where that
is above 1. For each file NAME.onnx of a folder, with `input` and `output` of its own program in NAME.npz (or one
for all files that begin so): our largest difference from that output. The status is 1 where bits differ, or a
difference is above 1e-5.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.cli import command_parser, run
from engine.errors import UserError
from engine.export.onnx.command import TOLERANCE, compare
from engine.export.onnx.engines import ENGINES, installed
from engine.export.onnx.model import OnnxOptions, random_input, to_onnx
from engine.importing.onnx.network import from_onnx, imported
from engine.models import MODELS, make_model
from engine.network.network import Network
from engine.reading.packages import optional

SAMPLES = 1  # for each network: the reference evaluator takes seconds for one image of the large ones


@dataclass(frozen=True)
class Row:
    """A network: bytes of its file, whether it comes back with the same bits, every engine's difference or words."""

    name: str
    parameters: int
    size: int
    same: bool
    errors: dict[str, float | str]

    @property
    def good(self) -> bool:
        return self.same and all(isinstance(each, float) and each <= TOLERANCE for each in self.errors.values())


def uneven(net: Network, seed: int = 0) -> Network:
    """The network with running statistics and scales as after some training."""
    draws = np.random.default_rng(seed)
    norms = {key for key in net.parameters() if f"{key.rpartition('.')[0]}.running_mean" in net.buffers()}
    net.load_parameters({key: array + draws.normal(0, 0.1, array.shape) if key in norms else array
                         for key, array in net.parameters().items()})  # fmt: skip
    net.load_buffers({key: np.abs(array + draws.normal(0, 0.1, array.shape)) for key, array in net.buffers().items()})
    return net


def measured(name: str, folder: Path) -> Row:
    net, path = uneven(make_model(name)), folder / "net.onnx"
    to_onnx(net, path)
    values = random_input(net, SAMPLES, preprocess=False)
    same, size = from_onnx(path).predict(values).tobytes() == net.predict(values).tobytes(), path.stat().st_size
    # Behind a Softmax that is sure of its class every engine says the same.
    logits = OnnxOptions(answer="logits")
    to_onnx(net, path, logits)
    return Row(name, net.num_parameters, size, same, compare(net, path, logits, values))


def head(engines: Sequence[str]) -> str:
    """The first lines of the table."""
    columns = "---:|" * len(engines)
    return f"| network | parameters | bytes | same bits back | {' | '.join(engines)} |\n|---|---:|---:|---|{columns}"


def line(row: Row) -> str:
    """A row of the table."""
    cells = [each if isinstance(each, str) else f"{each:.1e}" for each in row.errors.values()]
    same = "yes" if row.same else "no"
    return f"| {row.name} | {row.parameters:,} | {row.size:,} | {same} | {' | '.join(cells)} |"


def foreign(path: Path) -> tuple[str, float]:
    """Layers that a file of another program becomes, and our largest difference from what that program said."""
    onnx = optional("onnx", "onnx", "the check")
    arrays = next(
        each
        for each in (path.with_suffix(".npz"), path.with_name(f"{path.stem.rpartition('_')[0]}.npz"))
        if each.is_file()
    )
    said = np.load(arrays)
    read = imported(onnx, onnx.load(path), path.parent)
    given = np.moveaxis(said["input"], -1, 1) if read.channels_last else said["input"]
    expected = said["output"]
    answer = read.network.predict(np.ascontiguousarray(given))
    error = float(np.abs(answer - expected).max() / max(1.0, float(np.abs(expected).max())))
    return f"{len(read.network.layers)} layers", error


def main() -> int:
    parser = command_parser("experiments.checks.onnx.engines", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", default=",".join(MODELS), help="names with commas between them (default: all)")
    parser.add_argument("--foreign", type=Path, metavar="FOLDER", help="also the files of other programs in here")
    options = parser.parse_args()
    missing = set(ENGINES) - {name for name, *_ in installed()}
    if missing:
        print(f"not installed: {', '.join(sorted(missing))}", file=sys.stderr)
    names, good = [name.strip() for name in options.networks.split(",") if name], True
    if names:
        print(head([name for name, *_ in installed()]))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            row = measured(name, Path(folder))
            good &= row.good
            print(line(row), flush=True)
    if options.foreign:
        files = sorted(options.foreign.glob("*.onnx"))
        if not files:
            raise UserError(f"{options.foreign}: has no .onnx files")
        print("\n| model | becomes | largest error |\n|---|---|---:|")
        for path in files:
            becomes, error = foreign(path)
            good &= error <= TOLERANCE
            print(f"| {path.name} | {becomes} | {error:.1e} |")
    return int(not good)


if __name__ == "__main__":
    sys.exit(run(main))
