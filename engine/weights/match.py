"""Which module of a file belongs to which layer of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UserError, listed, shown, unknown
from engine.layers.patterns import layers_with_parameters
from engine.layers.topology import Node, Topology
from engine.weights.source import Module, Placement, Source

ORDER = "order"


@dataclass
class Matching:
    """Layer → module and by what they were matched; what is left on either side, with the reason."""

    pairs: dict[str, tuple[Module, list[Placement], str]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


def match(topology: Topology, source: Source, names: Mapping[str, str] | str | None, strict: bool) -> Matching:
    """Match layers with modules; `load_weights` says how. UserError where they cannot be, and in strict mode where
    anything is left over."""
    nodes = {name: topology.node(name) for name in layers_with_parameters(topology)}
    modules = {module.name: module for module in source.modules}
    if isinstance(names, str):
        if names != ORDER:
            raise unknown("names", names, (ORDER,))
        return _by_order(nodes, source)
    found = Matching()
    for layer, module in _checked_names(names, nodes, modules, source.path).items():
        _take(found, source, nodes.pop(layer), modules.pop(module), "given", strict=True)
    for name in _namesakes(nodes, modules):
        _take(found, source, nodes.pop(name), modules.pop(name), "name", strict)
    if strict:
        _by_shape(found, source, nodes, modules)
    left = {name: _candidates(source, node, modules) for name, node in nodes.items()}
    found.kept |= {name: _why(name, candidates, modules, strict) for name, candidates in left.items()}
    found.unused |= {name: f"it has {module.shapes()}" for name, module in modules.items()}
    if strict and (found.kept or found.unused):
        raise UserError(f"{source.path}: {_leftover(found, source.ordered)}")
    if not found.pairs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.kept.items())
        raise UserError(f"{source.path}: no layer of the network can be loaded ({reasons})")
    return found


def _by_order(nodes: Mapping[str, Node], source: Source) -> Matching:
    """Layers as they run with modules as the file has them, of which there must be as many."""
    if not source.ordered:
        raise UserError(
            f"{source.path}: this kind of file does not keep the order of a model's layers; give names, layer by layer"
        )
    if len(nodes) != len(source.modules):
        raise UserError(
            f"{source.path}: it has {len(source.modules)} modules with weights, but the network {len(nodes)} such "
            "layers: they cannot be matched by their order"
        )
    found = Matching()
    for node, module in zip(nodes.values(), source.modules, strict=True):
        _take(found, source, node, module, ORDER, strict=True)
    return found


def _checked_names(names: Any, nodes: Mapping[str, Node], modules: Mapping[str, Module], path: str) -> dict[str, str]:
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise UserError(f"names: expected a mapping of layers to modules of the file, or 'order', not {shown(names)}")
    given = {str(layer): str(module) for layer, module in names.items()}
    taken: set[str] = set()
    for layer, module in given.items():
        if layer not in nodes:
            raise unknown("layer with parameters in names:", layer, nodes)
        if module not in modules:
            raise UserError(f"{path}: {unknown('module in names:', module, modules)}")
        if module in taken:
            raise UserError(f"names: the module {module!r} is given to two layers")
        taken.add(module)
    return given


def _namesakes(nodes: Mapping[str, Node], modules: Mapping[str, Module]) -> list[str]:
    """Names that stand on both sides. Bare numbers count only where every layer has its namesake: two sequences that
    number their layers otherwise have numbers in common that mean nothing."""
    same = [name for name in nodes if name in modules]
    return same if len(same) == len(nodes) else [name for name in same if not name.isdecimal()]


def _by_shape(found: Matching, source: Source, nodes: dict[str, Node], modules: dict[str, Module]) -> None:
    """Take the pairs that nothing else can be: the layer takes no other module, and the module fits no other layer."""
    fitting = {name: _candidates(source, node, modules) for name, node in nodes.items()}
    for name, candidates in fitting.items():
        if len(candidates) == 1 and sum(candidates[0] in others for others in fitting.values()) == 1:
            _take(found, source, nodes.pop(name), modules.pop(candidates[0]), "shape", strict=True)


def _candidates(source: Source, node: Node, modules: Mapping[str, Module]) -> list[str]:
    return [name for name, module in modules.items() if not isinstance(source.fit(module, node), str)]


def _why(name: str, candidates: list[str], modules: Mapping[str, Module], strict: bool) -> str:
    """Why a layer has no module, of which these fit it."""
    if name in modules and name.isdecimal():
        return f"the module {name!r} has its number alone, which counts only where every layer has its namesake"
    if len(candidates) != 1:
        return f"several modules have its shapes: {listed(candidates)}" if candidates else "no module has its shapes"
    what = f"the module {candidates[0]!r} has its shapes"
    return f"{what}, but those of other layers too" if strict else f"{what}, but with strict=False only names count"


def _take(found: Matching, source: Source, node: Node, module: Module, how: str, strict: bool) -> None:
    fit = source.fit(module, node)
    if not isinstance(fit, str):
        found.pairs[node.name] = module, fit, how
        return
    reason = f"{module.name!r} does not fit: {fit}"
    if strict:
        raise UserError(f"{source.path}: layer {node.name!r} ({type(node.layer).__name__}): {reason}")
    found.kept[node.name], found.unused[module.name] = reason, f"layer {node.name!r} does not fit"


def _leftover(found: Matching, ordered: bool) -> str:
    parts = [f"layer {name!r}: {reason}" for name, reason in list(found.kept.items())[:3]]
    parts += [f"module {name!r}: {reason}" for name, reason in list(found.unused.items())[:3]]
    order = ", or names='order' where the modules stand in the order in which the layers run" if ordered else ""
    return (
        f"{len(found.kept)} layers and {len(found.unused)} modules are left over ({'; '.join(parts)}); give names, a "
        f"mapping of layers to modules{order}; strict=False leaves them as they are"
    )
