"""Harnesses that feed damaged and hostile files to what reads files, and `program.c` for the C core. See README.md.

A module per harness has `corpus()`, small good inputs by name; `run(data)`, which raises where a promise is broken; and
`mutate(data, most, seed, plain)`, which changes an input so that it still gets past the first check.
"""

from __future__ import annotations

HARNESSES = ("checkpoint", "quantized", "readers", "yaml", "store", "images", "masks", "truth", "onnx")
