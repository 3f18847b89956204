"""Makes sklearn_mlp.onnx of this folder with skl2onnx, and what scikit-learn says about an input.

python tests/engine/importing/files/make_sklearn.py    # needs scikit-learn, skl2onnx
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent


def main() -> None:
    samples, labels = load_iris(return_X_y=True)
    samples = samples.astype(np.float32)
    model = MLPClassifier((8, 6), activation="tanh", random_state=0, max_iter=300).fit(samples, labels)
    written = to_onnx(model, samples[:1], options={"zipmap": False}, target_opset=17)
    (HERE / "sklearn_mlp.onnx").write_bytes(written.SerializeToString())
    given = samples[::30]
    np.savez(HERE / "sklearn_mlp.npz", input=given, output=model.predict_proba(given).astype(np.float32))


if __name__ == "__main__":
    main()
