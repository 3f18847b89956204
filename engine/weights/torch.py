"""A state_dict of PyTorch: `torch.save`'s zip, or safetensors. Our arrays have its layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from engine.errors import UserError
from engine.layers.topology import Node, Topology
from engine.network.checkpoint import METADATA_KEY
from engine.reading.tensor_file import read_tensors
from engine.weights.source import Array, Module, Placement, Source, Stored, join
from engine.weights.torch_zip import opened_zip

THEIRS = {"weights": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"}
COUNTER = "num_batches_tracked"
EPSILON = 1e-5
WRAPPERS = ("module.", "_orig_mod.")  # DataParallel, torch.compile


@contextmanager
def torch_source(path: Path, topology: Topology) -> Iterator[Source]:
    """The modules of a state_dict. UserError for a file that is none."""
    if path.suffix.lower() == ".safetensors":
        yield _source(path, _safetensors(path), ordered=False)  # which stand there by type and name
        return
    with opened_zip(path) as stored:
        yield _source(path, stored, ordered=True)


def fit(module: Module, node: Node) -> list[Placement] | str:
    """The layer's arrays by PyTorch's names."""
    specs = {THEIRS[spec.name]: spec for spec in (*node.layer.parameters(), *node.layer.buffers())}
    for name, spec in specs.items():
        if name not in module.arrays:
            return f"it lacks {name}"
        stored = module.arrays[name]
        if stored.shape != spec.shape:
            return f"its {name} has shape {stored.shape}, expected {spec.shape}"
        if not stored.is_real:
            return f"its {name} holds {stored.dtype}, expected floating-point numbers"
    extra = [name for name in module.arrays if name not in specs]
    if extra:
        return f"the layer has nothing for its {extra[0]}"
    return [
        Placement(f"{node.name}.{spec.name}", join(module.name, name), module.arrays[name])
        for name, spec in specs.items()
    ]


def _source(path: Path, stored: Mapping[str, Stored], ordered: bool) -> Source:
    stored = _unwrapped(stored)
    modules: dict[str, dict[str, Stored]] = {}
    ignored = []
    for name, array in stored.items():
        owner, _, role = name.rpartition(".")
        if role == COUNTER:
            ignored.append(name)
        else:
            modules.setdefault(owner, {})[role] = array
    found = tuple(Module(owner, arrays) for owner, arrays in modules.items())
    return Source(str(path), found, fit, ordered, EPSILON, tuple(ignored))


def _unwrapped(stored: Mapping[str, Stored]) -> Mapping[str, Stored]:
    """The arrays by the names that the model itself has for them: wrappers may lie around each other in any order."""
    for wrapper in WRAPPERS:
        if stored and all(name.startswith(wrapper) for name in stored):
            return _unwrapped({name.removeprefix(wrapper): array for name, array in stored.items()})
    return stored


def _safetensors(path: Path) -> dict[str, Stored]:
    try:
        metadata, tensors = read_tensors(path)
    except ValueError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None
    if METADATA_KEY in metadata:
        raise UserError(f"{path}: a checkpoint of this project: engine.load and engine.network.transfer read it")

    def held(array: Array) -> Array:
        return array

    return {name: Stored(array.shape, array.dtype.name, partial(held, array)) for name, array in tensors.items()}
