#!/usr/bin/env bash
# OpenCV 5.0.0 dnn: in an int8 depthwise convolution the last places of each map take the padding for code 0, the others for the zero point.
#
# What happens: behind QuantizeLinear and DequantizeLinear padding is the code of 0, the zero point. OpenCV does so, but in the last few values of each
#   channel, one of 7 by 7 or of 5 by 5, four of 6 by 6 or 10 by 10, it counts a padded place as code 0, that is -zero_point * step. So just the lower right
#   corner of each map is wrong, by as much as the range has. 8 by 8 and 28 by 28 are right, 14 by 14 on one thread alone. A zero point of 0 and no padding
#   are right too.
# Expected: one padding for all places, as ONNX Runtime, the reference and the sum by hand have it.
# Hurts: int8 networks with depthwise convolutions behind a SiLU, hard swish or linear layer (EfficientNet, MobileNet V3, ConvNeXt), whose last stage at
#   224 by 224 is of 7 by 7: one place in 49 of every channel is noise, which goes into each mean, and a comparison on a larger image sees nothing.
# Seen on x86-64 with AVX2 or more; how many places are left over may be another number elsewhere.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")), "OpenCV", cv2.__version__)
cv2.setNumThreads(1)
CHANNELS, STEP, WEIGHT, END = 4, 1 / 16, 1 / 64, 1 / 2  # steps of the input, the weights and the output


def model(shape, zero, weights, pad, size):
    arrays = {
        "step": np.float32(STEP), "zero": np.uint8(zero), "w": weights, "w_step": np.float32(WEIGHT), "w_zero": np.int8(0),
        "end": np.float32(END), "middle": np.uint8(128),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["real"]),
        helper.make_node("DequantizeLinear", ["w", "w_step", "w_zero"], ["weights"]),
        helper.make_node("Conv", ["real", "weights"], ["sum"], group=CHANNELS, pads=[pad] * 4, kernel_shape=list(weights.shape[2:])),
        helper.make_node("QuantizeLinear", ["sum", "end", "middle"], ["last"]),
        helper.make_node("DequantizeLinear", ["last", "end", "middle"], ["y"]),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, *sides]) for name, sides in (("x", shape), ("y", size))]
    constants = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    built = helper.make_model(helper.make_graph(nodes, "depthwise", info[:1], info[1:], constants), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    return built


def summed(codes, zero, weights, pad, padding):
    """The convolution with the code `padding` around."""
    wider = np.pad(codes, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=padding) - zero
    windows = np.lib.stride_tricks.sliding_window_view(wider, weights.shape[2:], (2, 3))
    sums = (windows * weights[None, :, 0, None, None]).sum((4, 5)) * STEP * WEIGHT
    return np.clip(np.rint(sums / END), -128, 127) * END


def compare(shape, zero, pad=1, kernel=3):
    """How many of each channel's places are wrong, whether they are its last, and as by hand with padding of code 0."""
    random = np.random.default_rng(2)
    weights = random.integers(-30, 31, (CHANNELS, 1, kernel, kernel)).astype(np.int8)
    codes = random.integers(0, 256, (1, CHANNELS, *shape))
    x = ((codes - zero) * STEP).astype(np.float32)
    right, other = (summed(codes, zero, weights.astype(int), pad, padding) for padding in (zero, 0))
    built = model(shape, zero, weights, pad, right.shape[2:])
    data = built.SerializeToString()
    ort = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    reference = ReferenceEvaluator(built).run(None, {"x": x})[0]
    if not np.allclose(ort, right, atol=1e-6) or not np.allclose(reference, right, atol=1e-6):
        sys.exit("ONNX Runtime or the reference is not as by hand")
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(x, "x")
    y = net.forward()
    wrong = (np.abs(y - right) > 1.01 * END).reshape(CHANNELS, -1)  # halves may be rounded either way
    count = int(wrong.any(0).sum())
    last = not wrong[:, : wrong.shape[1] - count].any()
    as_code_0 = bool(np.abs(y - other).reshape(CHANNELS, -1)[wrong].max(initial=0) < 1.01 * END)
    print(f"{shape[0]} by {shape[1]}, kernel {kernel}, pad {pad}, zero point {zero}: {count} places of a channel wrong, all at the end {last}, "
          f"there as with padding of code 0 {as_code_0}; last by hand {right[0, :, -1, -1].tolist()}, OpenCV {y[0, :, -1, -1].tolist()}")
    return count if last and as_code_0 else -1


wrong = [compare((7, 7), 100), compare((7, 7), 128, pad=2, kernel=5), compare((5, 5), 128), compare((6, 6), 100), compare((10, 10), 128)]
right = [compare((8, 8), 128), compare((14, 14), 128), compare((28, 28), 100), compare((7, 7), 0), compare((7, 7), 128, pad=0)]
cv2.setNumThreads(2)
print("on two threads", end=" ")
compare((14, 14), 128)
as_seen = min(wrong) > 0 and not any(right)
print("the last places have another padding:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
