#!/usr/bin/env bash
# IREE 3.13.0: the second output of MaxPool counts inside one channel of one image.
#
# What happens: the specification flattens Indices over the whole tensor. The ONNX importer of IREE compiles the node without a word and
#   numbers the places of each channel of each image from 0 again. Y itself is right.
# Expected: x.reshape(-1)[indices] equal to Y, as with ONNX Runtime.
# Hurts: whoever unpools (MaxUnpool of SegNet and the like) or looks up where the maximum was: every index is in range, so nothing fails,
#   and everything but the first channel lands in the first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 iree-base-compiler==3.13.0 iree-base-runtime==3.13.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys
from importlib.metadata import version

import iree.compiler
import iree.runtime
import numpy as np
import onnx
import onnxruntime
from iree.compiler import ir
from iree.compiler.extras import onnx_importer
from onnx import TensorProto, helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "iree", version("iree-base-compiler"))


def by_iree(built, x):
    info = onnx_importer.ModelInfo(built)
    module = info.create_module(context=ir.Context()).operation
    onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
    flags = ["--iree-llvmcpu-target-cpu=generic"]
    code = iree.compiler.compile_str(module.get_asm(), input_type="onnx", target_backends=["llvm-cpu"], extra_args=flags)
    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    context.add_vm_module(iree.runtime.VmModule.copy_buffer(context.instance, code))
    return [np.asarray(each) for each in context.modules.module["pool"](x)]


def looked_up(shape):
    """Whether x at Indices is Y: by ONNX Runtime and by IREE."""
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).astype(np.float32).reshape(shape)
    out = [*shape[:2], *(n // 2 for n in shape[2:])]
    graph = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2])],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out), helper.make_tensor_value_info("i", TensorProto.INT64, out)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    print("input", shape)
    right = []
    for name, (y, i) in (
        ("ONNX Runtime", onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"x": x})),
        ("IREE", by_iree(built, x)),
    ):
        print(f"  {name:12} Y {y.astype(int).ravel().tolist()} Indices {i.ravel().tolist()} points at", end=" ")
        print(x.ravel()[i].astype(int).ravel().tolist())
        right.append(bool((x.ravel()[i] == y).all()))
    print("  right by lookup:", right)
    return right


as_seen = [
    looked_up((1, 1, 4, 4)) == [True, True],
    looked_up((1, 2, 4, 4)) == [True, False],
    looked_up((2, 1, 4, 4)) == [True, False],
]
sys.exit(0 if all(as_seen) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
