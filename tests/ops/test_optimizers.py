"""Optimisers over several steps against float64 formulas; a frozen segment keeps every bit."""

import cnncore
import numpy as np
import pytest

from tests.ops.cases import LARGE, MIXED
from tests.ops.families.optimizers import SGD, Adam, NAdam, RMSprop, segment_table

STEPS = 12
TOLERANCE = 1e-4

RULES: list[tuple[str, SGD | Adam | RMSprop]] = [
    ("sgd", SGD(MIXED)),
    ("sgd", SGD(MIXED, momentum=0.9)),
    ("sgd", SGD(MIXED, momentum=0.9, nesterov=True)),
    ("sgd", SGD(LARGE, momentum=0.9)),
    ("adam", Adam(MIXED)),
    ("adam", Adam(MIXED, betas=(0.5, 0.9), eps=1e-3)),
    ("adam", Adam(LARGE)),
    ("nadam", NAdam(MIXED)),
    ("nadam", NAdam(LARGE, betas=(0.5, 0.9), eps=1e-3, momentum_decay=1.0)),
    ("rmsprop", RMSprop(MIXED)),
    ("rmsprop", RMSprop(MIXED, momentum=0.9, keras=True)),
    ("rmsprop", RMSprop(LARGE, rho=0.99, momentum=0.9)),
]


@pytest.mark.parametrize("op, rule", RULES, ids=lambda value: value if isinstance(value, str) else None)
@pytest.mark.parametrize("reference", (False, True))
def test_several_steps(op: str, rule: SGD | Adam | RMSprop, reference: bool, isa: str) -> None:
    rng = np.random.default_rng(3)
    names = [operand.name for operand in cnncore.OPS[op].operands if operand.written]
    if isinstance(rule, (SGD, RMSprop)) and not rule.velocity:
        names.remove("velocity")
    state = {name: np.zeros(rule.count, np.float32) for name in names}
    state["parameters"][:] = rng.standard_normal(rule.count)
    start = {name: value.copy() for name, value in state.items()}
    exact = {name: value.astype(np.float64) for name, value in state.items()}
    table = segment_table(rule.segments)
    for step in range(STEPS):
        gradients = rng.standard_normal(rule.count).astype(np.float32)
        rate = 0.05 / (1 + step)
        cnncore.run_op(
            op, {**state, "gradients": gradients, "segments": table}, rule.geometry(), 1, reference=reference,
            step=step, learning_rate=rate,
        )  # fmt: skip
        exact = rule.advance(exact, gradients.astype(np.float64), rate, step)
    for name in names:
        error = np.abs(state[name] - exact[name]).max() / np.abs(exact[name]).max()
        assert error <= TOLERANCE, f"{op} {rule} {name} {isa=} {reference=}: {error:.3g}"
    offset = 0
    for segment in rule.segments:
        part = slice(offset, offset + segment.count)
        offset += segment.count
        for name in names:
            moved = state[name][part].tobytes() != start[name][part].tobytes()
            assert moved == (segment.decay.lr_scale != 0.0), f"{op} {rule} {name} {segment}"
