"""Writes keras.zip beside this file: models as .keras and .h5, weights alone, and what they answer to an input.

Run it where Keras and a backend (KERAS_BACKEND) are installed; it needs nothing of this project. NAME.npz has x and y,
x in the order N, C, H, W.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

ARCHIVE = Path(__file__).with_name("keras.zip")


def lenet() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((12, 10, 2)),
            layers.Conv2D(3, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, name="conv2"),
            layers.PReLU(shared_axes=(1, 2), name="act2"),
            layers.Flatten(),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.2),
            layers.Dense(7, activation="relu", name="fc1"),
            layers.Dense(5, activation="softmax", name="fc2"),
        ]
    )


def residual() -> keras.Model:
    """The layers have Keras's own names: only their order tells them apart."""
    x = inputs = keras.Input((8, 8, 2))
    x = layers.BatchNormalization(epsilon=1e-5)(layers.Conv2D(4, 3, padding="same", use_bias=False)(x))
    y = layers.BatchNormalization(epsilon=1e-5)(layers.Conv2D(4, 3, padding="same", use_bias=False)(x))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(layers.ReLU()(y))
    y = layers.BatchNormalization(epsilon=1e-5)(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def depthwise() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6, 8, 3)),
            layers.Conv2D(4, 3, padding="same", name="stem"),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False, name="depthwise"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(6.0),
            layers.Conv2D(6, 1, name="point"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(4, name="head"),
        ]
    )


def write(folder: Path) -> None:
    for name, make in {"lenet": lenet, "residual": residual, "depthwise": depthwise}.items():
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        model = make()
        rng = np.random.default_rng(0)
        for layer in model.layers:
            layer.set_weights([v + rng.random(v.shape) if v.ndim == 1 else v for v in layer.get_weights()])
        x = rng.random((3, *model.input_shape[1:]), np.float32)
        y = np.asarray(model.predict_on_batch(x))
        np.savez(folder / f"{name}.npz", x=x.transpose(0, 3, 1, 2), y=y)
        model.save(folder / f"{name}.keras")
        if name == "lenet":
            model.save(folder / "lenet.h5")
            model.save_weights(folder / "lenet.weights.h5")
    inputs = keras.Input((4,))
    function = keras.Sequential([inputs, layers.Dense(3), layers.Lambda(lambda x: x * 2)])
    function.save(folder / "lambda.keras")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        write(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            archive.write(path, path.name)


if __name__ == "__main__":
    main()
