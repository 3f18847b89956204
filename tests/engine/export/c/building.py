"""Exported networks compiled together into one program, which says whose bits differ."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from engine.export.c.source import Options, c_file, unit_of
from engine.export.c.testbench import test_vector as vector_of
from engine.network.network import Network

WARNINGS = ("-std=gnu99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Werror")

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")


def trained(net: Network, seed: int = 0) -> Network:
    """The network with biases, slopes and running statistics that are not 0 and 1."""
    random = np.random.default_rng(seed)
    shaken = {key: value + random.normal(0, 0.1, value.shape) for key, value in net.parameters().items()}
    net.load_parameters({key: value.astype(np.float32) for key, value in shaken.items()})
    moved = {key: np.abs(value + random.normal(0, 0.3, value.shape)) + 0.1 for key, value in net.buffers().items()}
    net.load_buffers({key: value.astype(np.float32) for key, value in moved.items()})
    return net


def source(net: Network, prefix: str, simd: bool = False) -> str:
    """The C file with its test vector."""
    return c_file(net, unit_of(net, prefix, simd), Options(prefix, simd, vector=vector_of(net)))


def differing(networks: Mapping[str, Network], folder: Path, *flags: str, simd: bool = False) -> list[str]:
    """Names of the networks whose program has other bits than the engine; each name begins all names of its C."""
    texts = [source(net, name, simd).replace("int main(void)", f"static int {name}_main(void)")
             for name, net in networks.items()]  # fmt: skip
    calls = "".join(f'    if ({name}_main() != 0) puts("{name}");\n' for name in networks)
    together = folder / "together.c"
    together.write_text("".join(texts) + f"\n#include <stdio.h>\nint main(void)\n{{\n{calls}    return 0;\n}}\n")
    program = folder / "together"
    subprocess.run(["gcc", *WARNINGS, *flags, str(together), "-o", str(program)], check=True)
    return subprocess.check_output([str(program)], text=True).split()
