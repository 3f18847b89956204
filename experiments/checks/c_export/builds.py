"""Compilers, the machines that they compile for, and programs built and run with them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LEVELS = ("-O0", "-O1", "-O2", "-O3")
STRICT = ("-std=gnu99", "-pedantic", "-Wall", "-Wextra", "-Werror")
"""The GNU dialect of C99, in which GCC joins products and sums unless a file forbids it."""


@dataclass(frozen=True)
class Compiler:
    """A compiler for a machine: its command, flags that belong to it, and the emulator that runs its programs."""

    machine: str
    name: str
    command: str
    flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """What of it is not installed."""
        return next((each for each in (self.command, *self.emulator[:1]) if shutil.which(each) is None), None)

    def version(self) -> str:
        """Such as 12.2.0."""
        found = re.search(r"\d+\.\d+\.\d+", subprocess.check_output([self.command, "--version"], text=True))
        return found.group() if found else "?"

    def compile(self, source: Path, compiled: Path, *flags: str) -> None:
        """An object file; RuntimeError, with what the compiler said, where it fails or warns."""
        self._call([*STRICT, *flags, "-c", str(source), "-o", str(compiled)])

    def link(self, compiled: Sequence[Path], program: Path) -> None:
        self._call([*map(str, compiled), "-o", str(program)])

    def _call(self, arguments: Sequence[str]) -> None:
        command = [self.command, *self.flags, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[:2000]}")

    def run(self, program: Path) -> int:
        """The exit status."""
        return subprocess.run([*self.emulator, str(program)], timeout=600).returncode


_ARM64, _ARM32 = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"), ("qemu-arm", "-L", "/usr/arm-linux-gnueabihf")
_ROOT64 = ("--target=aarch64-linux-gnu", "-isystem", "/usr/aarch64-linux-gnu/include")
_V7 = ("-march=armv7-a", "-mfpu=neon-vfpv4")
_ROOT32 = ("--target=arm-linux-gnueabihf", *_V7, "-isystem", "/usr/arm-linux-gnueabihf/include")

COMPILERS = (
    Compiler("x86-64", "gcc", "gcc"),
    Compiler("x86-64", "gcc, this machine's set", "gcc", ("-march=native",)),
    Compiler("x86-64", "clang", "clang-14"),
    Compiler("x86-64", "clang, this machine's set", "clang-14", ("-march=native",)),
    Compiler("aarch64", "gcc", "aarch64-linux-gnu-gcc", (), _ARM64),
    Compiler("aarch64", "clang", "clang-14", _ROOT64, _ARM64),
    Compiler("32-bit ARM", "gcc", "arm-linux-gnueabihf-gcc", _V7, _ARM32),
    Compiler("32-bit ARM", "clang", "clang-14", _ROOT32, _ARM32),
)


@dataclass(frozen=True)
class Section:
    """Bytes of an object file: code, constants, and static buffers that begin as 0."""

    code: int
    constants: int
    zeros: int


def sections(compiled: Path) -> Section:
    """What `size -A` says of an object file."""
    found: dict[str, int] = {}
    for line in subprocess.check_output(["size", "-A", str(compiled)], text=True).splitlines():
        name, *numbers = line.split() or [""]
        for kind in (".text", ".rodata", ".bss", ".data"):
            if name == kind or name.startswith(f"{kind}."):
                found[kind] = found.get(kind, 0) + int(numbers[0])
    if found.get(".data"):
        raise RuntimeError(f"{compiled}: {found['.data']} bytes are neither constant nor begin as 0")
    return Section(found.get(".text", 0), found.get(".rodata", 0), found.get(".bss", 0))
