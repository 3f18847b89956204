"""The tables of the check: bits by compiler and level, bytes as told and as found, time beside another generator."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engine.export.c.source import Options, c_file, unit_of, weights_file
from engine.export.c.testbench import test_vector
from engine.network.network import Network
from engine.plan.table import table
from engine.recipe.build import open_network
from experiments.checks.c_export.builds import COMPILERS, LEVELS, Compiler, sections
from experiments.checks.c_export.timing import FLAGS, OURS, PEER, SIMD, build, measure, peer_source, timer
from experiments.measuring.random_networks import EVERY_ACTIVATION, random_network

_LINE = 64  # bytes that a table may begin at a multiple of

FORMS = {"plain": False, "simd": True}
LEAST = {OURS: 1.0, SIMD: 2.0}
"""How many times as fast as the other generator each form is promised to be, with GCC, at -O3."""


def networks(options: argparse.Namespace) -> dict[str, Network]:
    """By name; random ones have every activation."""
    named = {name: open_network(name, ()) for name in options.networks.split(",") if name}
    drawn = range(EVERY_ACTIVATION, EVERY_ACTIVATION + options.random)
    for name, net in (found := named | {f"random{number}": random_network(number).net for number in drawn}).items():
        _shake(net, len(name))
    return found


def _shake(net: Network, seed: int) -> None:
    """Biases, slopes and running statistics that are not 0 and 1, as a training leaves them."""
    random = np.random.default_rng(seed)
    shaken = {key: value + random.normal(0, 0.05, value.shape) for key, value in net.parameters().items()}
    net.load_parameters({key: value.astype(np.float32) for key, value in shaken.items()})
    moved = {key: np.abs(value + random.normal(0, 0.2, value.shape)) + 0.05 for key, value in net.buffers().items()}
    net.load_buffers({key: value.astype(np.float32) for key, value in moved.items()})


def write(net: Network, folder: Path, bench: bool) -> dict[str, tuple[Path, Path]]:
    """Form → its C file, and its weights in a file of their own, which is compiled once for all levels."""
    written = {}
    for form, simd in FORMS.items():
        options = Options("net", simd, True, test_vector(net) if bench else None)
        unit = unit_of(net, "net", simd)
        source, weights = folder / f"{form}.c", folder / f"{form}_weights.c"
        source.write_text(c_file(net, unit, options))
        weights.write_text(weights_file(unit, options))
        written[form] = source, weights
    return written


def differing(compiler: Compiler, files: Mapping[str, tuple[Path, Path]]) -> list[str]:
    """The levels and forms whose program did not give the bits."""
    found = []
    for form, (source, weights) in files.items():
        constants = weights.with_suffix(".o")
        compiler.compile(weights, constants)
        for level in LEVELS:
            compiled, program = source.with_suffix(".o"), source.with_suffix("")
            compiler.compile(source, compiled, level)
            compiler.link([compiled, constants], program)
            if status := compiler.run(program):
                found.append(f"{form} {level}: {status}")
    return found


def bits(found: Mapping[str, Network], folder: Path) -> bool:
    present = [compiler for compiler in COMPILERS if not compiler.missing()]
    for compiler in COMPILERS:
        if missing := compiler.missing():
            print(f"left out: {compiler.name} for {compiler.machine}, as there is no {missing}")
    wrong: dict[Compiler, list[str]] = {compiler: [] for compiler in present}
    for name, net in found.items():
        files = write(net, folder, bench=True)
        for compiler in present:
            wrong[compiler] += [f"{name} {each}" for each in differing(compiler, files)]
    each = len(found) * len(FORMS) * len(LEVELS)
    rows = [
        (c.machine, c.name, c.version(), " ".join(LEVELS), f"{each - len(wrong[c])} of {each}", "; ".join(wrong[c][:3]))
        for c in present
    ]
    headings = ("machine", "compiler", "version", "levels", "programs with the same bits", "others")
    print("\n".join(table([headings, *rows], numeric=set())))
    return not any(wrong.values())


def bytes_found(found: Mapping[str, Network], folder: Path) -> bool:
    """What the files say of themselves beside what GCC made of them at -Os and -O3."""
    compiler, good, rows = COMPILERS[0], True, []
    for name, net in found.items():
        unit = unit_of(net)
        source, weights = write(net, folder, bench=False)["plain"]
        codes = []
        for level in ("-Os", "-O3"):
            compiler.compile(source, source.with_suffix(".o"), level)
            compiler.compile(weights, weights.with_suffix(".o"), level)
            code, tables = sections(source.with_suffix(".o")), sections(weights.with_suffix(".o"))
            codes.append(code.code + code.constants)
        good &= 0 <= tables.constants - unit.table_bytes < _LINE * len(unit.tables)
        good &= code.zeros == unit.exported.ram_bytes
        rows.append(
            (name, f"{unit.table_bytes:,}", f"{tables.constants:,}", *(f"{each:,}" for each in codes),
             f"{unit.exported.ram_bytes:,}", f"{code.zeros:,}")
        )  # fmt: skip
    headings = ("network", "weights told", "found", "code -Os", "code -O3", "RAM told", "found")
    print("\n".join(table([headings, *rows], numeric=set(range(1, 7)))))
    return good


def programs(
    net: Network, emx: str | None, folder: Path, compiler: Compiler, flags: tuple[str, ...]
) -> dict[str, Path]:
    """Form → the program that times it; those that are there are not built again."""
    found = {form: folder / f"{compiler.name}{''.join(flags)}_{form.split()[-1].strip('-')}" for form in (OURS, SIMD)}
    if emx:
        found[PEER] = folder / f"{compiler.name}{''.join(flags)}_peer"
    if all(program.exists() for program in found.values()):
        return found
    for form, files in zip((OURS, SIMD), write(net, folder, bench=False).values(), strict=True):
        build(compiler, [*files, timer(net, folder, peer=False)], found[form], flags)
    if emx:
        build(compiler, [peer_source(emx, net, folder), timer(net, folder, peer=True)], found[PEER], flags)
    return found


def times(found: Mapping[str, Network], emx: str | None, rounds: int, folder: Path) -> bool:
    """Microseconds of an image by form, compiler and flags, and how many times as fast as the other generator."""
    good, rows = True, []
    compilers = [compiler for compiler in (COMPILERS[0], COMPILERS[2]) if not compiler.missing()]
    for name, net in found.items():
        (place := folder / name).mkdir(parents=True, exist_ok=True)
        for compiler in compilers:
            for flags in FLAGS:
                spent = measure(programs(net, emx, place, compiler, flags), rounds)
                ratios = {form: spent[PEER] / spent[form] for form in (OURS, SIMD)} if emx else {}
                if compiler is COMPILERS[0] and "-O3" in flags:
                    good &= all(ratio >= LEAST[form] for form, ratio in ratios.items())
                rows.append(
                    (name, compiler.name, " ".join(flags), *(f"{each * 1e6:.1f}" for each in spent.values()),
                     *(f"{ratio:.1f}" for ratio in ratios.values()))
                )  # fmt: skip
    headings = ["network", "compiler", "flags", OURS, SIMD]
    headings += [PEER, f"{OURS}: times as fast", f"{SIMD}: times as fast"] if emx else []
    print("\n".join(table([tuple(headings), *rows], numeric=set(range(3, 8)))))
    return good


def check(options: argparse.Namespace) -> int:
    """Print the tables; 0 where bits and bytes are as promised, and the speed where it was measured."""
    found = networks(options)
    named = {name: net for name, net in found.items() if not name.startswith("random")}
    good = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "bits" in options.tables:
            print(f"bits of {len(found)} networks, each plain and with --simd\n")
            good.append(bits(found, folder))
        if "bytes" in options.tables:
            print(
                "\nbytes (x86-64, gcc): of tables, which may be aligned further apart, of the code, of static buffers\n"
            )
            good.append(bytes_found(named, folder))
        if "times" in options.tables:
            print("\nmicroseconds of an image, one thread\n")
            good.append(times(named, options.emx, options.rounds, options.keep or folder))
    print(f"\nverdict: {'as promised' if all(good) else 'FAILED'}")
    return 0 if all(good) else 1
