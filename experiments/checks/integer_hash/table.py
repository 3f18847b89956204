"""The table: who computed, and the hash of what came out."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.export.c.source import unit_of
from engine.network.network import Network
from engine.plan.table import table
from engine.quantize.network import QuantizedNetwork
from experiments.checks.integer_hash import elsewhere, ours

SHOWN = 16  # digits of a hash


def hashes(net: QuantizedNetwork, images: NDArray[np.float32]) -> set[str]:
    """Print a line for each way of computing; the hashes that came out."""
    found: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for name, run in (*ours.ways(net), *elsewhere.ways(net, Path(folder))):
            codes = run(images)
            if isinstance(codes, str):
                print(f"{name:<58}left out: {codes}", flush=True)
                continue
            digest = hashlib.sha256(np.ascontiguousarray(codes, np.uint8).tobytes()).hexdigest()
            found.add(digest)
            print(f"{name:<58}{len(codes):>7,}  {digest[:SHOWN]}", flush=True)
    verdict = "one hash" if len(found) == 1 else f"FAILED: {len(found)} hashes"
    print(f"\nverdict: {verdict}: {', '.join(sorted(found))}")
    return found


def sizes(net: Network, quantized: QuantizedNetwork) -> str:
    """Bytes of the exported C files, by themselves."""
    rows = [("C file", "flash beside the code", "RAM")]
    for name, each in (("float32", net), ("int8", quantized)):
        unit = unit_of(each)
        rows.append((name, f"{unit.table_bytes:,}", f"{unit.exported.ram_bytes:,}"))
    return "\n".join(table(rows, numeric={1, 2}))
