#!/usr/bin/env bash
# onnxruntime 1.32.0: a TreeEnsembleClassifier of two classes that has base_values drops the trees of its second class, also where the values are zeros.
#
# What happens: with base_values (b0, b1) and trees that sum to s0 and s1, the scores are -(b1 + s0) and b1 + s0: the second class gets the first's trees,
#   under its own base, and the first the negative of that. s1 and b0 are not used at all. Writing base_values [0, 0] out, which the specification takes for
#   none, thus turns labels round. Without it the scores are right, but the label goes by the second's sign alone: it is 1 at scores (0.5, 0.1) and 0
#   at (-3, -1). Three classes are right in each case, and no message is given.
# Expected: b0 + s0 and b1 + s1, and the label of the greater: "base values for classification, added to final class score". The reference evaluator does so.
# Hurts: forests and boosters with trees for either class, or a prior for each: half of the model is ignored. Converters that give both classes to one tree
#   are hit as well as files written by hand.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")))
X = np.array([[-1], [1]], np.float32)


def build(leaves, base, post):
    """One tree for each class, with one split, at x <= 0, and two leaves."""
    classes = len(leaves)
    attributes = {
        "nodes_treeids": [t for t in range(classes) for _ in range(3)],
        "nodes_nodeids": [0, 1, 2] * classes,
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * classes,
        "nodes_featureids": [0] * 3 * classes,
        "nodes_values": [0.0] * 3 * classes,
        "nodes_truenodeids": [1, 0, 0] * classes,
        "nodes_falsenodeids": [2, 0, 0] * classes,
        "nodes_missing_value_tracks_true": [0] * 3 * classes,
        "class_treeids": [t for t in range(classes) for _ in range(2)],
        "class_nodeids": [1, 2] * classes,
        "class_ids": [t for t in range(classes) for _ in range(2)],
        "class_weights": [float(weight) for pair in leaves for weight in pair],
        "classlabels_int64s": list(range(classes)),
        "post_transform": post,
    } | ({} if base is None else {"base_values": base})
    graph = helper.make_graph(
        [helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", **attributes)],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]), helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", classes])],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    return built


def after(scores, post):
    if post == "NONE":
        return scores
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def compare(leaves, base, post):
    model = build(leaves, base, post)
    sums = np.array(leaves).T
    added = np.zeros(len(leaves)) if base is None else np.array(base)
    truth = after(sums + added, post)
    labels, scores = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": X})
    by_reference = ReferenceEvaluator(model).run(None, {"x": X})
    described = False
    if len(leaves) == 2:
        first = sums[:, :1] + added[1]
        given = (truth, sums[:, 1]) if base is None else (after(np.hstack([-first, first]), post), first[:, 0])
        described = np.allclose(scores, given[0], atol=1e-5) and labels.tolist() == (given[1] > 0).astype(int).tolist()
    reference = np.allclose(by_reference[1], truth, atol=1e-5) and by_reference[0].tolist() == truth.argmax(1).tolist()
    seen = [bool(np.allclose(scores, truth, atol=1e-5)), labels.tolist() == truth.argmax(1).tolist(), bool(described), bool(reference)]
    print(f"{len(leaves)} classes, base_values {base}, {post}: by hand {truth.round(4).tolist()} {truth.argmax(1).tolist()}, "
          f"ONNX Runtime {scores.astype(float).round(4).tolist()} {labels.tolist()}, reference the same as by hand: {bool(reference)}")
    return seen


BOTH = ((-0.2, 0.5), (0.9, 0.1))
BELOW = ((-3, -1), (-1, -2))
THIRD = (*BOTH, (0.3, -0.4))
as_seen = True
for post in ("NONE", "SOFTMAX"):
    for leaves in (BOTH, BELOW):
        as_seen &= compare(leaves, None, post) == [True, False, True, True]
        for base in ([0.0, 0.0], [1.0, 0.3]):
            scores_right, _, *others = compare(leaves, base, post)
            as_seen &= not scores_right and others == [True, True]
    for base in (None, [0.0, 0.0, 0.0], [1.0, 0.3, 0.1]):
        as_seen &= compare(THIRD, base, post) == [True, True, False, True]
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
