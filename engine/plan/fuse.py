"""Fusion: fewer, larger ops. Every pass takes code and gives code that computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cnncore

from engine.program.code import BY_OUTPUT, CONSTANTS, ITEM_BYTES, OUTPUTS, SOURCES, Code, Instruction, Value, consumers
from engine.program.slots import Slot, padded

FUSIBLE = ("conv2d_forward", "linear_forward")
MASKING = frozenset(op for op, sources in SOURCES.items() if "mask" in sources)
TRAINING_NORM = "batchnorm_forward_training"
NORMS = (TRAINING_NORM, "batchnorm_forward_inference")

Rule = Callable[[Instruction, Instruction], Instruction | None]


@dataclass(frozen=True)
class Fold:
    """One batch normalisation folded into the weights of the layer before it (inference only).

    Keys name the parameters; the offsets (bytes in the constants) are where the folded weights and bias go.
    """

    weights: str
    bias: str | None
    norm: str
    eps: float
    weights_offset: int
    bias_offset: int


def fold_batchnorm(code: Code, slots: Mapping[str, Slot], start: int) -> tuple[Code, tuple[Fold, ...]]:
    """Drop a BatchNorm that directly follows a convolution or linear layer, whose weights then come from constants.

    With s = gamma / sqrt(var + eps): weights * s, and (bias - mean) * s + beta. `start` is the first free byte of
    the constants.
    """
    values = list(code.values)
    folds: list[Fold] = []

    def rule(first: Instruction, second: Instruction) -> Instruction | None:
        nonlocal start
        if second.op != "batchnorm_forward_inference" or first.op not in FUSIBLE or first.geometry["activation"]:
            return None
        if second.operands["src"] != first.operands["dst"]:
            return None
        columns = second.geometry["c"]
        if columns != first.geometry["oc" if first.op == "conv2d_forward" else "n"]:
            return None  # a map was flattened in between, which moves nothing: each of its pixels has statistics
        slot = slots[f"{first.layer}.weights"]
        weights_offset, bias_offset = start, start + padded(slot.count) * ITEM_BYTES["float32"]
        start = bias_offset + padded(columns) * ITEM_BYTES["float32"]
        values.append(Value((slot.count,), CONSTANTS, weights_offset, per_sample=False))
        values.append(Value((columns,), CONSTANTS, bias_offset, per_sample=False))
        bias = f"{first.layer}.bias" if "bias" in first.operands else None
        folds.append(Fold(slot.key, bias, second.layer, second.geometry["eps"], weights_offset, bias_offset))
        replaced = {"dst": second.operands["dst"], "weights": len(values) - 2, "bias": len(values) - 1}
        return first.changed(operands={**first.operands, **replaced})

    fused = _fuse_pairs(code, rule)
    return fused.changed(values=tuple(values)), tuple(folds)


def fuse_sums(code: Code) -> Code:
    """Batch normalisation that trains, then a sum with another map: the sum moves into it, and it to where the sum was.

    Of two such terms the later one: the other may be there by then.
    """
    readers = consumers(code)
    norms = {each.operands["dst"]: index for index, each in enumerate(code.instructions) if each.op == TRAINING_NORM}
    norms.pop(code.output, None)
    instructions: list[Instruction | None] = list(code.instructions)
    for index, add in enumerate(code.instructions):
        if add.op != "add" or add.operands["a"] == add.operands["b"]:
            continue
        a, b = add.operands["a"], add.operands["b"]
        terms = [(norms[term], other) for term, other in ((a, b), (b, a)) if term in norms and len(readers[term]) == 1]
        if not terms:
            continue
        at, other = max(terms)
        norm = code.instructions[at]
        instructions[index] = norm.changed(
            layer=f"{norm.layer}+{add.layer}", operands={**norm.operands, "addend": other, "dst": add.operands["dst"]}
        )
        instructions[at] = None
    return code.with_instructions([instruction for instruction in instructions if instruction is not None])


def fuse_activations(code: Code, trains: bool) -> Code:
    """conv2d, linear or batch normalisation, then an activation: it moves into the geometry.

    Where the gradient goes back through it, its output has to be enough for it. A batch normalisation that trains takes
    ReLU alone: it would compute the input of another, and its derivative, twice over, which costs more than to keep it.
    """

    def rule(first: Instruction, second: Instruction) -> Instruction | None:
        name = second.op.removesuffix("_forward")
        if first.op not in (*FUSIBLE, *NORMS) or name not in cnncore.ACTIVATIONS:
            return None
        if trains and name not in BY_OUTPUT:
            return None
        if first.op == TRAINING_NORM and name != "relu":
            return None
        if first.geometry["activation"] or first.geometry.get("pool"):
            return None
        return first.changed(
            operands={**first.operands, "dst": second.operands["dst"]},
            geometry={**first.geometry, "activation": cnncore.ACTIVATIONS[name]},
        )

    return _fuse_pairs(code, rule)


def fuse_maxpool(code: Code) -> Code:
    """conv2d or batch normalisation, with an activation or none, then a 2x2 max-pool of stride 2 without padding and
    not rounded up: one op. For training behind ReLU or none: positions of maxima tell no other derivative."""
    values = list(code.values)

    def rule(first: Instruction, second: Instruction) -> Instruction | None:
        if first.op not in ("conv2d_forward", *NORMS) or second.op != "maxpool2d_forward":
            return None
        if first.geometry["pool"] or "addend" in first.operands or not _halves(second.geometry):
            return None
        other = first.geometry["activation"] not in (0, cnncore.ACTIVATIONS["relu"])
        if other and (first.op in NORMS or "argmax" in second.operands):
            return None
        if first.op == "batchnorm_forward_inference" and "argmax" in second.operands:
            return None  # frozen, and a gradient passes through the pool
        if first.op == "batchnorm_forward_inference":
            return first.changed(
                operands={**first.operands, "dst": second.operands["dst"]},
                geometry={**first.geometry, "pool": 2},
            )
        argmax = second.operands.get("argmax")
        if argmax is None:
            values.append(code.values[second.operands["dst"]].changed(space="arena", offset=0, dtype="uint8"))
            argmax = len(values) - 1
        return first.changed(
            operands={**first.operands, "dst": second.operands["dst"], "argmax": argmax},
            geometry={**first.geometry, "pool": 2},
        )

    fused = _fuse_pairs(code, rule)
    return fused.changed(values=tuple(values))


def fuse_unpool(code: Code) -> Code:
    """The gradient of a 2x2 max-pool that only convolutions' backward ops read: they take it pooled, with argmax.

    Nothing of the size before pooling is then written.
    """
    readers = consumers(code)
    instructions: list[Instruction | None] = list(code.instructions)
    for index, unpool in enumerate(code.instructions):
        if unpool.op != "maxpool2d_backward" or not _halves(unpool.geometry):
            continue
        whole = unpool.operands["diff_src"]
        users = readers.get(whole, [])
        if not users or not all(_reads_as_gradient(code.instructions[user], whole) for user in users):
            continue
        pooled = {"diff_dst": unpool.operands["diff_dst"], "argmax": unpool.operands["argmax"]}
        for user in users:
            conv = instructions[user]
            assert conv is not None
            instructions[user] = conv.changed(
                operands={**conv.operands, **pooled}, geometry={**conv.geometry, "pool": 2}
            )
        instructions[index] = None
    return code.with_instructions([instruction for instruction in instructions if instruction is not None])


def _reads_as_gradient(reader: Instruction, value: int) -> bool:
    """Whether `reader` is a convolution's backward op that knows `value` as diff_dst and as nothing else."""
    names = [name for name, operand in reader.operands.items() if operand == value]
    return reader.op in ("conv2d_backward_data", "conv2d_backward_weights") and names == ["diff_dst"]


def fuse_masks(code: Code) -> Code:
    """A ReLU's backward that is the only reader of what one op writes: that op applies the mask as it writes."""
    readers = consumers(code)
    writers = {each.outputs()[0]: index for index, each in enumerate(code.instructions) if each.op in MASKING}
    instructions: list[Instruction | None] = list(code.instructions)
    for index, relu in enumerate(code.instructions):
        if relu.op != "relu_backward":
            continue
        plain = relu.operands["diff_dst"]
        writer = instructions[writers[plain]] if plain in writers else None
        if writer is None or "mask" in writer.operands or readers[plain] != [index]:
            continue
        masked = {OUTPUTS[writer.op][0]: relu.operands["diff_src"], "mask": relu.operands["dst"]}
        instructions[writers[plain]] = writer.changed(operands={**writer.operands, **masked})
        instructions[index] = None
    return code.with_instructions([instruction for instruction in instructions if instruction is not None])


def fuse_backward(code: Code) -> Code:
    """The passes over the backward ops, in the order that lets each find most."""
    return fuse_masks(fuse_unpool(code))


def _halves(pool: Mapping[str, int]) -> bool:
    """Whether a pool is the 2x2, stride 2 one that the convolution can do by itself."""
    windows = (pool["kh"], pool["kw"], pool["stride_h"], pool["stride_w"]) == (2, 2, 2, 2)
    unpadded = pool["pad_top"] == pool["pad_left"] == 0
    return windows and unpadded and pool["oh"] == pool["h"] // 2 and pool["ow"] == pool["w"] // 2


def _fuse_pairs(code: Code, rule: Rule) -> Code:
    """Apply `rule` to every (instruction, the only reader of its dst); the pair becomes what the rule returns."""
    readers = consumers(code)
    merged: dict[int, Instruction] = {}
    dropped: set[int] = set()
    for index, first in enumerate(code.instructions):
        dst = first.operands.get("dst")
        if dst is None or dst == code.output or len(readers.get(dst, ())) != 1:
            continue
        (reader,) = readers[dst]
        second = code.instructions[reader]
        result = rule(first, second)
        if result is not None:
            merged[index] = result.changed(layer=f"{first.layer}+{second.layer}")
            dropped.add(reader)
    kept = [merged.get(i, instruction) for i, instruction in enumerate(code.instructions) if i not in dropped]
    return code.with_instructions(kept)
