"""Keras: its own layers and optimisers, maps in the order N, H, W, C.

The backend is TensorFlow, with the step as a tf.function, which is faster than `train_on_batch` and, on CPUs, than with
jit_compile. Where TensorFlow is not installed it is JAX, or PyTorch (KERAS_BACKEND overrides), with `train_on_batch`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.peers import job as jobs
from experiments.peers.job import Job, Node, Prepared

if "KERAS_BACKEND" not in os.environ:
    installed = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
    os.environ["KERAS_BACKEND"] = (installed or ["tensorflow"])[0]

import keras  # noqa: E402  (reads KERAS_BACKEND when it is imported)

if keras.backend.backend() == "tensorflow":
    import tensorflow


def version() -> str:
    backend = keras.backend.backend()
    return f"keras {keras.__version__} on {backend} {importlib.import_module(backend).__version__}"


def prepare(job: Job, side: str) -> Prepared:
    if keras.backend.backend() == "tensorflow":
        tensorflow.config.threading.set_intra_op_parallelism_threads(job.threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(job.threads)
    model = network_of(job)
    x = np.ascontiguousarray(job.arrays["x"].transpose(0, 2, 3, 1))
    y = job.arrays["y"].astype(np.int32)
    if not job.trains:
        return Prepared(lambda: _channels_first(np.asarray(model.predict_on_batch(x))))
    optimizer: Any = (
        keras.optimizers.SGD(job.learning_rate, momentum=jobs.MOMENTUM)
        if job.optimizer == jobs.SGD
        else keras.optimizers.Adam(job.learning_rate, *jobs.BETAS, epsilon=jobs.EPSILON)
    )
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if keras.backend.backend() == "tensorflow":
        return Prepared(_tensorflow_step(model, optimizer, loss_of, x, y))
    model.compile(optimizer, loss_of)

    def step() -> float:
        # Keras gives the mean of the losses since the metrics were reset last.
        model.reset_metrics()
        return float(model.train_on_batch(x, y))

    return Prepared(step)


def _channels_first(outputs: Any) -> Any:
    return outputs.transpose(0, 3, 1, 2) if outputs.ndim == 4 else outputs


def _tensorflow_step(model: Any, optimizer: Any, loss_of: Any, x: Any, y: Any) -> Callable[[], float]:
    optimizer.build(model.trainable_variables)
    images, labels = tensorflow.constant(x), tensorflow.constant(y)

    @tensorflow.function
    def step(images: Any, labels: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss

    return lambda: float(step(images, labels))


def network_of(job: Job) -> Any:
    """A Keras model with the job's weights; without the Softmax at its end where it trains."""
    nodes = job.layers(logits=job.trains)
    channels, *extents = nodes[0].shape
    values = {nodes[0].inputs[0]: keras.Input((*extents, channels), job.batch)}
    parts = [_layers(node) for node in nodes]
    for node, part in zip(nodes, parts, strict=True):
        value: Any = [values[each] for each in node.inputs]
        for layer in part:
            value = layer(value[0] if isinstance(value, list) and len(value) == 1 else value)
        values[node.name] = value
    model = keras.Model(values[nodes[0].inputs[0]], values[nodes[-1].name])
    for position, (node, part) in enumerate(zip(nodes, parts, strict=True)):
        names = ("weights", "bias", "running_mean", "running_var") if node.kind == "BatchNorm" else ("weights", "bias")
        arrays = [array for name in names if (array := job.get(node, name)) is not None]
        if not arrays:
            continue
        if node.kind in ("Conv2D", "ConvTranspose2D"):
            arrays[0] = arrays[0].transpose(2, 3, 1, 0)
        elif node.kind == "Linear":
            arrays[0] = job.weights_channels_last(position)
        part[-1].set_weights(arrays)
    return model


def _layers(node: Node) -> list[Any]:
    """The layer's counterparts; the last has the weights."""
    given = node.arguments
    match node.kind:
        case "Conv2D":
            return _convolution(node)
        case "Linear":
            return [keras.layers.Dense(given["out_features"], use_bias=given["bias"])]
        case "MaxPool2D":
            if node.pair("padding") != (0, 0):
                raise NotImplementedError("padding of a max-pool")
            return [keras.layers.MaxPooling2D(node.pair("kernel"), node.pair("stride", default="kernel"))]
        case "AvgPool2D":
            if node.pair("padding") != (0, 0) or given["ceil_mode"]:
                raise NotImplementedError("padding of an average pool")
            return [keras.layers.AveragePooling2D(node.pair("kernel"), node.pair("stride", default="kernel"))]
        case "ConvTranspose2D":
            if any(node.pads) or node.pair("output_padding") != (0, 0) or given["groups"] != 1:
                raise NotImplementedError("padding or groups of a transposed convolution")
            return [
                keras.layers.Conv2DTranspose(
                    given["out_channels"], node.pair("kernel"), node.pair("stride"),
                    dilation_rate=node.pair("dilation"), use_bias=given["bias"],
                )
            ]  # fmt: skip
        case "PadChannels":
            after = given["before"] if given["after"] is None else given["after"]
            rest = [[0, 0]] * len(node.shape)
            return [keras.layers.Lambda(lambda x: keras.ops.pad(x, [*rest, [given["before"], after]]))]
        case "Upsample2D":
            if given["align_corners"]:
                raise NotImplementedError("upsampling with aligned corners")
            return [keras.layers.UpSampling2D(node.pair("scale"), interpolation=given["mode"])]
        case "Scale":
            if given["factor"] is None:
                raise NotImplementedError("a learned scale")
            return [keras.layers.Rescaling(given["factor"])]
        case "BatchNorm":
            return [
                keras.layers.BatchNormalization(
                    momentum=1.0 - given["momentum"], epsilon=given["eps"],
                    scale=given.get("scale", True), center=given.get("shift", True),
                )
            ]  # fmt: skip
        case "GroupNorm" | "LayerNorm" | "InstanceNorm":
            groups = {"LayerNorm": 1, "InstanceNorm": given["channels"]}.get(node.kind, given.get("groups"))
            return [keras.layers.GroupNormalization(groups, -1, given["eps"], given["shift"], given["scale"])]
        case "Dropout2D":
            return [keras.layers.SpatialDropout2D(given["rate"])]
        case "Dropout":
            return [keras.layers.Dropout(given["rate"])]
        case "ELU":
            return [keras.layers.ELU(given["alpha"])]
        case "GELU":
            exact = given["approximate"] == "none"
            return [keras.layers.Activation(lambda x: keras.activations.gelu(x, approximate=not exact))]
        case "LeakyReLU":
            return [keras.layers.LeakyReLU(given["slope"])]
        case "SiLU" | "Softplus" | "ReLU6" | "Sigmoid" | "Tanh" | "Hardswish" | "Hardsigmoid":
            theirs = {"Hardswish": "hard_silu", "Hardsigmoid": "hard_sigmoid"}
            return [keras.layers.Activation(theirs.get(node.kind, node.kind.lower()))]
    simple = {
        "ReLU": keras.layers.ReLU, "Softmax": keras.layers.Softmax, "Flatten": keras.layers.Flatten,
        "GlobalAvgPool2D": keras.layers.GlobalAveragePooling2D, "Add": keras.layers.Add,
        "Concat": keras.layers.Concatenate,
    }  # fmt: skip
    if node.kind not in simple:
        raise NotImplementedError(f"a layer {node.kind}")
    return [simple[node.kind]()]


def _convolution(node: Node) -> list[Any]:
    given = node.arguments
    top, bottom, left, right = node.zero_pads
    height, width = node.pair("kernel")
    same = node.pair("stride") == node.pair("dilation") == (1, 1) and (top + bottom, left + right) == (
        height - 1,
        width - 1,
    )
    padded = [] if same or not any(node.pads) else [keras.layers.ZeroPadding2D(((top, bottom), (left, right)))]
    convolution = keras.layers.Conv2D(
        given["out_channels"], (height, width), node.pair("stride"), "same" if same else "valid",
        dilation_rate=node.pair("dilation"), groups=given["groups"], use_bias=given["bias"],
    )  # fmt: skip
    return [*padded, convolution]
