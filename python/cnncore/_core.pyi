from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

ABI_VERSION: int
ALIGNMENT: int
MAX_EXTERNALS: int
MAX_THREADS: int
MAX_POOL_AREA: int
WARP_ONE: int
COLOUR_ONE: int
COLOUR_LARGEST: int
FILLS: dict[str, int]
PANEL: int
SEGMENT_DTYPE: np.dtype[Any]

class OperandInfo(NamedTuple):
    name: str
    dtype: np.dtype[Any]
    optional: bool
    read: bool
    written: bool
    in_place: bool
    per_sample: bool

class OpInfo(NamedTuple):
    name: str
    geometry: str
    operands: tuple[OperandInfo, ...]
    may_stop: bool

class OpResult(NamedTuple):
    loss: float
    gradient_norm: float
    elapsed: float

class Blocking(NamedTuple):
    variant: str
    lane_channels: int
    lane_vectors: int
    tiles: int
    tile_block: int
    ic_blocks: int
    oc_blocks: int
    oc_block: int
    filter_columns: int

class RegisterTile(NamedTuple):
    rows: int
    columns: int
    width: int

OPS: dict[str, OpInfo]
GEOMETRIES: dict[str, tuple[str, ...]]
ACTIVATIONS: dict[str, int]  # those that another op can end with, and the number that its geometry has for each
GEOMETRY_LIMITS: dict[str, dict[str, tuple[float, float]]]  # of each kind and field: the least and the largest number

class CoreError(RuntimeError):
    status: str
    detail: int

class Program:
    max_batch: int
    instruction_count: int
    arena_bytes: int
    def __init__(
        self,
        instructions: list[tuple[str, dict[str, int], dict[str, Any]]],
        operands: list[tuple[str, int, int]],
        max_batch: int,
        arena_bytes: int,
        spaces: dict[str, NDArray[Any]],
        alone: Collection[int] = (),
        brief: bool = False,
        most_workers: int = 0,
        exact: bool = False,
        windows: Mapping[int, tuple[int, int]] = ...,
    ) -> None: ...
    def takes(self, x: Any, shape: tuple[int, ...]) -> bool: ...
    def run(
        self,
        batch: int,
        externals: Sequence[NDArray[Any] | None],
        *,
        seed: int = 0,
        step: int = 0,
        learning_rate: float = 0.0,
        average: float = -1.0,
        first_sample: int = 0,
        share: float = 1.0,
        more: bool = False,
        check_outputs: bool = False,
        seconds: NDArray[np.float64] | None = None,
        waited: NDArray[np.float64] | None = None,
        first: int = 0,
        until: int = 0,
    ) -> float: ...
    @property
    def gradient_norm(self) -> float: ...
    @property
    def elapsed(self) -> float: ...
    @property
    def workers(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def arena(self) -> NDArray[np.uint8]: ...

def aligned_zeros(count: int, dtype: DTypeLike = ...) -> NDArray[Any]: ...
def op_fits(name: str, geometry: Mapping[str, Any]) -> bool: ...
def op_operand_bytes(name: str, geometry: dict[str, float], batch: int) -> dict[str, int]: ...
def op_workspace(name: str, geometry: Mapping[str, Any], batch: int) -> tuple[int, int]: ...
def op_blocking(name: str, geometry: Mapping[str, Any], batch: int) -> Blocking: ...
def run_op(
    name: str,
    operands: Mapping[str, NDArray[Any] | None],
    geometry: Mapping[str, Any],
    batch: int,
    *,
    reference: bool = False,
    threads: int | None = None,
    seed: int = 0,
    step: int = 0,
    learning_rate: float = 0.0,
    average: float = -1.0,
    first_sample: int = 0,
    share: float = 1.0,
    more: bool = False,
) -> OpResult: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def usable_cpus() -> int: ...
def measure_team() -> int: ...
def has_openmp() -> bool: ...
def isa() -> str: ...
def pack_int8(
    op: str, geometry: Mapping[str, Any], weights: NDArray[np.int8], bias: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int8] | NDArray[np.int16], NDArray[np.int32]]: ...
def set_isa(name: str | None) -> None: ...
def uses_vnni() -> bool: ...
def set_vnni(wanted: bool) -> None: ...
def register_tile(name: str) -> RegisterTile: ...
def available_isas() -> list[str]: ...
def philox4x32(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]: ...
def philox_draws(counters: NDArray[np.uint32], key: Sequence[int]) -> NDArray[np.uint32]: ...
def gather_images(
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    *,
    shifts: NDArray[np.int32] | None = None,
    fill: str = "constant",
    fill_value: int = 0,
    flips: NDArray[np.bool_] | None = None,
    turns: NDArray[np.bool_] | None = None,
    boxes: NDArray[np.int32] | None = None,
    paints: NDArray[np.uint8] | None = None,
    threads: int = 1,
    reference: bool = False,
) -> NDArray[np.float32]: ...
def warp_images(
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    coefficients: NDArray[np.int64],
    *,
    fill: str = "constant",
    fill_value: int = 0,
    threads: int = 1,
    reference: bool = False,
) -> NDArray[np.uint8]: ...
def recolour_images(
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    factors: NDArray[np.int32],
    *,
    threads: int = 1,
    reference: bool = False,
) -> NDArray[np.uint8]: ...
def fma_burst(rounds: int) -> float: ...
def read_burst(values: NDArray[np.float32], rounds: int) -> float: ...
def sgemm(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    alpha: float = 1.0,
    beta: float = 0.0,
    out: NDArray[np.float32] | None = None,
    reference: bool = False,
) -> NDArray[np.float32]: ...
