"""The light models that ONNX brings along: which of them are read, and how near they come to ONNX Runtime.

`python -m experiments.checks.onnx.light`

These are nine published networks whose weights the file makes out of constants, so that it is small; most give every
class the same score. Each that is read predicts one random image; the difference is the largest of any output, as a
share of the largest output where that is above 1. The others are refused with the reason. The status is 1 where a
difference is above 1e-5.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.cli import command_parser, run
from engine.errors import UserError
from engine.export.onnx.command import TOLERANCE
from engine.importing.onnx.network import from_onnx
from engine.reading.packages import optional


@dataclass(frozen=True)
class Light:
    """A model: how many layers it becomes and its difference, or why it is refused."""

    name: str
    layers: int = 0
    difference: float = 0.0
    refused: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        if self.refused:
            return self.name, "", "", self.refused
        return self.name, str(self.layers), f"{self.difference:.1e}", ""


def folder() -> Path:
    """Where ONNX keeps the files."""
    return Path(optional("onnx", "onnx", "the check").__file__).parent / "backend" / "test" / "data" / "light"


def compared(path: Path) -> Light:
    """A model read by us and run by both sides."""
    runtime = optional("onnxruntime", "onnx", "the check")
    runtime.set_default_logger_severity(3)  # it warns of what these files hold in vain
    try:
        net = from_onnx(path)
    except UserError as error:
        return Light(path.stem, refused=str(error).removeprefix(f"{path}: "))
    x = np.random.default_rng(0).standard_normal((1, *net.input_shape)).astype(np.float32)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    answer = net.predict(x).reshape(expected.shape)
    difference = float(np.abs(answer - expected).max() / max(1.0, float(np.abs(expected).max())))
    return Light(path.stem, len(net.layers), difference)


def main() -> int:
    command_parser("experiments.checks.onnx.light", description=(__doc__ or "").splitlines()[0]).parse_args()
    files = sorted(folder().glob("*.onnx"))
    if not files:
        raise UserError(f"{folder()}: this ONNX brings no light models along")
    print("| model | layers | difference | refused |\n|---|---:|---:|---|")
    found = [compared(path) for path in files]
    for each in found:
        print(f"| {' | '.join(each.cells)} |")
    read = [each for each in found if not each.refused]
    good = all(each.difference <= TOLERANCE for each in read)
    print(f"\n{len(read)} of {len(found)} read, " + ("all within 1e-5" if good else "FAILED: not all within 1e-5"))
    return int(not good)


if __name__ == "__main__":
    sys.exit(run(main))
