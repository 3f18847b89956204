"""Builds cnncore._core: the C core in csrc/ behind one Cython module. Everything else stands in pyproject.toml."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CSRC = Path("csrc")  # relative to ROOT: setuptools wants relative sources
HEADER = CSRC / "include" / "cnn.h"
CYTHON = ("python/cnncore/_core.pyx", "python/cnncore/_core.pxd")

OPENMP_PROGRAM = """
#include <omp.h>
int main(void) { return omp_get_max_threads() < 1; }
"""


def c_sources() -> list[str]:
    """The library's sources: the list that csrc/Makefile reads too."""
    lines = (ROOT / CSRC / "sources.txt").read_text().splitlines()
    return [str(CSRC / line) for line in lines if line.strip()]


def headers() -> list[str]:
    """Every header, so that a changed one rebuilds what includes it."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / CSRC).rglob("*.h"))


def source_hash() -> str:
    """SHA-256 over all C and Cython sources and headers: two builds of the same code have the same."""
    digest = hashlib.sha256()
    for name in sorted([*c_sources(), *headers(), *CYTHON]):
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()


def openmp_flags(compiler: list[str]) -> tuple[list[str], list[str]]:
    """(compile, link) flags that make an OpenMP program build, both empty where none do."""
    candidates = [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":  # Apple's clang takes the flag only in this form, with libomp from elsewhere
        prefix = Path(os.environ.get("LIBOMP_PREFIX", "/opt/homebrew/opt/libomp"))
        candidates.append((["-Xpreprocessor", "-fopenmp", f"-I{prefix}/include"], [f"-L{prefix}/lib", "-lomp"]))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "openmp.c"
        program.write_text(OPENMP_PROGRAM)
        for compile_flags, link_flags in candidates:
            command = [*compiler, str(program), *compile_flags, "-o", str(Path(folder) / "openmp"), *link_flags]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return compile_flags, link_flags
    return [], []


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def file_by_file(compile_all: Callable[..., list[str]], jobs: int) -> Callable[..., list[str]]:
    """A compiler's `compile` that has several of its sources in work at a time: setuptools' own takes one by one."""

    def compile_sources(sources: list[str], *arguments: Any, **options: Any) -> list[str]:
        with ThreadPoolExecutor(jobs) as pool:
            objects = list(pool.map(lambda source: compile_all([source], *arguments, **options), sources))
        return [each for made in objects for each in made]

    return compile_sources


class BuildCore(build_ext):
    """Adds OpenMP where the compiler has it, compiles on all cores (or `build_ext -j N`), and leaves a record of what
    was built beside the module."""

    def build_extensions(self) -> None:
        compile_flags, link_flags = openmp_flags(list(self.compiler.compiler))
        if not compile_flags:
            print("warning: the C compiler has no OpenMP: cnn-engine will run on one thread", file=sys.stderr)
        for extension in self.extensions:
            extension.extra_compile_args += compile_flags or ["-Wno-unknown-pragmas"]
            extension.extra_link_args += link_flags
        self.compiler.compile = file_by_file(self.compiler.compile, self.parallel or usable_cores())
        super().build_extensions()
        write_build_info(Path(self.get_ext_fullpath("cnncore._core")).parent)

    def copy_extensions_to_source(self) -> None:  # build_ext --inplace
        super().copy_extensions_to_source()
        write_build_info(Path(self.get_finalized_command("build_py").get_package_dir("cnncore")))


def write_build_info(package: Path) -> None:
    """The record of what was built, beside the module."""
    package.mkdir(parents=True, exist_ok=True)
    header = hashlib.sha256((ROOT / HEADER).read_bytes()).hexdigest()
    (package / "_build_info.py").write_text(
        '"""Written by the build: what the compiled core was made from."""\n\n'
        f'HEADER_HASH = "{header}"\nSOURCE_HASH = "{source_hash()}"\n'
    )


if sys.platform == "win32":
    sys.exit("cnn-engine builds on Linux and macOS; on Windows use the Windows Subsystem for Linux (WSL).")

os.chdir(ROOT)
core = Extension(
    "cnncore._core",
    sources=[CYTHON[0], *c_sources()],
    include_dirs=["csrc/include", "csrc/src", numpy.get_include()],
    # The asserts are for the C tests. Said here, as a user's CFLAGS take the place of those that Python was built with.
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"), ("NDEBUG", "1")],
    depends=[*headers(), "csrc/sources.txt", CYTHON[1]],
    extra_compile_args=["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden"],
    extra_link_args=[],
)
setup(
    ext_modules=cythonize([core], language_level=3, build_dir="build/cython"),
    cmdclass={"build_ext": BuildCore},
)
