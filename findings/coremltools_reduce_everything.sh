#!/usr/bin/env bash
# coremltools 9.0: PyTorch's argmax() without an axis becomes that of each row, and std() and var() without arguments lose Bessel's correction.
#
# What happens: argmax() and argmin() of a whole tensor hand no axis on to reduce_argmax, whose default is -1: a map of 3 x 3 gives three numbers of columns
#   in the place of one number in the flat map. std() and var() of a whole tensor are divided by n, where PyTorch divides by n - 1; with an axis, or with
#   unbiased=True written out, they are right. The same by torch.jit.trace and by torch.export. Nothing is said (but that PyTorch is newer than 2.7.0).
# Expected: PyTorch's values, or an error, as for the many operators that are not supported. mean(), amax() and the like do reduce everything.
# Hurts: the peak of a heat map, where a batch of one or a broadcast hides the shape; and (x - x.mean()) / x.std() over a short signal or a small patch.
#   With two values it is off by the square root of two.
# How it is seen without Apple's runtime: the reduced tensor is a buffer of the model, so that the converter folds it into a constant by its own rules for its
#   own operators. The same with an input is judged by the shape that the converted program declares.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 coremltools==9.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import logging
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
import coremltools
import numpy as np
import torch

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "coremltools", "numpy")))
X = np.array([[3, 0.5, 1], [2, 1.5, 9], [4, 0.25, 6]], np.float32)
REDUCTIONS = {
    "x.argmax()": (lambda x: x.argmax(), X.argmax(), X.argmax(-1)),
    "x.argmin()": (lambda x: x.argmin(), X.argmin(), X.argmin(-1)),
    "x.std()": (lambda x: x.std(), X.std(ddof=1), X.std()),
    "x.var()": (lambda x: x.var(), X.var(ddof=1), X.var()),
    "x.std(unbiased=True)": (lambda x: x.std(unbiased=True), X.std(ddof=1), None),
    "x.std((0, 1))": (lambda x: x.std((0, 1)), X.std(ddof=1), None),
    "x.mean()": (lambda x: x.mean(), X.mean(), None),
    "x.amax()": (lambda x: x.amax(), X.max(), None),
}


class Of(torch.nn.Module):
    """The reduction of the input, or of a constant, to which the input is added."""

    def __init__(self, reduction, constant):
        super().__init__()
        self.reduction = reduction
        if constant:
            self.register_buffer("data", torch.tensor(X))

    def forward(self, x):
        return x + self.reduction(self.data) if hasattr(self, "data") else self.reduction(x)


def converted(model, way):
    x = torch.tensor(X)
    options = {}
    if way == "trace":
        program = torch.jit.trace(model.eval(), x)
        options["inputs"] = [coremltools.TensorType(shape=X.shape, dtype=np.float32)]
    else:
        program = torch.export.export(model.eval(), (x,)).run_decompositions({})
    options.update(convert_to="milinternal", minimum_deployment_target=coremltools.target.iOS17)
    return coremltools.convert(program, compute_precision=coremltools.precision.FLOAT32, **options).functions["main"]


as_seen = True
for name, (reduction, truth, wrong) in REDUCTIONS.items():
    pytorch = reduction(torch.tensor(X)).numpy()
    as_seen &= bool(pytorch.shape == () and np.allclose(pytorch, truth))
    for way in ("trace", "export"):
        shape = converted(Of(reduction, False), way).outputs[0].shape
        sums = [each for each in converted(Of(reduction, True), way).operations if each.op_type == "add"]
        folded = next(side.val for side in (sums[-1].y, sums[-1].x) if side.val is not None)
        print(f"{name:20} by {way:6}: NumPy and PyTorch {float(truth):.4f}, coremltools {np.round(np.float64(folded), 4).tolist()} of shape {tuple(shape)}")
        expected = truth if wrong is None else wrong
        as_seen &= bool(np.allclose(folded, expected) and np.shape(folded) == np.shape(expected) == tuple(shape))
        as_seen &= wrong is None or not (np.shape(wrong) == () and np.allclose(wrong, truth, atol=1e-2))
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py" 2> "$work/err" || { tail -n 20 "$work/err"; exit 1; }
