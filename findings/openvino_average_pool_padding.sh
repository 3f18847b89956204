#!/usr/bin/env bash
# OpenVINO 2026.4.1, CPU: in an int8 network an average pool that counts its padding takes a padded place for the code 0, not for the number 0.
#
# What happens: behind QuantizeLinear and DequantizeLinear an AveragePool with count_include_pad=1 is computed of the codes, the zero point being subtracted
#   afterwards. Its padding enters as code 0, which stands for -zero_point * step: a plain of ones with zero point 128 and a step of 1/16 has corners of -4 in
#   the place of 4/9. The same with the zeros written out, a Pad in front of a pool without padding. A zero point of 0, count_include_pad=0, and the network
#   without quantisation are right, precision f32 and EXECUTION_MODE_HINT "ACCURACY" change nothing, and nothing is said.
# Expected: padding of 0, as the graph's DequantizeLinear in front of the pool has it, and as ONNX Runtime, the reference and the sum by hand do.
# Hurts: Inception and its kind, with an average pool of 3 by 3 in each block, where PyTorch's AvgPool2d counts the padding unless told otherwise: what follows
#   a ReLU has the zero point 0 and passes, what follows a linear or SiLU activation has not, and only the border of each map is wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime", "openvino")))
STEP = 1 / 16


def model(shape, zero, counted, written_out, quantised):
    """A pool of 3 by 3 with one place of padding on each side, of x in codes."""
    constants = [numpy_helper.from_array(np.float32(STEP), "step"), numpy_helper.from_array(zero, "zero")]
    nodes, real = [], "x"
    if quantised:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["codes"]),
            helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["real"]),
        ]
        real = "real"
    if written_out:
        constants.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads"))
        nodes.append(helper.make_node("Pad", [real, "pads"], ["wider"]))
        nodes.append(helper.make_node("AveragePool", ["wider"], ["y"], kernel_shape=[3, 3]))
    else:
        nodes.append(helper.make_node("AveragePool", [real], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=counted))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    used = constants if quantised else constants[2:]
    built = helper.make_model(helper.make_graph(nodes, "pool", info[:1], info[1:], used), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    return built


def summed(x, padding):
    """The means of 3 by 3 with `padding` around x."""
    wider = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=padding)
    return np.lib.stride_tricks.sliding_window_view(wider, (3, 3), (2, 3)).mean((4, 5))


def compare(title, x, zero, counted=1, written_out=False, quantised=True, **settings):
    built = model(list(x.shape), zero, counted, written_out, quantised)
    data, core = built.SerializeToString(), openvino.Core()
    theirs = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_NUM_THREADS": 1, **settings})([x])[0]
    others = [onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0], ReferenceEvaluator(built).run(None, {"x": x})[0]]
    right = summed(x, 0) if counted else summed(x, 0) / summed(np.ones_like(x), 0)
    if not all(np.allclose(y, right, atol=1e-5) for y in others):
        sys.exit(f"{title}: ONNX Runtime or the reference is not as by hand")
    good, code_0 = np.allclose(theirs, right, atol=1e-5), np.allclose(theirs, summed(x, -float(zero) * STEP), atol=1e-5)
    print(f"{title}: OpenVINO is right: {good}, as by hand with padding of code 0: {code_0}; first row {np.round(theirs[0, 0, 0].astype(float), 4).tolist()}, "
          f"right {np.round(right[0, 0, 0], 4).tolist()}")
    return good, code_0


ones = np.ones((1, 2, 4, 4), np.float32)
random = (np.random.default_rng(1).integers(-100, 101, (2, 3, 7, 7)) * STEP).astype(np.float32)
middle = np.uint8(128)
wrong = [
    compare("ones, zero point 128", ones, middle),
    compare("the same as Pad and a pool", ones, middle, written_out=True),
    compare("int8, zero point -20", ones, np.int8(-20)),
    compare("random numbers, zero point 128", random, middle),
    compare("the same in f32 for accuracy", random, middle, INFERENCE_PRECISION_HINT="f32", EXECUTION_MODE_HINT="ACCURACY"),
]
right = [
    compare("random numbers, padding not counted", random, middle, counted=0),
    compare("random numbers, int8 and zero point 0", random, np.int8(0)),
    compare("random numbers, no quantisation", random, middle, quantised=False),
]
as_seen = all(seen == (False, True) for seen in wrong) and all(good for good, _ in right)
print("padding is code 0:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
