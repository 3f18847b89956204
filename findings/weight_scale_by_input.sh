#!/usr/bin/env bash
# onnxruntime 1.32.0, OpenVINO 2026.4.1, OpenCV 5.0.0: weights with a scale per input, not per output, are dequantised by other scales.
#
# What happens: DequantizeLinear names the axis of its scales, and a weight may have them along its inputs. OpenVINO takes the first scale for all in a
#   product of one or two rows, whether its activations are quantised or floats. With quantised activations ONNX Runtime, at its default level, and OpenCV
#   turn Conv and Gemm into an integer product and take scale i for output i, where there are as many inputs as outputs; of other sizes ONNX Runtime raises
#   an error. Nothing is said otherwise. ORT_DISABLE_ALL and BASIC are right.
# Expected: each weight times its own scale, as the graph says; such a node cannot be an integer product and should be left as it is.
# Hurts: schemes that move the difficulty from activations to weights by input channel; and whoever leaves `axis` out, since its default is 1: for a Conv, or a
#   Gemm with transB=1, that is the input. Square layers, which most blocks have, give numbers of the right size, and no two tools agree on them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 \
  opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime", "openvino")), "OpenCV", cv2.__version__)
STEP = 1 / 16  # of the activations
LEVELS = onnxruntime.GraphOptimizationLevel


def model(operator, attributes, x, weights, scales, axis, quantised):
    constants = [numpy_helper.from_array(value, name) for name, value in (
        ("step", np.float32(STEP)), ("zero", np.uint8(128)), ("w", weights.astype(np.int8)), ("scales", scales.astype(np.float32)),
        ("zeros", np.zeros(len(scales), np.int8)))]  # fmt: skip
    nodes = [helper.make_node("DequantizeLinear", ["w", "scales", "zeros"], ["weights"], axis=axis)]

    def rounded(name):
        if not quantised:
            return name
        nodes.append(helper.make_node("QuantizeLinear", [name, "step", "zero"], [f"{name}_codes"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_codes", "step", "zero"], [f"{name}_real"]))
        return f"{name}_real"

    nodes.append(helper.make_node(operator, [rounded("x"), "weights"], ["product"], **attributes))
    last = rounded("product")
    outputs = weights.shape[0] if operator == "Conv" or attributes else weights.shape[1]
    shapes = [list(x.shape), [x.shape[0], outputs, *x.shape[2:]]]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(("x", last), shapes)]
    used = constants if quantised else constants[2:]
    built = helper.make_model(helper.make_graph(nodes, "scales", info[:1], info[1:], used), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    return built.SerializeToString()


def by_runtime(level):
    def run(data, x):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]

    return run


def by_openvino(data, x):
    core = openvino.Core()
    return core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})([x])[0]


def by_opencv(data, x):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(x, "x")
    return net.forward()


ENGINES = {"ORT plain": by_runtime(LEVELS.ORT_DISABLE_ALL), "ORT basic": by_runtime(LEVELS.ORT_ENABLE_BASIC), "ORT": by_runtime(LEVELS.ORT_ENABLE_ALL),
           "OpenVINO": by_openvino, "OpenCV": by_opencv}  # fmt: skip


def product(x, matrix, quantised):
    """x times a matrix of (inputs, outputs) along axis 1, and rounded to codes."""
    y = np.einsum("ni...,io->no...", x.astype(float), matrix)
    return np.clip(np.rint(y / STEP), -128, 127) * STEP if quantised else y


def compare(title, rows, operator, transposed, quantised):
    """What each engine did: right, or scales of the outputs, or the first scale for all, or something else."""
    random = np.random.default_rng(rows)
    matrix, scales = random.integers(-9, 10, (4, 4)), np.array([1, 2, 4, 8]) / 32
    x = (random.integers(-32, 33, (rows, 4, 3, 3) if operator == "Conv" else (rows, 4)) * STEP).astype(np.float32)
    weights = matrix.T if transposed else matrix
    attributes = {"transB": 1} if operator == "Gemm" and transposed else {}
    if operator == "Conv":
        weights = weights.reshape(4, 4, 1, 1)
    data = model(operator, attributes, x, weights, scales, int(transposed), quantised)
    known = {"right": matrix * scales[:, None], "by output": matrix * scales, "the first": matrix * scales[0]}
    off = 1.01 * STEP if quantised else 1e-4  # halves may be rounded either way
    seen = {}
    for name, engine in ENGINES.items():
        y = engine(data, x)
        fitting = [how for how, taken in known.items() if np.allclose(y, product(x, taken, quantised), atol=off)]
        seen[name] = fitting[0] if fitting else "another"
    print(f"{title}: {seen}")
    return seen


conv = compare("Conv 1x1, int8", 1, "Conv", True, True)
gemm = compare("Gemm with transB, int8, 6 rows", 6, "Gemm", True, True)
plain = compare("Gemm, int8, 6 rows", 6, "Gemm", False, True)
row = compare("MatMul, float activations, a row", 1, "MatMul", False, False)
gemm_row = compare("Gemm with transB, float activations, a row", 1, "Gemm", True, False)
two = compare("MatMul, float activations, two rows", 2, "MatMul", False, False)
int_row = compare("MatMul, int8, a row", 1, "MatMul", False, True)
cases = (conv, gemm, plain, row, gemm_row, two, int_row)
as_seen = all(case["ORT plain"] == case["ORT basic"] == "right" for case in cases)
as_seen = as_seen and all(case["ORT"] == case["OpenCV"] == "by output" for case in (conv, gemm, plain))
as_seen = as_seen and all(case["OpenVINO"] == "the first" for case in (row, gemm_row, two, int_row))
print("scales of the inputs are taken for others:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
