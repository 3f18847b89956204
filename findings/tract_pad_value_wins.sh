#!/usr/bin/env bash
# tract 0.23.9: a Pad with mode "edge" or "reflect" that also has a constant_value is computed with that constant.
#
# What happens: Pad has an optional third input, constant_value, which the specification uses where the mode is "constant". tract pads
#   with it whatever the mode says: [1, 2, 3] with one edge value on either side becomes [0, 1, 2, 3, 0] where the input is there and 0,
#   and [1, 1, 2, 3, 3] where it is left out. Nothing is said.
# Expected: the same result with and without the input, as ONNX Runtime gives it.
# Hurts: whoever writes every input of a node out, as generated graphs do; borders of every convolution behind are wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 tract==0.23.9 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "tract", version("tract"))
folder = Path(sys.argv[1])
x = np.array([[[[1, 2, 3]]]], np.float32)


def padded(mode, with_value):
    """Row 1, 2, 3 with one value on either side: by ONNX Runtime and by tract."""
    constants = [numpy_helper.from_array(np.array([0, 0, 0, 1, 0, 0, 0, 1], np.int64), "pads")]
    if with_value:
        constants.append(numpy_helper.from_array(np.array(0, np.float32), "value"))
    graph = helper.make_graph(
        [helper.make_node("Pad", ["x", *(each.name for each in constants)], ["y"], mode=mode)],
        "pad",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 5])],
        constants,
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    path = folder / "pad.onnx"
    onnx.save(built, path)
    theirs = tract.onnx().load(str(path)).into_model().into_runnable().run([x])[0].to_numpy()
    return onnxruntime.InferenceSession(path).run(None, {"x": x})[0].ravel().tolist(), theirs.ravel().tolist()


as_seen = True
for mode in ("edge", "reflect"):
    for with_value in (True, False):
        runtime, theirs = padded(mode, with_value)
        print(f"{mode}, constant_value {'0' if with_value else 'left out'}: ONNX Runtime {runtime}, tract {theirs}")
        as_seen &= (theirs == [0, 1, 2, 3, 0]) if with_value else (theirs == runtime)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
