"""The rates of the cost model, in nanoseconds per unit of each feature of `engine.plan.estimate`.

Fitted by non-negative least squares of relative errors to single-thread times of every op of the reports' networks at
batch 1, 16 and 64: `python -m experiments.checks.algorithms --fit`, on a 3.9 GHz Zen 5 (FMA peak 250 GFLOP/s with
AVX-512, 127 with AVX2). The set "neon" was not measured: it has the rates of AVX2 with half the vector width.
"""

TILES = {"avx512": (14, 32, 16), "avx2": (6, 16, 8), "neon": (6, 16, 4), "portable": (2, 16, 4)}
"""Instruction set → rows and columns of the largest register tile, and floats of a vector."""

_PASSES = ("forward", "backward_data", "backward_weights", "backward_data.pooled", "backward_weights.pooled")


def _guess(tick: float) -> dict[str, tuple[float, ...]]:
    table: dict[str, tuple[float, ...]] = {f"direct.{each}": (tick, 4.0, 0.02, 0.03, 500.0) for each in _PASSES}
    for kind in ("winograd2x3", "winograd4x3", "winograd4x5"):
        table |= {f"{kind}.{each}": (tick, 0.4, 0.4, 0.05, 2000.0) for each in _PASSES}
    table |= {f"linear_{each}": (tick, 0.02, 0.05, 500.0) for each in _PASSES[:3]}
    return table | {"winograd_filter": (0.5, 500.0), "update": (0.05, 500.0), "stream": (0.05, 0.05, 500.0)}


RATES = {"avx512": _guess(0.27), "avx2": _guess(0.27), "neon": _guess(0.3), "portable": _guess(0.5)}
