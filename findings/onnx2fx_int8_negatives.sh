#!/usr/bin/env bash
# onnx2fx 0.0.1: QuantizeLinear with an int8 zero point is cut to codes 0 to 255, so all that is negative becomes 0, and scales per channel go along the last axis.
#
# What happens: every QuantizeLinear that has a zero point gives uint8, whatever that zero point's type is, and so do QLinearMatMul and QLinearConv: -1 becomes
#   0, 1000 in 16 bits becomes 255. Behind a DequantizeLinear it reads as a ReLU at each place where the network is quantised. Without a zero point it is always
#   int8. `axis` of QuantizeLinear and DequantizeLinear is not read: scales for each row are taken for the columns where there are as many of both, else
#   PyTorch raises an error. DynamicQuantizeLinear spans from the smallest to the largest number without 0 among them: 1 to 3 comes back as 1, 2, 2.
#   uint8 with one scale is right. The README lists these operators but the last without restriction; nothing is said.
# Expected: codes of the zero point's type, the scales along `axis`, and a span with 0 in it, as the specification and ONNX Runtime have it, or a refusal.
# Hurts: whoever brings a quantised network to PyTorch with it: symmetric int8, what most quantisers and accelerators write, answers as from another network.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx2fx==0.0.1 torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import numpy as np
import onnx
import onnx2fx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx2fx", "torch", "onnx", "onnxruntime")))
X = np.array([[-2.0, -1.0, -0.25, 0.0], [0.5, 1.0, 3.0, 7.5], [-7.5, 2.0, 0.75, -0.5], [1.5, -3.0, 4.0, 6.0]], np.float32)


def case(title, nodes, constants, x=X, opset=21):
    """What onnx2fx and the definition have for the last output of `nodes`, and whether they agree."""
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)], [helper.make_empty_tensor_value_info(nodes[-1].output[0])]
    model = helper.make_model(helper.make_graph(nodes, "codes", *ends, held), opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    right = ReferenceEvaluator(model).run(None, {"x": x})[0]
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    if not np.allclose(runtime.astype(float), right.astype(float), atol=1e-4):
        sys.exit(f"{title}: ONNX Runtime and the reference differ")
    with torch.no_grad():
        theirs = onnx2fx.convert(model)(torch.from_numpy(x)).numpy()
    good = theirs.dtype == right.dtype and np.allclose(theirs.astype(float), right.astype(float), atol=1e-4)
    print(f"{title}: {'right' if good else 'wrong'}")
    if not good:
        print(f"    right   {right.dtype} {right.ravel()[:8].tolist()}\n    onnx2fx {theirs.dtype} {theirs.ravel()[:8].tolist()}")
    return good, theirs


def there(dtype, back=True, step=np.float32(0.25), zero=0, **attributes):
    """Codes of x, and the numbers they stand for if `back`."""
    zeros = np.full(np.shape(step), zero, dtype)
    nodes = [helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["codes"], **attributes)]
    if back:
        nodes.append(helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["y"], **attributes))
    return nodes, {"step": np.asarray(step, np.float32), "zero": zeros}


wrong, right = [], []
cut = case("int8 codes", *there(np.int8, back=False))
wrong.append(cut[0])
relu = case("int8 there and back", *there(np.int8))
wrong.append(relu[0])
as_relu = np.array_equal(relu[1], np.maximum(X, 0)) and cut[1].dtype == np.uint8
for dtype in (np.int16, np.uint16):
    wrong.append(case(f"{np.dtype(dtype)} there and back", *there(dtype, step=np.float32(1 / 64)))[0])
steps = np.array([0.25, 0.5, 1, 2], np.float32)
wrong.append(case("uint8, a scale for each row", *there(np.uint8, step=steps, zero=128, axis=0))[0])
right.append(case("uint8, a scale for each column", *there(np.uint8, step=steps, zero=128, axis=1))[0])
right.append(case("uint8 there and back", *there(np.uint8, zero=128))[0])
nodes, constants = there(np.int8)
right.append(case("int8 without a zero point", [helper.make_node("QuantizeLinear", ["x", "step"], ["y"], output_dtype=TensorProto.INT8)], {"step": constants["step"]})[0])

codes = (X * 4).astype(np.int8)
scale, zero = {"s": np.float32(0.25), "t": np.float32(4)}, {"z": np.int8(0)}
names = ["x", "s", "z", "w", "s", "z", "t", "z"]
wrong.append(case("QLinearMatMul, int8", [helper.make_node("QLinearMatMul", names, ["y"])], {**scale, **zero, "w": codes}, codes)[0])
image = codes.reshape(1, 1, 4, 4)
wrong.append(case("QLinearConv, int8", [helper.make_node("QLinearConv", names, ["y"])], {**scale, **zero, "w": image[..., :2, :2]}, image)[0])
unsigned = {**scale, "z": np.uint8(20), "w": (codes + 32).astype(np.uint8)}
right.append(case("QLinearMatMul, uint8", [helper.make_node("QLinearMatMul", names, ["y"])], unsigned, (codes + 32).astype(np.uint8))[0])

dynamic = [helper.make_node("DynamicQuantizeLinear", ["x"], ["c", "s", "z"]), helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"])]
high = case("DynamicQuantizeLinear of 1, 2, 3", dynamic, {}, np.array([1, 2, 3], np.float32))
wrong.append(high[0])
right.append(case("DynamicQuantizeLinear of -1, 2, 3", dynamic, {}, np.array([-1, 2, 3], np.float32))[0])
print("int8 is a ReLU:", as_relu, "- wrong:", wrong, "- right:", right)
sys.exit(0 if as_relu and not any(wrong) and all(right) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
