"""The compiled core: programs, single ops, threads, instruction sets. Dimension legend: csrc/include/cnn.h."""

import os

# How long a thread of GNU's OpenMP runtime spins between two programs before it sleeps, read once, when the runtime is
# loaded below. Its default, some milliseconds, starves whatever else runs: the loader, other processes.
_spins = os.environ.get("GOMP_SPINCOUNT")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
try:
    from cnncore._build_info import HEADER_HASH, SOURCE_HASH
    from cnncore.binding import release, released

    with released():
        from cnncore._core import (
            ABI_VERSION,
            ACTIVATIONS,
            ALIGNMENT,
            COLOUR_LARGEST,
            COLOUR_ONE,
            FILLS,
            GEOMETRIES,
            GEOMETRY_LIMITS,
            MAX_EXTERNALS,
            MAX_POOL_AREA,
            MAX_THREADS,
            OPS,
            PANEL,
            SEGMENT_DTYPE,
            WARP_ONE,
            Blocking,
            CoreError,
            OperandInfo,
            OpInfo,
            OpResult,
            Program,
            RegisterTile,
            aligned_zeros,
            available_isas,
            fma_burst,
            gather_images,
            get_num_threads,
            has_openmp,
            isa,
            measure_team,
            op_blocking,
            op_fits,
            op_operand_bytes,
            op_workspace,
            pack_int8,
            philox4x32,
            philox_draws,
            read_burst,
            recolour_images,
            register_tile,
            run_op,
            set_isa,
            set_num_threads,
            set_vnni,
            sgemm,
            usable_cpus,
            uses_vnni,
            warp_images,
        )
except ImportError as error:
    raise ImportError(
        "the compiled core of cnn-engine (cnncore._core) cannot be loaded: build it with `pip install .` in the "
        f"project's folder, with a C compiler at hand ({error})"
    ) from error
finally:
    if _spins is None:
        del os.environ["GOMP_SPINCOUNT"]


def header_hash() -> str:
    """SHA-256 of the cnn.h that the core was compiled with."""
    return HEADER_HASH


def source_hash() -> str:
    """SHA-256 over all C sources and headers that the core was compiled from."""
    return SOURCE_HASH


__all__ = [
    "ABI_VERSION",
    "ACTIVATIONS",
    "ALIGNMENT",
    "COLOUR_LARGEST",
    "COLOUR_ONE",
    "FILLS",
    "GEOMETRIES",
    "GEOMETRY_LIMITS",
    "MAX_EXTERNALS",
    "MAX_POOL_AREA",
    "MAX_THREADS",
    "OPS",
    "PANEL",
    "SEGMENT_DTYPE",
    "WARP_ONE",
    "Blocking",
    "CoreError",
    "OpInfo",
    "OpResult",
    "OperandInfo",
    "Program",
    "RegisterTile",
    "aligned_zeros",
    "available_isas",
    "fma_burst",
    "gather_images",
    "get_num_threads",
    "has_openmp",
    "header_hash",
    "isa",
    "measure_team",
    "op_blocking",
    "op_fits",
    "op_operand_bytes",
    "op_workspace",
    "pack_int8",
    "philox4x32",
    "philox_draws",
    "read_burst",
    "recolour_images",
    "register_tile",
    "release",
    "released",
    "run_op",
    "set_isa",
    "set_num_threads",
    "set_vnni",
    "sgemm",
    "source_hash",
    "usable_cpus",
    "uses_vnni",
    "warp_images",
]
