"""ONNX's official tests: which of them `engine.from_onnx` reads, and whether the network says what they expect.

`python -m experiments.checks.onnx.node_tests [--kinds node,pytorch-converted,…] [--list]`

A test passes where every output is within the test's own tolerance, is refused where the reading ends with words, and
fails for any other reason: the status is 1 then. A network has one input and one output; where a test feeds weights as
further inputs they are taken for constants. `--list` prints every test with what became of it.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.cli import command_parser, run
from engine.errors import UserError
from engine.importing.onnx.network import HANDLERS, Imported, imported
from engine.network.network import Network
from engine.reading.packages import optional

KINDS = ("node", "pytorch-converted", "pytorch-operator", "simple")
PASSED, REFUSED, FAILED = "passed", "refused", "failed"
MISSING = "the engine has no such operation"


@dataclass(frozen=True)
class Outcome:
    """What became of one test; `operator` is the one that the test is about, or that it was refused for."""

    kind: str
    name: str
    operator: str
    what: str
    reason: str = ""


def outcomes(kind: str) -> list[Outcome]:
    """Of every test of a kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases' own arithmetic
        cases = optional("onnx.backend.test.loader", "onnx", "the check").load_model_tests(kind=kind)
        return [outcome(kind, case) for case in cases]


def outcome(kind: str, case: Any) -> Outcome:
    """Read the model of a case, run it on the case's data, compare."""
    onnx = optional("onnx", "onnx", "the check")
    model = case.model if case.model is not None else onnx.load(f"{case.model_dir}/model.onnx")
    about = model.graph.node[0].op_type if len(model.graph.node) == 1 else "several"
    try:
        for inputs, outputs in data_sets(case, model):
            check(model, inputs, outputs, case.rtol, case.atol)
    except UserError as error:
        text = str(error)
        named = re.match(r"node .*? \((\S+)\): (.*)", text)
        return Outcome(kind, case.name, named[1] if named else about, REFUSED, named[2] if named else text)
    except Exception as error:  # whatever else is raised is a failure, and shown as one
        return Outcome(kind, case.name, about, FAILED, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return Outcome(kind, case.name, about, PASSED)


def data_sets(case: Any, model: Any) -> Iterable[tuple[list[Any], list[Any]]]:
    """Inputs and outputs of a case, in memory or in its folder."""
    if case.data_sets is not None:
        yield from case.data_sets
        return
    onnx = optional("onnx", "onnx", "the check")

    def read(folder: Path, what: str) -> list[Any]:
        found = []
        for path in sorted(folder.glob(f"{what}_*.pb"), key=lambda each: int(each.stem.split("_")[1])):
            found.append(onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
        return found

    for folder in sorted(Path(case.model_dir).glob("test_data_set_*")):
        yield read(folder, "input"), read(folder, "output")


def check(model: Any, inputs: Sequence[Any], outputs: Sequence[Any], rtol: float, atol: float) -> None:
    """AssertionError where the network gives anything but the outputs; UserError where there is no such network."""
    if len(outputs) != 1:
        raise UserError(f"has {len(outputs)} outputs, but a network has one")
    onnx = optional("onnx", "onnx", "the check")
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    names = [each.name for each in model.graph.input if each.name not in {t.name for t in model.graph.initializer}]
    data = next((index for index, each in enumerate(inputs) if is_data(each)), None)
    if data is None:
        raise UserError("has no input that is an array of float32 with a batch")
    for index, (name, value) in enumerate(zip(names, inputs, strict=False)):
        if index != data:
            if not isinstance(value, (np.ndarray, np.generic)):
                raise UserError("has an input that is no array")
            fixed.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    compare(imported(onnx, fixed), inputs[data], outputs[0], rtol, atol)


def is_data(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim > 0 and value.size > 0


def compare(read: Imported, given: Any, expected: Any, rtol: float, atol: float) -> None:
    said = predict(read, given)
    if read.channels_last and expected.ndim == 4 and said.shape[1:] != expected.shape[1:]:
        said = np.moveaxis(said, 1, -1)
    wide = [extent for extent in said.shape[1:] if extent > 1]
    assert wide == [extent for extent in expected.shape[1:] if extent > 1], (said.shape, expected.shape)
    assert len(said) == len(expected)
    np.testing.assert_allclose(said.reshape(expected.shape), expected, rtol=rtol, atol=atol)


def predict(read: Imported, given: Any) -> Any:
    """What the network gives for an input as the model has it."""
    net: Network = read.network
    if read.channels_last:
        given = np.moveaxis(given.reshape(len(given), *given.shape[1:]), -1, 1)
    return net.predict(np.ascontiguousarray(given.reshape(len(given), *net.input_shape)), algorithm="direct")


def report(found: Sequence[Outcome]) -> str:
    """The outcomes as Markdown."""
    lines = ["| tests | passed | refused | failed |", "|---|---:|---:|---:|"]
    for kind in dict.fromkeys(each.kind for each in found):
        count = Counter(each.what for each in found if each.kind == kind)
        lines.append(f"| {kind} | {count[PASSED]} | {count[REFUSED]} | {count[FAILED]} |")
    ours = [each for each in found if each.reason != MISSING]
    lines += ["", "Of operators that the engine has, and of models that are refused as a whole:", ""]
    lines += ["| operator | passed | refused | failed | why refused, or failed |", "|---|---:|---:|---:|---|"]
    grouped: dict[str, list[Outcome]] = defaultdict(list)
    for each in ours:
        grouped[each.operator if each.operator in HANDLERS or each.what != REFUSED else "(others)"].append(each)
    for operator in sorted(grouped):
        count = Counter(each.what for each in grouped[operator])
        reasons = Counter(plain(each.reason) for each in grouped[operator] if each.reason)
        text = "; ".join(f"{reason} ({number})" for reason, number in reasons.most_common())
        lines.append(
            f"| {operator} | {count[PASSED]} | {count[REFUSED]} | {count[FAILED]} | {text.replace('|', '/')} |"
        )
    missing = Counter(each.operator for each in found if each.reason == MISSING)
    names = ", ".join(f"{name} {number}" for name, number in sorted(missing.items()))
    return "\n".join([*lines, "", f"Refused for an operator that the engine does not have: {names}."])


def plain(reason: str) -> str:
    """The reason without the numbers and names of one test."""
    text = re.sub(r"\([^()]*\)", "(…)", re.sub(r"'[^']*'", "…", reason))
    return re.sub(r"(?<![\w.])-?\d[\d.e+-]*", "#", text)[:160]


def main() -> int:
    parser = command_parser("experiments.checks.onnx.node_tests", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS), help="with commas between them (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="every test by name")
    options = parser.parse_args()
    found = [each for kind in options.kinds.split(",") for each in outcomes(kind.strip())]
    if options.list:
        for each in found:
            print(f"{each.kind} {each.name}: {each.what} {each.operator} {each.reason}".rstrip())
    print(report(found))
    return int(any(each.what == FAILED for each in found))


if __name__ == "__main__":
    sys.exit(run(main))
