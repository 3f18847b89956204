"""JAX: one jitted function per training step with donated buffers, in what proved fastest on CPUs.

Maps are in the order N, H, W, C; a pool without overlap is a reshape and a maximum (lax.reduce_window, as Flax has it,
is slower by a sixth); dropout draws from the "rbg" generator.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.peers import job as jobs
from experiments.peers.job import Job, Node, Prepared

LAYOUT = ("NHWC", "HWIO", "NHWC")

SIMPLE = {
    "ReLU": jax.nn.relu, "Softmax": jax.nn.softmax, "SiLU": jax.nn.silu, "Softplus": jax.nn.softplus,
    "ReLU6": jax.nn.relu6, "Hardswish": jax.nn.hard_swish, "Hardsigmoid": jax.nn.hard_sigmoid,
}  # fmt: skip

Tree = dict[str, dict[str, Any]]


def version() -> str:
    return f"jax {jax.__version__}"


def prepare(job: Job, side: str) -> Prepared:
    x = jnp.asarray(np.ascontiguousarray(job.arrays["x"].transpose(0, 2, 3, 1)))
    y = jnp.asarray(job.arrays["y"].astype(np.int32))
    parameters, statistics = _arrays(job)
    if not job.trains:
        predict = jax.jit(lambda parameters, x: forward(job.chain(logits=False), parameters, statistics, x, None)[0])
        return Prepared(lambda: np.asarray(predict(parameters, x)))
    update = update_of(job)
    moments = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(1 if job.optimizer == jobs.SGD else 2)]
    state = (parameters, statistics, moments, jnp.zeros((), jnp.int32))

    def step() -> float:
        nonlocal state
        state, loss = update(state, x, y)
        return float(loss)

    return Prepared(step)


def _arrays(job: Job) -> tuple[Tree, Tree]:
    """Parameters and running statistics by layer, in the layouts of LAYOUT and (in, out)."""
    parameters: Tree = {}
    statistics: Tree = {}
    for position, node in enumerate(job.nodes):
        weights = job.get(node, "weights")
        if node.kind == "Conv2D" and weights is not None:
            weights = weights.transpose(2, 3, 1, 0)
        elif node.kind == "Linear":
            weights = job.weights_channels_last(position)
        arrays = {"weights": weights, "bias": job.get(node, "bias")}
        if there := {name: jnp.asarray(array) for name, array in arrays.items() if array is not None}:
            parameters[node.name] = there
        if node.kind == "BatchNorm":
            names = ("running_mean", "running_var")
            statistics[node.name] = {name: jnp.asarray(job.get(node, name)) for name in names}
    return parameters, statistics


def update_of(job: Job) -> Any:
    """The jitted training step: state, x, y → state, loss. The state is donated."""
    nodes = job.chain(logits=True)

    def loss_of(parameters: Tree, statistics: Tree, x: Any, y: Any, key: Any) -> tuple[Any, Tree]:
        logits, statistics = forward(nodes, parameters, statistics, x, key)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
        return -chosen.mean(), statistics

    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: Any, y: Any) -> Any:
        parameters, statistics, moments, count = state
        key = jax.random.fold_in(jax.random.key(0, impl="rbg"), count)
        (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters, statistics, x, y, key)
        rule = _sgd if job.optimizer == jobs.SGD else _adam
        parameters, moments = rule(parameters, gradients, moments, count + 1, job.learning_rate)
        return (parameters, statistics, moments, count + 1), loss

    return update


def _sgd(parameters: Tree, gradients: Tree, moments: list[Tree], count: Any, rate: float) -> tuple[Tree, list[Tree]]:
    velocity = jax.tree.map(lambda v, g: jobs.MOMENTUM * v + g, moments[0], gradients)
    return jax.tree.map(lambda p, v: p - rate * v, parameters, velocity), [velocity]


def _adam(parameters: Tree, gradients: Tree, moments: list[Tree], count: Any, rate: float) -> tuple[Tree, list[Tree]]:
    beta1, beta2 = jobs.BETAS
    first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, moments[0], gradients)
    second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, moments[1], gradients)
    correction1, correction2 = 1 - beta1**count, 1 - beta2**count

    def moved(p: Any, m: Any, v: Any) -> Any:
        return p - rate * (m / correction1) / (jnp.sqrt(v / correction2) + jobs.EPSILON)

    return jax.tree.map(moved, parameters, first, second), [first, second]


def forward(nodes: list[Node], parameters: Tree, statistics: Tree, x: Any, key: Any) -> tuple[Any, Tree]:
    """Output and new running statistics; a `key` for dropout means training, None inference."""
    statistics = dict(statistics)
    for position, node in enumerate(nodes):
        own = parameters.get(node.name, {})
        match node.kind:
            case "Conv2D":
                top, bottom, left, right = node.zero_pads
                x = lax.conv_general_dilated(
                    x, own["weights"], node.pair("stride"), ((top, bottom), (left, right)),
                    rhs_dilation=node.pair("dilation"), dimension_numbers=LAYOUT,
                    feature_group_count=node.arguments["groups"],
                )  # fmt: skip
                x = x + own["bias"] if "bias" in own else x
            case "Linear":
                x = x @ own["weights"]
                x = x + own["bias"] if "bias" in own else x
            case "BatchNorm":
                x, statistics[node.name] = _batch_norm(node, own, statistics[node.name], x, key is not None)
            case "MaxPool2D":
                x = _max_pool(node, x)
            case "Dropout":
                x = _dropout(node, x, jax.random.fold_in(key, position)) if key is not None else x
            case "ELU":
                x = jax.nn.elu(x, node.arguments["alpha"])
            case "GELU":
                x = jax.nn.gelu(x, node.arguments["approximate"] == "tanh")
            case "Clip":
                x = jnp.clip(x, node.arguments["low"], node.arguments["high"])
            case "GlobalAvgPool2D":
                x = x.mean((1, 2))
            case "Flatten":
                x = x.reshape(len(x), -1)
            case "Scale" if node.arguments["factor"] is not None:
                x = x * node.arguments["factor"]
            case _:
                if node.kind not in SIMPLE:
                    raise NotImplementedError(f"a layer {node.kind}")
                x = SIMPLE[node.kind](x)
    return x, statistics


def _batch_norm(node: Node, own: dict[str, Any], saved: dict[str, Any], x: Any, trains: bool) -> tuple[Any, Any]:
    mean, variance = saved["running_mean"], saved["running_var"]
    if trains:
        axes = tuple(range(x.ndim - 1))
        mean, variance = x.mean(axes), x.var(axes)
        count = x.size // x.shape[-1]
        share = node.arguments["momentum"]
        saved = {
            "running_mean": (1 - share) * saved["running_mean"] + share * mean,
            "running_var": (1 - share) * saved["running_var"] + share * variance * count / (count - 1),
        }
    scale = own.get("weights", 1.0) * lax.rsqrt(variance + node.arguments["eps"])
    return (x - mean) * scale + own.get("bias", 0.0), saved


def _max_pool(node: Node, x: Any) -> Any:
    (height, width), (pad_h, pad_w) = node.pair("kernel"), node.pair("padding")
    stride_h, stride_w = node.pair("stride", default="kernel")
    if (stride_h, stride_w, pad_h, pad_w) == (height, width, 0, 0):
        n, h, w, c = x.shape
        x = x[:, : h // height * height, : w // width * width]
        return x.reshape(n, h // height, height, w // width, width, c).max((2, 4))
    padding = ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, height, width, 1), (1, stride_h, stride_w, 1), padding)


def _dropout(node: Node, x: Any, key: Any) -> Any:
    keep = 1.0 - node.arguments["rate"]
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, 0.0) if keep < 1.0 else x
