"""The one packed copy of a network's weights, which all its plans share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import refuse_masked
from engine.errors import UserError, listed
from engine.layers.topology import Topology
from engine.plan.layout import assign_slots
from engine.plan.memory.available import require_memory
from engine.program.limits import check_elements
from engine.program.slots import Slot, pack, total_floats, unpack

Array = NDArray[np.float32]

Arrays = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Parameters and buffers by name, in the public layouts."""

KINDS = "parameter", "buffer"


class ParameterStore:
    """Flat, 64-byte aligned arrays of parameters, gradients and buffers; gaps between parameters stay zero.

    `version` counts the changes of parameters or buffers: whoever derives values from them compares it. `steps` counts
    those by training; `fresh` has, of the running statistics that began as 0 and 1, by key, what `steps` was then.
    """

    def __init__(self, topology: Topology, arrays: Arrays | None = None):
        """UserError, before anything is allocated, for more than the machine has, and where the `arrays` that are to be
        stored are not those of the topology."""
        self.slots, self.buffer_slots = assign_slots(topology)
        if arrays is not None:
            for slots, mapping, what in zip((self.slots, self.buffer_slots), arrays, KINDS, strict=True):
                check_arrays(slots, mapping, what, strict=True)
        self.count = total_floats(self.slots.values())
        whole = self.count + total_floats(self.buffer_slots.values())
        check_elements("the network", whole)
        require_memory(f"a network of {whole} parameters", 4 * whole, "take smaller layers")
        self.data: Array = cnncore.aligned_zeros(self.count)
        self.buffers: Array = cnncore.aligned_zeros(total_floats(self.buffer_slots.values()))
        self.version = self.steps = 0
        self.fresh: dict[str, int] = {}
        self._gradients: Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the arrays without their alignment, and no gradients, which the next step makes."""
        own = {"data": self.data.copy(), "buffers": self.buffers.copy(), "_gradients": None}
        return {**self.__dict__, **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.data, self.buffers = _aligned(state["data"]), _aligned(state["buffers"])

    @property
    def num_trainable(self) -> int:
        """Trainable parameters, without the gaps."""
        return sum(math.prod(slot.spec.shape) for slot in self.slots.values())

    @property
    def num_parameters(self) -> int:
        """Trainable parameters and running statistics, as Keras counts."""
        return self.num_trainable + sum(math.prod(slot.spec.shape) for slot in self.buffer_slots.values())

    @property
    def gradients(self) -> Array:
        """Gradients in the layout of `data`; made when first asked for."""
        if self._gradients is None:
            self._gradients = cnncore.aligned_zeros(self.count)
        return self._gradients

    def read_parameters(self) -> dict[str, Array]:
        return read(self.slots, self.data)

    def read_buffers(self) -> dict[str, Array]:
        return read(self.buffer_slots, self.buffers)

    def write_parameters(self, mapping: Mapping[str, Any], *, strict: bool) -> None:
        write(self.slots, self.data, mapping, KINDS[0], strict=strict)
        self.version += 1

    def write_buffers(self, mapping: Mapping[str, Any], *, strict: bool) -> None:
        write(self.buffer_slots, self.buffers, mapping, KINDS[1], strict=strict)
        self.version += 1
        self.fresh = {key: since for key, since in self.fresh.items() if key not in mapping}

    def count_step(self) -> None:
        """A training step has changed parameters or buffers."""
        self.version += 1
        self.steps += 1

    def first_nonfinite(self) -> str | None:
        """Key of the first parameter or running statistic that holds NaN or infinity."""
        for slots, data in ((self.slots, self.data), (self.buffer_slots, self.buffers)):
            if np.isfinite(data).all():
                continue
            for key, array in read(slots, data).items():
                if not np.isfinite(array).all():
                    return key
        return None

    def key_at(self, element: int) -> str:
        """The parameter that owns this element of the flat arrays (its gap belongs to it)."""
        return next(key for key, slot in reversed(self.slots.items()) if slot.offset <= element)


def _aligned(values: Array) -> Array:
    own = cnncore.aligned_zeros(values.size)
    own[:] = values
    return own


def read(slots: Mapping[str, Slot], data: Array) -> dict[str, Array]:
    """Copies of all arrays in the public layouts."""
    return {key: unpack(slot, data[slot.offset : slot.offset + slot.count]) for key, slot in slots.items()}


def write(slots: Mapping[str, Slot], data: Array, mapping: Mapping[str, Any], what: str, *, strict: bool) -> None:
    """Store arrays given in the public layouts; all are checked before the first is stored.

    `strict`: every key must be there and no other. Otherwise only keys that both sides know are stored.
    """
    arrays = check_arrays(slots, mapping, what, strict=strict)
    checked = {key: as_numbers(key, array) for key, array in arrays.items()}
    for key, array in checked.items():
        slot = slots[key]
        data[slot.offset : slot.offset + slot.count] = pack(slot, array)


def check_arrays(
    slots: Mapping[str, Slot], mapping: Mapping[str, Any], what: str, *, strict: bool
) -> dict[str, NDArray[Any]]:
    """The arrays that have a slot; UserError where names, shapes or types do not fit. Nothing is copied."""
    unknown = [key for key in mapping if key not in slots]
    missing = [key for key in slots if key not in mapping]
    if strict and unknown:
        raise UserError(f"the network has no {what} {unknown[0]!r}; it has {listed(list(slots)) or 'none'}")
    if strict and missing:
        raise UserError(f"the {what} {missing[0]!r} is missing")
    for key in mapping:
        refuse_masked(f"{key} has", mapping[key])
    arrays = {key: np.asarray(mapping[key]) for key in slots if key in mapping}
    for key, array in arrays.items():
        expected = slots[key].spec.shape
        if array.shape != expected:
            raise UserError(f"{key} has shape {array.shape}, but the network expects {expected}")
        if array.dtype.kind not in "fiu":
            raise UserError(f"{key} has dtype {array.dtype}, but real numbers are expected")
    return arrays


def as_numbers(key: str, array: NDArray[Any]) -> Array:
    """The array as float32; UserError where a number is too large for that."""
    with np.errstate(over="ignore"):
        packed = array.astype(np.float32)
    if array.dtype != np.float32 and not np.array_equal(np.isfinite(packed), np.isfinite(array)):
        raise UserError(f"{key} holds numbers that are infinite as float32, the only type that is computed in")
    return packed
