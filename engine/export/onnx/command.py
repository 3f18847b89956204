"""`python -m engine.export NET OUT.onnx`: its options, and the comparison with other engines."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.export.onnx.engines import installed
from engine.export.onnx.model import ANSWERS, IRS, OPSET, OPSETS, OnnxOptions, opset_of, random_input, to_onnx
from engine.export.onnx.quantized import OPSET as QUANTIZED_OPSET
from engine.inspection.activations import activations
from engine.layers import Softmax
from engine.layers.topology import INPUT
from engine.network.network import Network
from engine.quantize.network import AnyNetwork, QuantizedNetwork

TOLERANCE = 1e-5  # of the largest output, that engines may differ by in float32
SAMPLES = 3


def add_arguments(parser: ArgumentParser) -> None:
    default = OnnxOptions()
    group = parser.add_argument_group("options of .onnx files")
    group.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        default=default.opset,
        help=f"version of the operators, {OPSETS[0]} to {OPSETS[-1]} (default: {OPSET}; of a quantised network "
        f"{QUANTIZED_OPSET}, the least for it)",
        metavar="N",
    )
    group.add_argument(
        "--ir",
        type=int,
        choices=IRS,
        default=default.ir,
        help=f"version of the file's format, {IRS[0]} to {IRS[-1]} (default: {default.ir})",
        metavar="N",
    )
    answers = group.add_mutually_exclusive_group()
    answers.add_argument(
        "--softmax", dest="answer", action="store_const", const="softmax", help="the model ends with a Softmax"
    )
    answers.add_argument(
        "--logits", dest="answer", action="store_const", const="logits", help="the model ends without a Softmax"
    )
    parser.set_defaults(answer=ANSWERS[0])
    group.add_argument(
        "--with-preprocess",
        action="store_true",
        help="the model takes uint8 images of the network's size, and scales and normalises them itself; without it "
        "that is stated in the metadata alone",
    )
    group.add_argument(
        "--check",
        action="store_true",
        help="run the file in every engine that is installed (ONNX Runtime, OpenVINO, the reference evaluator, tract), "
        f"print each one's largest error, and end with status 1 where one is above {TOLERANCE:g}",
    )


def write(network: AnyNetwork, path: Path, options: Namespace) -> int:
    """Write the model; with `--check` also run it in other engines, 1 where one of them differs."""
    chosen = OnnxOptions(options.opset, options.ir, options.answer, options.with_preprocess)
    to_onnx(network, path, chosen)
    print(f"written: {path}: opset {opset_of(network, chosen)}, IR {chosen.ir}, {path.stat().st_size:,} bytes")
    return _check(network, path, chosen) if options.check else 0


def _check(network: AnyNetwork, path: Path, options: OnnxOptions) -> int:
    values = random_input(network, SAMPLES, options.preprocess)
    errors = compare(network, path, options, values)
    for name, error in errors.items():
        print(f"{name}: {error if isinstance(error, str) else f'largest error {error:.2g}'}")
    return int(not all(isinstance(error, float) and error <= TOLERANCE for error in errors.values()))


def compare(network: AnyNetwork, path: Path, options: OnnxOptions, values: np.ndarray) -> dict[str, float | str]:
    """Name of every engine that is installed → its largest difference from the network's own output, as a share of the
    largest output where that is above 1; or its refusal in words. UserError where none is installed."""
    expected = expected_output(network, options, values)
    scale = max(1.0, float(np.abs(expected).max()))
    errors: dict[str, float | str] = {}
    for name, engine, run in installed():
        try:
            said = run(engine, path, values)
        except Exception as error:  # whatever an engine of others raises is its answer
            errors[name] = f"refuses the file: {' '.join(str(error).split())[:200]}"
            continue
        if said.shape != expected.shape:
            errors[name] = f"gives shape {said.shape}, expected {expected.shape}"
        else:
            errors[name] = float(np.abs(said - expected).max()) / scale
    if not errors:
        raise UserError("--check: no engine is installed that runs ONNX models")
    return errors


def expected_output(network: AnyNetwork, options: OnnxOptions, values: np.ndarray) -> np.ndarray:
    """What the model must give, by the engine itself."""
    if options.preprocess:
        assert network.preprocess is not None
        values = Preprocess.from_dict(network.preprocess).normalise(values)
    last = network.topology.node(network.topology.output)
    ends = isinstance(last.layer, Softmax)
    if options.answer == "logits" and ends:
        return _before_softmax(network, values)
    said = network.predict(values)
    if options.answer == "softmax" and not ends:
        powers = np.exp(said - said.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return said


def _before_softmax(network: AnyNetwork, values: np.ndarray) -> np.ndarray:
    """What the softmax at the end of a network is given."""
    if isinstance(network, QuantizedNetwork):
        values = network.logits(values)
    part = network if isinstance(network, Network) else network.tail
    assert part is not None
    (before,) = part.topology.node(part.topology.output).inputs
    return values if before == INPUT else activations(part, values, [before])[before]
