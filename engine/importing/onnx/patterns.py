"""Several operations that are one layer: an activation spelled out, groups by a Reshape, means over the edge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.errors import UserError
from engine.importing.onnx.document import Document, Op

Pattern = Any
"""A text: any value, the same wherever the text stands. A number: a constant of that one value. A tuple: an operation
of that kind, with the patterns of its inputs; a mapping among them has attributes that it must have."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {"HardSigmoid": {"alpha": 0.2, "beta": 0.5}, "Pad": {"mode": "constant"}}
COMMUTATIVE = ("Add", "Mul")
X = "x"

_THIRD = ("Clip", ("Add", X, 3.0), 0.0, 6.0)
_GATE = ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, X)
_ERF = tuple(("Add", ("Erf", scaled), 1.0) for scaled in (("Div", X, math.sqrt(2)), ("Mul", X, math.sqrt(0.5))))
_CUBE = (("Pow", X, 3.0), ("Mul", ("Mul", X, X), X), ("Mul", X, ("Mul", X, X)))
_TANH = tuple(
    ("Add", ("Tanh", ("Mul", ("Add", X, ("Mul", cube, 0.044715)), math.sqrt(2 / math.pi))), 1.0) for cube in _CUBE
)


def _products(*factors: Pattern) -> Iterator[Pattern]:
    """The product of three factors, whichever two are multiplied first."""
    first, second, third = factors
    yield "Mul", ("Mul", first, second), third
    yield "Mul", ("Mul", first, third), second
    yield "Mul", ("Mul", second, third), first


@dataclass(frozen=True)
class Rule:
    """A pattern, the kind of operation that it is, and which of its names are that operation's inputs; `settings` is
    the kind of the operation within that its attributes are taken from."""

    pattern: Pattern
    kind: str
    inputs: tuple[str, ...] = (X,)
    attributes: Mapping[str, Any] | None = None
    settings: str = ""


RULES = (
    Rule(("Mul", X, ("Sigmoid", X)), "SiLU"),
    Rule(("Mul", X, _GATE), "HardSwish"),
    Rule(("Div", ("Mul", X, _THIRD), 6.0), "HardSwish"),
    Rule(("Mul", X, ("Div", _THIRD, 6.0)), "HardSwish"),
    Rule(("Mul", X, ("Mul", _THIRD, 1 / 6)), "HardSwish"),
    Rule(("Mul", ("Mul", X, _THIRD), 1 / 6), "HardSwish"),
    Rule(("Div", _THIRD, 6.0), "HardSigmoid", attributes={"alpha": 1 / 6, "beta": 0.5}),
    Rule(("Mul", _THIRD, 1 / 6), "HardSigmoid", attributes={"alpha": 1 / 6, "beta": 0.5}),
    Rule(("Add", ("Relu", X), ("Log", ("Add", ("Exp", ("Neg", ("Abs", X))), 1.0))), "Softplus"),
    Rule(("Where", ("Greater", X, 20.0), X, ("Softplus", X)), "Softplus"),
    *(Rule(each, "Gelu") for spread in _ERF for each in _products(X, 0.5, spread)),
    *(Rule(each, "Gelu", attributes={"approximate": "tanh"}) for spread in _TANH for each in _products(X, 0.5, spread)),
    Rule(
        ("Reshape", ("InstanceNormalization", ("Reshape", X, "inner"), "scale", "bias"), "outer"),
        "GroupedInstances",
        (X, "inner", "outer", "scale", "bias"),
        settings="InstanceNormalization",
    ),
    Rule(
        ("Mul", ("AveragePool", ("Pad", {"mode": "constant"}, X, "pads", 0.0)), "factors"),
        "OverhangingAverage",
        (X, "pads", "factors"),
        settings="AveragePool",
    ),
)


def joined(document: Document) -> Document:
    """The document with one operation in the place of several, wherever a rule fits; what nobody reads then is left
    out."""
    givers = {name: op for op in document.ops for name in op.outputs if name}
    by_last: dict[str, list[Rule]] = {}
    for rule in RULES:
        by_last.setdefault(rule.pattern[0], []).append(rule)
    ops, taken = [], set[str]()
    for op in reversed(document.ops):
        found = None if op.outputs[0] in taken else _first(document, givers, op, by_last.get(op.kind, ()))
        if found is None:
            ops.append(op)
            continue
        one, inner = found
        taken |= inner
        ops.append(one)
    return replace(document, ops=tuple(reversed(ops))).living()


def _first(document: Document, givers: Mapping[str, Op], op: Op, rules: Any) -> tuple[Op, set[str]] | None:
    """The operation that stands for `op` and others, and the values that lie between them."""
    for rule in rules:
        for names, inner in _matches(document, givers, rule.pattern, op.outputs[0], {}, frozenset()):
            if rule.kind == "OverhangingAverage" and not _differs_by_place(document, names["factors"]):
                continue
            attributes = dict(rule.attributes or {})
            if rule.settings:
                attributes = dict(next(givers[name] for name in inner if givers[name].kind == rule.settings).attributes)
            inputs = tuple(names[name] for name in rule.inputs)
            return Op(rule.kind, op.name, inputs, op.outputs[:1], attributes), set(inner) - {op.outputs[0]}
    return None


Names = Mapping[str, str]
Match = tuple[Names, frozenset[str]]


def _matches(
    document: Document, givers: Mapping[str, Op], pattern: Pattern, value: str, names: Names, inner: frozenset[str]
) -> Iterator[Match]:
    """Every way in which a value can be the pattern: what its names are, and the values within."""
    if isinstance(pattern, str):
        if names.get(pattern, value) == value:
            yield {**names, pattern: value}, inner
        return
    if isinstance(pattern, float):
        if _number(document, givers, value, pattern):
            yield names, inner
        return
    kind, *parts = pattern
    op = givers.get(value)
    if op is None or op.kind != kind or op.outputs[0] != value:
        return
    wanted = next((part for part in parts if isinstance(part, dict)), {})
    parts = [part for part in parts if not isinstance(part, dict)]
    given = [name for name in op.inputs if name]
    if len(given) != len(parts) or not _has(op, wanted):
        return
    orders = [given, given[::-1]] if kind in COMMUTATIVE and len(given) == 2 else [given]
    for order in orders:
        yield from _all(document, givers, parts, order, names, inner | {value})


def _all(
    document: Document,
    givers: Mapping[str, Op],
    parts: list[Pattern],
    values: list[str],
    names: Names,
    inner: frozenset[str],
) -> Iterator[Match]:
    if not parts:
        yield names, inner
        return
    for found, within in _matches(document, givers, parts[0], values[0], names, inner):
        yield from _all(document, givers, parts[1:], values[1:], found, within)


def _number(document: Document, givers: Mapping[str, Op], value: str, number: float) -> bool:
    """Whether the value is a constant with this one number, of a Constant node too."""
    if value in document.constants:
        try:
            array = document.constants[value]
        except UserError:
            return False
    elif (
        value in givers and givers[value].kind == "Constant" and hasattr(givers[value].attributes.get("value"), "size")
    ):
        array = givers[value].attributes["value"]
    else:
        return False
    return (
        array.size == 1 and array.dtype.kind == "f" and math.isclose(float(array.reshape(-1)[0]), number, rel_tol=1e-4)
    )


def _differs_by_place(document: Document, name: str) -> bool:
    """Whether a constant has a number for each place of a map, the same for all channels."""
    if name not in document.constants:
        return False
    shape = document.constants[name].shape
    return len(shape) == 4 and shape[:2] == (1, 1) and math.prod(shape) > 1


def _has(op: Op, wanted: Mapping[str, Any]) -> bool:
    given = {**DEFAULTS.get(op.kind, {}), **op.attributes}
    for name, value in wanted.items():
        if isinstance(value, float):
            if not isinstance(given.get(name), float) or not math.isclose(given[name], value, rel_tol=1e-5):
                return False
        elif given.get(name) != value:
            return False
    return True
