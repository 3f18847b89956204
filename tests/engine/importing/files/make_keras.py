"""Makes the Keras models of this folder with tf2onnx, and what Keras says about an input.

python tests/engine/importing/files/make_keras.py      # needs keras 3, tensorflow, tf2onnx
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
from keras import layers  # noqa: E402

HERE = Path(__file__).resolve().parent


def grey() -> keras.Model:
    """Images with one channel, and a Flatten of a map before the first Dense."""
    return keras.Sequential(
        [
            keras.Input((10, 8, 1)),
            layers.Rescaling(0.5),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(5, 3, strides=2, padding="same", activation="elu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(6, activation="tanh"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def colour() -> keras.Model:
    """Residual and depthwise convolutions, joined maps, a mean of each channel."""
    given = keras.Input((9, 12, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(given)
    x = layers.Activation("silu")(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    y = layers.add([layers.ReLU(max_value=6)(y), x])
    z = layers.SeparableConv2D(4, 3, strides=2, padding="same", activation="softplus")(y)
    w = layers.AveragePooling2D(2, padding="valid")(layers.ZeroPadding2D(((0, 1), (0, 0)))(y))
    x = layers.LeakyReLU(negative_slope=0.1)(layers.concatenate([z, w]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, layers.Dense(4, activation="sigmoid")(x))


def main() -> None:
    keras.utils.set_random_seed(0)
    for name, model in {"grey": grey(), "colour": colour()}.items():
        draws = np.random.default_rng(0)
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):  # as after some training
                layer.set_weights([draws.uniform(0.5, 1.5, each.shape) for each in layer.get_weights()])
        given = draws.standard_normal((2, *model.input_shape[1:])).astype(np.float32)
        np.savez(HERE / f"keras_{name}.npz", input=given, output=model.predict(given, verbose=0))
        function = tf.function(lambda x, model=model: model(x, training=False))
        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="input")]
        tf2onnx.convert.from_function(function, signature, opset=17, output_path=str(HERE / f"keras_{name}.onnx"))


if __name__ == "__main__":
    main()
