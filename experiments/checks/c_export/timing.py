"""Time of one image: ours and another generator's C, with the same compiler and flags, turn by turn."""

from __future__ import annotations

import contextlib
import io
import math
import subprocess
from argparse import ArgumentParser
from pathlib import Path

from engine.errors import UserError
from engine.export import writer_of
from engine.network.network import Network
from experiments.checks.c_export.builds import Compiler

OURS, SIMD, PEER = "ours", "ours, --simd", "emx-onnx-cgen"

FLAGS = (("-O2",), ("-O3",), ("-O3", "-march=x86-64-v3"), ("-O3", "-march=native"))

_MAIN = """
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
$declared
static float image[$inputs], outputs[$outputs];
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}
/* Prints the seconds of an image: the least mean of ten runs of some milliseconds. */
int main(void)
{
    double least = 1e9, begin = now(), spent;
    long count = 0;
    for (int i = 0; i < $inputs; i++) image[i] = (float)(i % 17) * 0.1f - 0.8f;
    while (now() - begin < 0.005) $call, count++;
    for (int run = 0; run < 10; run++) {
        begin = now();
        for (long i = 0; i < count; i++) $call;
        spent = (now() - begin) / (double)count;
        if (spent < least) least = spent;
    }
    printf("%.9f\\n", least);
    return 0;
}
"""


def peer_source(emx: str, network: Network, folder: Path) -> Path:
    """The other generator's file of the same network, weights inside and nothing allocated."""
    model, source = folder / "model.onnx", folder / "peer.c"
    try:
        writer = writer_of(model)
    except ImportError as error:
        raise UserError(f"--emx needs the export to ONNX: {error}") from None
    parser = ArgumentParser()
    writer.add_arguments(parser)
    with contextlib.redirect_stdout(io.StringIO()):
        writer.write(network, model, parser.parse_args([]))
    command = [emx, "compile", "--input-dim", "batch=1", "--large-weight-threshold", "0", "--large-temp-threshold", "0",
               "--model-name", "peer", str(model), str(source)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {done.stderr[-500:]}")
    return source


def timer(network: Network, folder: Path, peer: bool) -> Path:
    """The program that calls one of them."""
    inputs, outputs = (math.prod(shape) for shape in (network.input_shape, network.output_shape))
    declared = "void peer(const float *, float *);" if peer else "int net_predict(const float *, float *);"
    call = "peer(image, outputs)" if peer else "(void)net_predict(image, outputs)"
    text = _MAIN.replace("$declared", declared).replace("$inputs", str(inputs))
    path = folder / f"time_{'peer' if peer else 'ours'}.c"
    path.write_text(text.replace("$outputs", str(outputs)).replace("$call", call))
    return path


def build(compiler: Compiler, sources: list[Path], program: Path, flags: tuple[str, ...]) -> None:
    command = [compiler.command, "-std=c99", "-w", *flags, *map(str, sources), "-o", str(program), "-lm"]
    subprocess.run(command, check=True)


def measure(programs: dict[str, Path], rounds: int) -> dict[str, float]:
    """The median of the rounds, in each of which every program runs once."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            times[name].append(float(subprocess.check_output([str(program)], text=True)))
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}
