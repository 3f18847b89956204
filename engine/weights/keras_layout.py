"""How Keras lays weights out, and what makes ours of them.

A kernel is (H, W, in, out) there, a matrix (in, out), and Flatten runs through H, W, C where ours runs through C, H, W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.layers import (
    BatchNorm,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Flatten,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    Linear,
    PReLU,
)
from engine.layers.topology import INPUT, Node, Topology
from engine.program.shapes import elements, spatial
from engine.program.slots import ParameterSpec
from engine.weights.source import Array, Described, Module, Placement, join

Order = NDArray[np.intp] | None
"""Which place in Keras's vector each element of ours has; None: the same."""

CLASSES: Mapping[type[Layer], tuple[str, ...]] = {
    Conv2D: ("Conv2D", "DepthwiseConv2D"),
    ConvTranspose2D: ("Conv2DTranspose",),
    Linear: ("Dense",),
    BatchNorm: ("BatchNormalization",),
    GroupNorm: ("GroupNormalization",),
    LayerNorm: ("LayerNormalization", "GroupNormalization"),
    InstanceNorm: ("GroupNormalization",),
    PReLU: ("PReLU",),
}
ROLES = {  # ours, by role and name, and theirs; Keras 2 calls the kernel of a depthwise convolution by its own name
    "weights": ("kernel", "depthwise_kernel"),
    "bias": ("bias",),
    "gamma": ("gamma",),
    "beta": ("beta",),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
    "slope": ("alpha",),
}
Change = tuple[str, Callable[[Array], Array]]


class KerasLayout:
    """The `Fit` of Keras's modules into the layers of one network.

    layers   the model's description, where the file has one
    """

    def __init__(self, topology: Topology, layers: Mapping[str, Described] | None):
        self._first = any(each.arguments.get("data_format") == "channels_first" for each in (layers or {}).values())
        self._orders = flatten_orders(topology, channels_first=self._first)
        self._shapes = {node.name: topology.shape_of(node.inputs[0]) for node in topology.nodes}

    def __call__(self, module: Module, node: Node) -> list[Placement] | str:
        layer = node.layer
        classes = CLASSES.get(type(layer))
        if classes is None:
            return f"a {type(layer).__name__} has no counterpart in Keras that is known here"
        if module.kind is not None and module.kind not in classes:
            return f"it is a {module.kind}, expected {' or '.join(classes)}"
        specs = [(_role(layer, spec), spec) for spec in (*layer.parameters(), *layer.buffers())]
        is_map = spatial(self._shapes[node.name]) > 1
        differ = _arguments_differ(module, layer) or _axes_differ(module, layer, is_map, self._first)
        if reason := differ or _count_differs(module, specs):
            return reason
        placements = []
        for place, (role, spec) in enumerate(specs):
            name = next((each for each in ROLES[role] if each in module.arrays), str(place))
            stored = module.arrays.get(name)
            if stored is None:
                return f"it lacks {ROLES[role][0]}; it has {module.shapes()}"
            if not stored.is_real:
                return f"its {name} holds {stored.dtype}, expected floating-point numbers"
            kind = "DepthwiseConv2D" if "depthwise_kernel" in module.arrays else module.kind
            change = self._change(node, spec, stored.shape, kind)
            if change is None:
                return f"its {ROLES[role][0]} has shape {stored.shape}, which does not give {spec.shape}"
            placements.append(Placement(f"{node.name}.{spec.name}", join(module.name, name), stored, *change))
        return placements

    def _change(self, node: Node, spec: ParameterSpec, shape: tuple[int, ...], kind: str | None) -> Change | None:
        """What makes the layer's array of Keras's, in words and in numbers; None for one of another shape."""
        layer, order = node.layer, self._orders[node.name]
        if isinstance(order, str):
            raise UserError(f"layer {node.name!r}: {order}")
        if spec.role == "weights" and isinstance(layer, Linear):
            if shape != spec.shape[::-1]:
                return None
            return ("transposed", _transposed) if order is None else ("transposed, inputs to C, H, W", _columns(order))
        if spec.role == "weights":
            return _kernel_change(spec.shape, shape, kind)
        if shape != spec.shape and not (isinstance(layer, PReLU) and shape == (1, 1, *spec.shape)):
            return None
        if order is None or spec.shape != (len(order),) or isinstance(layer, Linear):
            return "as it is", lambda values: np.asarray(values).reshape(spec.shape)
        return "to C, H, W", lambda values: np.asarray(values)[order]


def flatten_orders(topology: Topology, channels_first: bool = False) -> dict[str, Order | str]:
    """For each layer, the order of the vector that it reads; a text where that cannot be told, which says why."""
    orders: dict[str, Order | str] = {INPUT: None}
    read: dict[str, Order | str] = {}
    for node in topology.nodes:
        given = [orders[name] for name in node.inputs]
        shapes = [topology.shape_of(name) for name in node.inputs]
        if isinstance(node.layer, GroupNorm) and node.layer.groups > 1 and given[0] is not None:
            given[0] = f"the groups of layer {node.name!r} are others in Keras's order of the flattened map"
        read[node.name] = given[0]
        orders[node.name] = _order_behind(node, given, shapes, channels_first)
    return read


def _order_behind(
    node: Node, given: list[Order | str], shapes: list[tuple[int, ...]], channels_first: bool
) -> Order | str:
    known = [order for order in given if order is not None]
    if isinstance(node.layer, Flatten) and len(shapes[0]) == 3:
        channels, height, width = shapes[0]
        if spatial(shapes[0]) == 1 or channels == 1 or channels_first:
            return None
        places = np.arange(elements(shapes[0])).reshape(height, width, channels)
        return places.transpose(2, 0, 1).reshape(-1)
    if not known or isinstance(node.layer, Linear):
        return None
    if any(isinstance(order, str) for order in known):
        return next(order for order in known if isinstance(order, str))
    if isinstance(node.layer, Concat):
        parts, start = [], 0
        for order, shape in zip(given, shapes, strict=True):
            assert not isinstance(order, str)
            parts.append(start + (np.arange(shape[0]) if order is None else order))
            start += shape[0]
        return np.concatenate(parts)
    if len(known) == len(given) and all(shape == node.shape for shape in shapes):
        first = known[0]
        if all(np.array_equal(first, order) for order in known):
            return first
    return f"what the flattened map becomes in layer {node.name!r} cannot be told of Keras's order"


def _kernel_change(ours: tuple[int, ...], theirs: tuple[int, ...], kind: str | None) -> Change | None:
    """Of a convolution or its transpose, (A, B, H, W) of (H, W, B, A); of a depthwise one, (C*M, 1, H, W) of
    (H, W, C, M)."""
    outputs, inputs, height, width = ours
    if theirs == (height, width, inputs, outputs) and kind != "DepthwiseConv2D":
        return "H, W, in, out to out, in, H, W", lambda values: values.transpose(3, 2, 0, 1)
    depthwise = kind != "Conv2D" and len(theirs) == 4 and theirs[:2] == (height, width) and inputs == 1
    if depthwise and math.prod(theirs[2:]) == outputs:
        return "depthwise to out, 1, H, W", lambda values: values.reshape(height, width, 1, outputs).transpose(
            3, 2, 0, 1
        )
    return None


def _transposed(values: Array) -> Array:
    return values.T


def _columns(order: NDArray[np.intp]) -> Callable[[Array], Array]:
    return lambda values: values.T[:, order]


def _role(layer: Layer, spec: ParameterSpec) -> str:
    """The key of ROLES."""
    if layer.kind == "norm" and spec.role in ("scale", "bias"):
        return "gamma" if spec.role == "scale" else "beta"
    return "slope" if spec.role == "slope" else spec.name


def _count_differs(module: Module, specs: list[tuple[str, ParameterSpec]]) -> str | None:
    if len(module.arrays) != len(specs):
        return f"it has {len(module.arrays)} arrays ({module.shapes()}), but the layer {len(specs)}"
    numbered = all(name.isdecimal() for name in module.arrays)
    roles = {role for role, _ in specs}
    if numbered and not module.settings and ("gamma" in roles) != ("beta" in roles):
        return "the file does not tell whether its arrays are scale or shift; save the model as .keras"
    return None


def _arguments_differ(module: Module, layer: Layer) -> str | None:
    """What the description says of the layer and is otherwise here: it would give other numbers in silence."""
    eps, epsilon = getattr(layer, "eps", None), module.settings.get("epsilon")
    if eps is not None and isinstance(epsilon, (int, float)) and not math.isclose(eps, epsilon, rel_tol=1e-6):
        return f"its epsilon is {epsilon:g}, but the layer has eps = {eps:g}"
    groups = module.settings.get("groups")
    if module.kind == "GroupNormalization" and isinstance(groups, int):
        ours = getattr(layer, "groups", 1 if isinstance(layer, LayerNorm) else getattr(layer, "channels", 0))
        if (getattr(layer, "channels", 0) if groups == -1 else groups) != ours:
            return f"its groups are {groups}, but the layer has {ours}"
    if module.kind not in ("BatchNormalization", "Dense", "Conv2D"):
        return None
    for name, theirs in (("scale", "scale"), ("shift", "center"), ("bias", "use_bias"), ("groups", "groups")):
        ours, given = getattr(layer, name, None), module.settings.get(theirs)
        if isinstance(given, int) and isinstance(ours, int) and given != ours:
            return f"its {theirs} is {given}, but the layer has {name} = {ours}"
    return None


def _axes_differ(module: Module, layer: Layer, is_map: bool, channels_first: bool) -> str | None:
    """Over what a normalisation of a map goes, where Keras's goes elsewhere or the file does not tell."""
    if not is_map:
        return None
    if isinstance(layer, LayerNorm) and module.kind != "GroupNormalization":
        return "Keras's LayerNormalization goes over the channels of a pixel, ours over the whole map"
    axis = module.settings.get("axis")
    wanted = (1, -3) if channels_first else (3, -1)
    if module.kind in ("BatchNormalization", "GroupNormalization") and isinstance(axis, int) and axis not in wanted:
        return f"its axis is {axis}, expected that of the channels, {wanted[1]}"
    return None
