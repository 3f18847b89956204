"""The planner: from a network and a request to a flat program for the C core.

`make_plan` is the pipeline, one pure function after the other: lower → fold batch normalisation (inference) → fuse
activations → fuse max-pool → differentiate, fuse backward and append the update (training) → choose algorithms → leave
small instructions to one worker → place values in the arena.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from engine.layers.topology import Topology
from engine.plan.algorithms import apply, choose
from engine.plan.fuse import Fold, fold_batchnorm, fuse_activations, fuse_backward, fuse_maxpool, fuse_sums
from engine.plan.gradients import differentiate, without_needless_positions
from engine.plan.lower import absorbed_layer, lower
from engine.plan.memory.arena import check_batch, measure, plan_arena
from engine.plan.memory.less import with_less
from engine.plan.plan import Plan
from engine.plan.request import EVALUATION, GRADIENTS, INFERENCE, SMALL, TRAINING, Request
from engine.plan.team import leave_alone
from engine.plan.update import Segment, append_update, check_covered, check_gradients, make_segments
from engine.program.code import Algorithm, Choices, Code, constants_end
from engine.program.slots import Slot

__all__ = [
    "EVALUATION",
    "GRADIENTS",
    "INFERENCE",
    "TRAINING",
    "Algorithm",
    "Choices",
    "Plan",
    "Request",
    "finish",
    "make_plan",
]


def make_plan(topology: Topology, parameters: Mapping[str, Slot], buffers: Mapping[str, Slot], request: Request,
              isa: str) -> Plan:  # fmt: skip
    """The plan of a network for a request, on the instruction set `isa`; UserError for what the core cannot compute."""
    code = lower(topology, {**parameters, **buffers}, request)
    absorbed = absorbed_layer(topology, request.loss)
    return finish(code, parameters, buffers, request, isa, absorbed.name if absorbed else None)


def finish(code: Code, parameters: Mapping[str, Slot], buffers: Mapping[str, Slot], request: Request, isa: str,
           absorbed: str | None = None) -> Plan:  # fmt: skip
    """The plan of code that is lowered; `absorbed` names the layer that the loss includes."""
    check_batch(code, request.batch)
    if request.frozen:
        code = without_needless_positions(code, request.frozen)
    folds: tuple[Fold, ...] = ()
    if request.fused and not request.trains:
        code, folds = fold_batchnorm(code, parameters, start=constants_end(code))
    if request.fused:
        code = fuse_maxpool(fuse_activations(fuse_sums(code), request.trains))
    segments: tuple[Segment, ...] = ()
    if request.trains:
        code = differentiate(code, request.frozen)
        check_covered(code, parameters, request.frozen)
        code = check_gradients(fuse_backward(code) if request.fused else code, parameters, request.frozen)
    if request.mode == TRAINING:
        assert request.optimizer is not None
        segments = make_segments(parameters, request.optimizer, request.frozen, request.rates)
        code = append_update(code, parameters, buffers, request, segments)
    keep_filters = not request.trains
    choices = choose(code, request.batch, isa, request.algorithm, keep_filters)
    code, filters = apply(code, choices, keep_filters, start=constants_end(code))
    if request.trains and request.memory == SMALL:
        code = with_less(code, request.batch, isa)
    code = leave_alone(code, request.batch, isa)
    arena = plan_arena(code, request.batch)
    return Plan(
        request,
        code,
        arena,
        measure(code, arena, request, parameters, buffers),
        isa,
        segments,
        folds,
        filters,
        parameter_count=sum(prod(slot.spec.shape) for slot in parameters.values() if slot.layer not in request.frozen),
        absorbed=absorbed,
    )
