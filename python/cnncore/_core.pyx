# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The thin layer over csrc/include/cnn.h: check, allocate, one C call. Dimension legend and layouts stand there."""
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

import threading
from collections import namedtuple

cnp.import_array()

PANEL = CNN_PANEL
ALIGNMENT = CNN_ALIGNMENT
MAX_THREADS = CNN_MAX_THREADS
MAX_POOL_AREA = CNN_MAX_POOL_AREA
WARP_ONE = CNN_WARP_ONE
COLOUR_ONE, COLOUR_LARGEST = CNN_COLOUR_ONE, CNN_COLOUR_LARGEST
MAX_EXTERNALS = CNN_MAX_EXTERNALS
ABI_VERSION = CNN_ABI_VERSION

SEGMENT_DTYPE = np.dtype(
    [("offset", "<i8"), ("count", "<i8"), ("l2", "<f4"), ("weight_decay", "<f4"), ("lr_scale", "<f4"),
     ("reserved", "<f4")]
)

OperandInfo = namedtuple("OperandInfo", ["name", "dtype", "optional", "read", "written", "in_place", "per_sample"])
OpInfo = namedtuple("OpInfo", ["name", "geometry", "operands", "may_stop"])
OpResult = namedtuple("OpResult", ["loss", "gradient_norm", "elapsed"])
Blocking = namedtuple(
    "Blocking",
    ["variant", "lane_channels", "lane_vectors", "tiles", "tile_block", "ic_blocks", "oc_blocks", "oc_block",
     "filter_columns"],
)
RegisterTile = namedtuple("RegisterTile", ["rows", "columns", "width"])

STATUS_NAMES = {
    CNN_OUT_OF_MEMORY: "CNN_OUT_OF_MEMORY",
    CNN_BAD_PROGRAM: "CNN_BAD_PROGRAM",
    CNN_BAD_BATCH: "CNN_BAD_BATCH",
    CNN_BAD_THREADS: "CNN_BAD_THREADS",
    CNN_BAD_ISA: "CNN_BAD_ISA",
    CNN_NONFINITE_INPUT: "CNN_NONFINITE_INPUT",
    CNN_LABEL_OUT_OF_RANGE: "CNN_LABEL_OUT_OF_RANGE",
    CNN_NONFINITE_LOSS: "CNN_NONFINITE_LOSS",
    CNN_NONFINITE_GRADIENT: "CNN_NONFINITE_GRADIENT",
    CNN_NONFINITE_OUTPUT: "CNN_NONFINITE_OUTPUT",
    CNN_BAD_WARP: "CNN_BAD_WARP",
    CNN_PART_DONE: "CNN_PART_DONE",
}

SPACES = {
    "arena": CNN_SPACE_ARENA,
    "parameters": CNN_SPACE_PARAMETERS,
    "gradients": CNN_SPACE_GRADIENTS,
    "buffers": CNN_SPACE_BUFFERS,
    "states": CNN_SPACE_STATES,
    "constants": CNN_SPACE_CONSTANTS,
    "external": CNN_SPACE_EXTERNAL,
}

VARIANTS = {
    CNN_VARIANT_USUAL: "usual",
    CNN_VARIANT_LANES: "lanes",
    CNN_VARIANT_SPARSE: "sparse",
    CNN_VARIANT_PICK: "pick",
    CNN_VARIANT_FEW_ROWS: "few_rows",
    CNN_VARIANT_DEPTHWISE: "depthwise",
}

FILLS = {
    "constant": CNN_FILL_CONSTANT,
    "nearest": CNN_FILL_NEAREST,
    "reflect": CNN_FILL_REFLECT,
    "wrap": CNN_FILL_WRAP,
    "mirror": CNN_FILL_MIRROR,
}

_DTYPES = {
    CNN_F32: np.dtype(np.float32),
    CNN_U8: np.dtype(np.uint8),
    CNN_I64: np.dtype(np.int64),
    CNN_SEGMENTS: SEGMENT_DTYPE,
    CNN_I8: np.dtype(np.int8),
    CNN_I16: np.dtype(np.int16),
    CNN_I32: np.dtype(np.int32),
}


class CoreError(RuntimeError):
    """The C core stopped: ``status`` is its code's name, ``detail`` the index that cnn.h documents (-1: none)."""

    def __init__(self, code, detail=-1, where=""):
        self.status = STATUS_NAMES[code]
        self.detail = detail
        self._arguments = (code, detail, where)
        words = cnn_status_message(<cnn_status><int>code).decode()
        super().__init__(f"{where}{words}" + (f" (at {detail})" if detail >= 0 else ""))

    def __reduce__(self):
        return CoreError, self._arguments


cdef int _check(cnn_status status, ptrdiff_t detail=-1) except -1:
    if status != CNN_OK:
        raise CoreError(<int>status, detail)
    return 0


# ---- the registry ------------------------------------------------------------------------------------------------


cdef _read_operand(const cnn_operand_info *info):
    return OperandInfo(
        info.name.decode(),
        _DTYPES[<int>info.type],
        optional=bool(info.use & CNN_OPTIONAL),
        read=bool(info.use & CNN_READ),
        written=bool(info.use & CNN_WRITTEN),
        in_place=bool(info.use & CNN_IN_PLACE),
        per_sample=info.extent < CNN_WEIGHTS,
    )


def _read_registry():
    cdef const cnn_op_info *info
    cdef int number = 0, i
    ops = {}
    while True:
        info = cnn_op_find(number)
        if info == NULL:
            return ops
        operands = tuple([_read_operand(&info.operands[i]) for i in range(info.operand_count)])
        name, kind = info.name.decode(), cnn_geometry_find(<int>info.geometry).name.decode()
        ops[name] = OpInfo(name, kind, operands, bool(info.flags & CNN_MAY_STOP))
        number += 1


def _read_geometries():
    cdef const cnn_geometry_info *info
    cdef int kind, i
    geometries = {}
    for kind in range(<int>CNN_GEOMETRY_COUNT):
        info = cnn_geometry_find(kind)
        geometries[info.name.decode()] = tuple([info.fields[i].name.decode() for i in range(info.field_count)])
    return geometries


def _read_activations():
    cdef const char *name
    cdef int number = 1
    activations = {}
    while True:
        name = cnn_activation_name(number)
        if name == NULL:
            return activations
        activations[name.decode()] = number
        number += 1


def _read_limits():
    cdef const cnn_geometry_field *field
    cdef int i
    limits = {}
    for kind, (name, fields) in enumerate(GEOMETRIES.items()):
        limits[name] = {}
        for i in range(len(fields)):
            field = &cnn_geometry_find(kind).fields[i]
            number = float if field.real else int
            limits[name][fields[i]] = (number(field.least), number(field.most))
    return limits


OPS = _read_registry()
GEOMETRIES = _read_geometries()
GEOMETRY_LIMITS = _read_limits()
ACTIVATIONS = _read_activations()
_OP_NUMBERS = {name: number for number, name in enumerate(OPS)}


cdef int _fill_geometry(cnn_geometry *out, str op, dict values) except -1:
    """A dict becomes the geometry of an op: all of its kind's fields, and no other."""
    cdef const cnn_geometry_info *info = cnn_geometry_find(<int>cnn_op_find(_OP_NUMBERS[op]).geometry)
    cdef const cnn_geometry_field *field
    cdef char *start = <char *>out
    cdef int i
    cdef tuple names = GEOMETRIES[OPS[op].geometry]
    if len(values) != info.field_count:
        raise _other_fields(op, values)
    for i in range(info.field_count):  # a plan reads some hundred geometries, so each field is looked up once
        field = &info.fields[i]
        try:
            if field.real:
                (<float *>(start + field.offset))[0] = values[names[i]]
            else:
                (<ptrdiff_t *>(start + field.offset))[0] = values[names[i]]
        except KeyError:
            raise _other_fields(op, values) from None
        except OverflowError:
            raise ValueError(
                f"geometry of kind {OPS[op].geometry}: {names[i]} is {values[names[i]]:.3g}, beyond any limit"
            ) from None
    return 0


cdef _other_fields(str op, dict values):
    kind = OPS[op].geometry
    return ValueError(f"geometry of kind {kind}: expected the fields {GEOMETRIES[kind]}, got {tuple(values)}")


# ---- memory ------------------------------------------------------------------------------------------------------


def aligned_zeros(count, dtype=np.float32):
    """A zeroed 1-D array of ``count`` elements that starts on ALIGNMENT bytes."""
    dtype = np.dtype(dtype)
    memory = np.zeros(count * dtype.itemsize + CNN_ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % CNN_ALIGNMENT
    return memory[start:start + count * dtype.itemsize].view(dtype)


cdef void *_address(cnp.ndarray array):
    return cnp.PyArray_DATA(array)


# ---- programs ----------------------------------------------------------------------------------------------------


def _check_places(operands, spaces):
    """Refuse spaces and externals that do not exist, and arrays that the program could not work on."""
    unknown = ({space for space, _, _ in operands} | spaces.keys()) - SPACES.keys()
    if unknown:
        raise ValueError(f"unknown space {sorted(unknown)[0]!r}: expected one of {', '.join(SPACES)}")
    numbers = sorted({offset for space, offset, _ in operands if space == "external"})
    if numbers and (min(numbers) < 0 or max(numbers) >= CNN_MAX_EXTERNALS):
        raise ValueError(f"external numbers: expected 0 to {CNN_MAX_EXTERNALS - 1}, got {numbers}")
    for name, array in spaces.items():
        if name in ("arena", "external"):
            raise ValueError(f"space {name!r} is not given as an array")
        if not array.flags.c_contiguous or (array.nbytes and array.ctypes.data % CNN_ALIGNMENT):
            raise ValueError(f"space {name}: expected a contiguous array aligned to {CNN_ALIGNMENT} bytes")
        if name != "constants" and not array.flags.writeable:
            raise ValueError(f"space {name}: the array is read-only")


cdef list _read_externals(list instructions, list operands, ptrdiff_t max_batch):
    """[(number, dtype, bytes of each sample, bytes beside them, written)] of the externals that the instructions of a
    program use that has been made."""
    cdef cnn_geometry shape
    uses = {}
    for op, names, geometry in instructions:
        _read_shape(&shape, op, geometry)
        for place, info in enumerate(OPS[op].operands):
            index = names.get(info.name)
            if index is None or operands[index][0] != "external":
                continue
            number = operands[index][1]
            needed = cnn_operand_bytes(cnn_op_find(_OP_NUMBERS[op]), place, &shape, max_batch)
            each, whole = (needed // max_batch, 0) if info.per_sample else (0, needed)
            _, _, each_before, whole_before, written = uses.get(number, (number, info.dtype, 0, 0, False))
            uses[number] = (number, info.dtype, max(each_before, each), max(whole_before, whole),
                            written or info.written)
    return [uses[number] for number in sorted(uses)]


cdef int _check_exact(cnn_instruction *table, Py_ssize_t count, cnn_operand *places, ptrdiff_t batch) except -1:
    """ValueError for the first operand that is not as large as the geometry of its op says; the core took them all."""
    cdef const cnn_op_info *info
    cdef Py_ssize_t number
    cdef int place, operand
    for number in range(count):
        info = cnn_op_find(table[number].op)
        for place in range(info.operand_count):
            operand = table[number].operands[place]
            if operand < 0:
                continue
            needed = cnn_operand_bytes(info, place, &table[number].geometry,
                                       cnn_instruction_batch(&table[number], batch))
            if places[operand].bytes != needed:
                raise ValueError(f"instruction {number}, {info.name.decode()}: operand "
                                 f"{info.operands[place].name.decode()!r} has {places[operand].bytes} bytes, by its "
                                 f"geometry {needed}")
    return 0


cdef class Program:
    """A planned program: created once, run with one C call per batch.

    instructions   list of (op name, {operand name: index into operands}, {geometry field: number})
    operands       list of (space, offset in bytes, bytes at the largest batch); for "external" the offset is its index
    spaces         {space: aligned 1-D array}: parameters, gradients, buffers, states, constants; kept alive
    alone          indices of the instructions that one worker runs; a program of nothing else opens no team
    windows        {index of an instruction: (first, samples)}: it runs on so many samples at most, from `first` on
    brief          a run takes hardly longer than waking the team: after a pause it is one worker's
    most_workers   of the team, where more would lose in their meetings what they gain; 0: as many as there are
    exact          every operand has as many bytes as the geometry of its op says, and none is larger
    Raises ValueError for a malformed description, CoreError where the core refuses it.
    """

    cdef cnn_program *program
    cdef cnn_run state
    cdef object spaces
    cdef object lock
    cdef list externals
    cdef const char *isa
    cdef readonly ptrdiff_t max_batch
    cdef readonly ptrdiff_t instruction_count
    cdef readonly int64_t arena_bytes

    def __init__(self, list instructions, list operands, ptrdiff_t max_batch, int64_t arena_bytes, dict spaces,
                 alone=(), bint brief=False, int most_workers=0, bint exact=False, windows={}):
        cdef cnn_program_description description
        cdef ptrdiff_t detail = -1, i
        cdef cnn_instruction *table = NULL
        cdef cnn_operand *places = NULL
        if self.program != NULL:
            raise ValueError("a Program is made once")
        self.lock = threading.Lock()
        self.spaces = dict(spaces)
        self.max_batch = max_batch
        self.instruction_count = len(instructions)
        self.arena_bytes = arena_bytes
        self.isa = cnn_get_isa()
        memset(&description, 0, sizeof(description))
        try:
            table = <cnn_instruction *>PyMem_Calloc(max(1, len(instructions)), sizeof(cnn_instruction))
            places = <cnn_operand *>PyMem_Calloc(max(1, len(operands)), sizeof(cnn_operand))
            if table == NULL or places == NULL:
                raise MemoryError
            _check_places(operands, spaces)
            for i, (op, names, geometry) in enumerate(instructions):
                self._write_instruction(&table[i], op, names, geometry)
                table[i].alone = i in alone
                table[i].first, table[i].samples = windows.get(i, (0, 0))
            for i, (space, offset, size) in enumerate(operands):
                places[i].space = <cnn_space><int>SPACES[space]
                places[i].offset = offset
                places[i].bytes = size
            description.instructions = table
            description.instruction_count = len(instructions)
            description.operands = places
            description.operand_count = len(operands)
            description.max_batch = max_batch
            description.brief = brief
            description.most_workers = most_workers
            description.space_bytes[<int>CNN_SPACE_ARENA] = arena_bytes
            for name, array in spaces.items():
                description.spaces[<int>SPACES[name]] = _address(array)
                description.space_bytes[<int>SPACES[name]] = array.nbytes
            status = cnn_program_create(&description, &self.program, &detail)
            if status != CNN_OK:
                where = f"{instructions[detail][0]}: " if 0 <= detail < len(instructions) else ""
                raise CoreError(<int>status, detail, where)
            if exact:
                _check_exact(table, len(instructions), places, max_batch)
            self.externals = _read_externals(instructions, operands, max_batch)
        finally:
            PyMem_Free(table)
            PyMem_Free(places)

    def __dealloc__(self):
        cnn_program_destroy(self.program)

    cdef int _write_instruction(self, cnn_instruction *out, str op, dict names, dict geometry) except -1:
        cdef int i, known = 0
        if op not in OPS:
            raise ValueError(f"unknown op {op!r}")
        info = OPS[op]
        out.op = _OP_NUMBERS[op]
        for i in range(CNN_MAX_OPERANDS):
            out.operands[i] = -1
        for i, operand in enumerate(info.operands):
            known += operand.name in names
            number = names.get(operand.name)
            if number is not None:
                out.operands[i] = number
            elif not operand.optional:
                raise ValueError(f"{op}: operand {operand.name!r} is missing")
        if known != len(names):
            unknown = names.keys() - {operand.name for operand in info.operands}
            raise ValueError(f"{op}: no operand is named {sorted(unknown)[0]!r}")
        return _fill_geometry(&out.geometry, op, geometry)

    def takes(self, x, tuple shape):
        """Whether x is exactly a C-contiguous float32 array of this shape, and the instruction set is still that of
        the program's creation: all that a caller must know who runs the program again as before."""
        cdef cnp.ndarray array
        cdef Py_ssize_t axis
        if not cnp.PyArray_CheckExact(x):
            return False
        array = x
        if cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT32 or not cnp.PyArray_ISCARRAY_RO(array):
            return False
        if array.ndim != len(shape) or cnn_get_isa() != self.isa:
            return False
        for axis in range(array.ndim):
            if array.shape[axis] != <Py_ssize_t>shape[axis]:
                return False
        return True

    def run(self, ptrdiff_t batch, externals, *, uint64_t seed=0, uint64_t step=0, double learning_rate=0.0,
            double average=-1.0, ptrdiff_t first_sample=0, double share=1.0, bint more=False,
            bint check_outputs=False, double[::1] seconds=None, double[:, ::1] waited=None, ptrdiff_t first=0,
            ptrdiff_t until=0):
        """Execute all instructions for ``batch`` samples; returns the loss (0.0 without a loss op).

        externals: arrays or None, in the order of the program's external numbers: C-contiguous, of the op's dtype
        and with at least ``batch`` samples. average, first_sample, share, more: as cnn_run has them; more ends the
        program at accumulate_gradients. first, until: the run is of these instructions (0: from the first, to the
        last); what earlier ones left is still there. seconds: float64 [instructions], to which each instruction's time
        is added. waited: with seconds, float64 [instructions + 1, threads], to which is added how long each worker
        waited for others in it, and in the last row how long after the call it began (see cnn_run).
        Raises CoreError with the status and detail of cnn.h, ValueError for an external that does not fit. Releases
        the GIL; a second thread that calls waits for the first.
        """
        cdef cnn_status status
        if seconds is not None and seconds.shape[0] < self.instruction_count:
            raise ValueError(f"seconds: expected {self.instruction_count} elements, got {seconds.shape[0]}")
        if waited is not None and (seconds is None or waited.shape[0] <= self.instruction_count or not waited.shape[1]):
            raise ValueError(f"waited: expected seconds beside it, and a row more than {self.instruction_count}")
        given = tuple(externals)  # keeps the arrays alive
        with self.lock:
            self._bind(given, batch)
            self.state.batch = batch
            self.state.seed = seed
            self.state.step = step
            self.state.learning_rate = learning_rate
            self.state.average = average
            self.state.first_sample = first_sample
            self.state.share = share
            self.state.more = more
            self.state.from_ = first
            self.state.until = until
            self.state.check_outputs = check_outputs
            self.state.seconds = NULL if seconds is None else &seconds[0]
            self.state.waited = NULL if waited is None else &waited[0, 0]
            self.state.waited_workers = 0 if waited is None else waited.shape[1]
            with nogil:
                status = cnn_program_run(self.program, &self.state)
            if status != CNN_OK and status != CNN_PART_DONE:
                raise CoreError(<int>status, self.state.detail, self._where(status))
            return self.state.loss

    cdef int _bind(self, tuple given, ptrdiff_t batch) except -1:
        cdef cnp.ndarray array
        cdef int number
        cdef int64_t each, whole
        cdef bint written
        for number, dtype, each, whole, written in self.externals:
            if number >= len(given) or given[number] is None:
                raise ValueError(f"the program uses external {number}, which is not given")
            array = given[number]
            if array.dtype is not dtype and array.dtype != dtype:
                raise ValueError(f"external {number}: expected {dtype}, got {array.dtype}")
            if not cnp.PyArray_IS_C_CONTIGUOUS(array):
                raise ValueError(f"external {number} must be C-contiguous")
            if not cnp.PyArray_ISALIGNED(array):
                raise ValueError(f"external {number} must be aligned to its type")
            if cnp.PyArray_NBYTES(array) < each * min(batch, self.max_batch) + whole:
                raise ValueError(f"external {number}: expected {each * batch + whole} bytes for {batch} samples, "
                                 f"got {array.nbytes}")
            if written and not cnp.PyArray_ISWRITEABLE(array):
                raise ValueError(f"external {number} is an output, but the array is read-only")
            self.state.externals[number] = _address(array)
        return 0

    def _where(self, int status):
        if status == CNN_BAD_BATCH:
            return f"batch {self.state.batch}, planned for 1 to {self.max_batch}: "
        return _variable(status)

    @property
    def gradient_norm(self):
        """Euclidean norm of the last run's gradient before clipping (0.0 without clip_gradients)."""
        return self.state.gradient_norm

    @property
    def elapsed(self):
        """Seconds that the last run spent inside C."""
        return self.state.elapsed

    @property
    def workers(self):
        """Size of the team of the last run: fewer than there are threads where the program is brief, or others are at work."""
        return self.state.workers

    @property
    def workspace_bytes(self):
        return cnn_program_workspace_bytes(self.program)

    @property
    def arena(self):
        """The arena as uint8 [arena_bytes], a view: values are there only while they are live."""
        cdef unsigned char[::1] view
        if self.arena_bytes == 0:
            return np.empty(0, np.uint8)
        view = <unsigned char[:self.arena_bytes]><unsigned char *>cnn_program_arena(self.program)
        array = np.asarray(view)
        return _keep_alive(array, self)


class _ArenaView(np.ndarray):
    """A view that keeps its program alive."""

    program = None


def _keep_alive(array, program):
    view = array.view(_ArenaView)
    view.program = program
    return view


# ---- single ops --------------------------------------------------------------------------------------------------


cdef int _read_shape(cnn_geometry *out, str name, dict geometry) except -1:
    if name not in OPS:
        raise ValueError(f"unknown op {name!r}")
    memset(out, 0, sizeof(cnn_geometry))
    return _fill_geometry(out, name, geometry)


def op_fits(str name, dict geometry):
    """Whether the op can run on this geometry: one that it refuses ends a program's making with CNN_BAD_PROGRAM."""
    cdef cnn_geometry shape
    _read_shape(&shape, name, geometry)
    return bool(cnn_geometry_fits(cnn_op_find(_OP_NUMBERS[name]), &shape))


def op_operand_bytes(str name, dict geometry, ptrdiff_t batch):
    """{operand name: bytes that the op reads or writes of it}; 0 of an argmax without pooling."""
    cdef cnn_geometry shape
    _read_fitting(&shape, name, geometry, batch)
    return {
        operand.name: cnn_operand_bytes(cnn_op_find(_OP_NUMBERS[name]), place, &shape, batch)
        for place, operand in enumerate(OPS[name].operands)
    }


def op_workspace(str name, dict geometry, ptrdiff_t batch):
    """Bytes that the op works in: (for the op, for each worker)."""
    cdef cnn_geometry shape
    cdef cnn_workspace need
    _read_fitting(&shape, name, geometry, batch)
    need = cnn_op_find(_OP_NUMBERS[name]).workspace(&shape, batch)
    return need.shared, need.scratch


def op_blocking(str name, dict geometry, ptrdiff_t batch):
    """Which variant of the op runs and how it cuts its work: a Blocking, whose fields cnn.h documents (cnn_blocking)."""
    cdef cnn_geometry shape
    cdef cnn_blocking found
    _read_fitting(&shape, name, geometry, batch)
    found = cnn_op_blocking(_OP_NUMBERS[name], &shape, batch)
    return Blocking(VARIANTS[<int>found.variant], found.lane_channels, found.lane_vectors, found.tiles,
                    found.tile_block, found.ic_blocks, found.oc_blocks, found.oc_block, found.filter_columns)


cdef int _read_fitting(cnn_geometry *out, str name, dict geometry, ptrdiff_t batch) except -1:
    _read_shape(out, name, geometry)
    if batch < 1:
        raise CoreError(<int>CNN_BAD_BATCH, -1, f"{name}: ")
    if not cnn_batch_fits(cnn_op_find(_OP_NUMBERS[name]), out, batch):
        raise CoreError(<int>CNN_BAD_PROGRAM, -1, f"{name}: ")
    return 0


def run_op(str name, dict operands, dict geometry, ptrdiff_t batch, *, bint reference=False, threads=None,
           uint64_t seed=0, uint64_t step=0, double learning_rate=0.0, double average=-1.0, ptrdiff_t first_sample=0,
           double share=1.0, bint more=False):
    """Run one op on arrays in the core's layouts; outputs are written in place.

    operands: {operand name: C-contiguous array of the registry's dtype, or None}, at least as large as the geometry
    says. argmax, where it is read, must be what the forward pass wrote. reference: run the naive twin. Returns
    OpResult(loss, gradient_norm, elapsed).
    """
    cdef void *table[CNN_MAX_OPERANDS]
    cdef cnn_geometry shape
    cdef cnn_run state
    cdef cnn_status status
    cdef int team = get_num_threads() if threads is None else threads
    cdef int number, i
    cdef int64_t needed
    _read_fitting(&shape, name, geometry, batch)
    number = _OP_NUMBERS[name]
    info = OPS[name]
    memset(table, 0, sizeof(table))
    memset(&state, 0, sizeof(state))
    unknown = operands.keys() - {operand.name for operand in info.operands}
    if unknown:
        raise ValueError(f"{name}: no operand is named {sorted(unknown)[0]!r}")
    for i, operand in enumerate(info.operands):
        array = operands.get(operand.name)
        if array is None:
            if not operand.optional:
                raise ValueError(f"{name}: operand {operand.name!r} is missing")
            continue
        if array.dtype != operand.dtype or not array.flags.c_contiguous:
            raise ValueError(f"{name}: {operand.name} must be a C-contiguous {operand.dtype} array")
        needed = cnn_operand_bytes(cnn_op_find(number), i, &shape, batch)
        if array.nbytes < needed:
            raise ValueError(f"{name}: {operand.name} must have {needed} bytes, got {array.nbytes}")
        table[i] = _address(array)
    state.batch = batch
    state.seed = seed
    state.step = step
    state.learning_rate = learning_rate
    state.average = average
    state.first_sample = first_sample
    state.share = share
    state.more = more
    state.detail = -1
    with nogil:
        status = cnn_op_run(number, &shape, table, &state, team, reference)
    if status != CNN_OK and status != CNN_PART_DONE:
        raise CoreError(<int>status, state.detail, f"{name}: " + _variable(status))
    return OpResult(state.loss, state.gradient_norm, state.elapsed)


# ---- weights of integer inference --------------------------------------------------------------------------------


def pack_int8(str op, dict geometry, weights, bias=None):
    """(weights, bias) as conv2d_int8, winograd_int8 or linear_int8 reads them: int8 panels or int16 filters, a flat array
    that starts on ALIGNMENT bytes, and int32 (OC,), from which zero_src of the geometry times the sum of each channel's
    weights is taken off.

    weights            int8 (OC, IC/groups, KH, KW), or (N, K) of linear_int8
    bias               int32 (OC,); None: zeros
    ValueError for another op, geometry, type or shape.
    """
    cdef cnn_geometry shape
    cdef cnp.ndarray given, panels, corrected, start
    cdef const int32_t *added = NULL
    cdef cnn_status status
    cdef int number
    if op not in ("conv2d_int8", "winograd_int8", "linear_int8"):
        raise ValueError(f"pack_int8: expected conv2d_int8, winograd_int8 or linear_int8, got {op!r}")
    _read_fitting(&shape, op, geometry, 1)
    number = _OP_NUMBERS[op]
    if op == "linear_int8":
        expected = (geometry["n"], geometry["k"])
    else:
        expected = (geometry["oc"], geometry["ic"] // geometry["groups"], geometry["kh"], geometry["kw"])
    given = _table("pack_int8", "weights", weights, np.int8, expected)
    if bias is not None:
        start = _table("pack_int8", "bias", bias, np.int32, expected[:1])
        added = <const int32_t *>_address(start)
    kind = np.dtype(np.int16 if op == "winograd_int8" else np.int8)
    panels = aligned_zeros(op_operand_bytes(op, geometry, 1)["weights"] // kind.itemsize, kind)
    corrected = aligned_zeros(expected[0], np.int32)
    status = cnn_int8_pack(number, &shape, <const int8_t *>_address(given), added, <void *>_address(panels),
                           <int32_t *>_address(corrected))
    _check(status)
    return panels, corrected


# ---- batches of images -------------------------------------------------------------------------------------------


def gather_images(images, indices, scale, offset, *, shifts=None, str fill="constant", int fill_value=0, flips=None,
                  turns=None, boxes=None, paints=None, int threads=1, bint reference=False):
    """float32 (n, C, H, W): pixel * scale + offset of the samples ``indices`` of ``images``, changed on the way.

    images             uint8 (N, C, H, W) without gaps; may be a memory map
    indices            int64 (n,), each in 0 ... N-1
    scale, offset      float32 (C,), or (n, C) for factors of each sample's own
    shifts             int32 (n, 2): rows down and columns to the right; what comes in from outside is ``fill``ed:
                       constant (fill_value, 0 to 255), nearest, reflect (the border twice), wrap, mirror (the border
                       once)
    flips, turns       bool (n,): mirror left to right, top to bottom, after the shift
    boxes, paints      int32 (n, k, 4): top, left, bottom, right, ends exclusive, in the image as it then lies, painted
                       one after the other with ``paints``, uint8 (n, k, C), before scale and offset
    Releases the GIL. The bits depend neither on threads nor on the instruction set. ValueError for what does not fit.
    """
    cdef cnn_image_batch batch
    cdef cnn_status status = CNN_OK
    cdef ptrdiff_t n = len(indices), boxes_each = 0
    cdef float *dst
    count, channels, height, width = _checked_images("gather_images", images, fill, fill_value, threads)
    indices = _checked_indices("gather_images", indices, count)
    per_sample = getattr(scale, "ndim", 0) == 2
    factors = (n, channels) if per_sample else (channels,)
    scale = _table("gather_images", "scale", scale, np.float32, factors)
    offset = _table("gather_images", "offset", offset, np.float32, factors)
    memset(&batch, 0, sizeof(batch))
    if shifts is not None:
        shifts = _table("gather_images", "shifts", shifts, np.int32, (n, 2))
        batch.shifts = <const int32_t *>_address(shifts)
    if flips is not None:
        flips = _table("gather_images", "flips", flips, np.bool_, (n,))
        batch.flips = <const uint8_t *>_address(flips)
    if turns is not None:
        turns = _table("gather_images", "turns", turns, np.bool_, (n,))
        batch.turns = <const uint8_t *>_address(turns)
    if boxes is not None:
        boxes_each = boxes.shape[1] if getattr(boxes, "ndim", 0) == 3 else 0
        boxes = _table("gather_images", "boxes", boxes, np.int32, (n, boxes_each, 4))
        paints = _table("gather_images", "paints", paints, np.uint8, (n, boxes_each, channels))
        batch.boxes = <const int32_t *>_address(boxes)
        batch.paints = <const uint8_t *>_address(paints)
        batch.box_count = boxes_each
    result = np.empty((n, channels, height, width), np.float32)
    dst = <float *>_address(result)
    batch.images = <const uint8_t *>_address(images)
    batch.indices = <const int64_t *>_address(indices)
    batch.n, batch.c, batch.h, batch.w = n, channels, height, width
    batch.scale = <const float *>_address(scale)
    batch.offset = <const float *>_address(offset)
    batch.per_sample = per_sample
    batch.fill = <cnn_fill><int>FILLS[fill]
    batch.fill_value = <uint8_t>fill_value
    with nogil:
        if reference:
            cnn_ref_gather_images(dst, &batch)
        else:
            status = cnn_gather_images(dst, &batch, threads)
    _check(status)
    return result


def warp_images(images, indices, coefficients, *, str fill="constant", int fill_value=0, int threads=1,
                bint reference=False):
    """uint8 (n, C, H, W): the samples ``indices`` of ``images``, each warped by a map of its own, bilinear.

    images             uint8 (N, C, H, W) without gaps; H and W at most 2^15; may be a memory map
    indices            int64 (n,), each in 0 ... N-1
    coefficients       int64 (n, 2, 3) in units of 2^-32 pixels (``WARP_ONE`` is a pixel): pixel (x, y) of the result is
                       what lies at (a[0,0]*x + a[0,1]*y + a[0,2], a[1,0]*x + a[1,1]*y + a[1,2]). The last of a row at
                       most 2^61 in size, the others 2^46
    fill, fill_value   as of ``gather_images``, for what lies outside
    Releases the GIL. Whole numbers throughout: the bytes are the same everywhere. ValueError for what does not fit.
    """
    cdef cnn_image_warp warp
    cdef cnn_status status = CNN_OK
    cdef ptrdiff_t n = len(indices)
    cdef uint8_t *dst
    count, channels, height, width = _checked_images("warp_images", images, fill, fill_value, threads)
    indices = _checked_indices("warp_images", indices, count)
    coefficients = _table("warp_images", "coefficients", coefficients, np.int64, (n, 2, 3))
    result = np.empty((n, channels, height, width), np.uint8)
    dst = <uint8_t *>_address(result)
    warp.images = <const uint8_t *>_address(images)
    warp.indices = <const int64_t *>_address(indices)
    warp.n, warp.c, warp.h, warp.w = n, channels, height, width
    warp.coefficients = <const int64_t *>_address(coefficients)
    warp.fill = <cnn_fill><int>FILLS[fill]
    warp.fill_value = <uint8_t>fill_value
    with nogil:
        if reference:
            cnn_ref_warp_images(dst, &warp)
        else:
            status = cnn_warp_images(dst, &warp, threads)
    if status == CNN_BAD_WARP:
        raise ValueError(f"warp_images: an image has at most 2^15 rows and columns, coefficients are at most 2^46 and "
                         f"2^61 in size; got images {images.shape} and the largest coefficients "
                         f"{np.abs(coefficients.astype(float)).max(axis=(0, 1)).tolist()}")
    _check(status)
    return result


def recolour_images(images, indices, factors, *, int threads=1, bint reference=False):
    """uint8 (n, C, H, W): the samples ``indices`` of ``images``, brightened, with another contrast and saturation.

    images    uint8 (N, C, H, W) without gaps; may be a memory map
    indices   int64 (n,), each in 0 ... N-1
    factors   int32 (n, 3) in units of 2^-16 (``COLOUR_ONE`` changes nothing), 0 to ``COLOUR_LARGEST``: of brightness,
              contrast and saturation, in this order (see cnn_recolour_images in cnn.h)
    Releases the GIL. Whole numbers throughout: the bytes are the same everywhere. ValueError for what does not fit.
    """
    cdef cnn_image_colours colours
    cdef cnn_status status = CNN_OK
    cdef ptrdiff_t n = len(indices)
    cdef uint8_t *dst
    count, channels, height, width = _checked_images("recolour_images", images, "constant", 0, threads)
    indices = _checked_indices("recolour_images", indices, count)
    factors = _table("recolour_images", "factors", factors, np.int32, (n, 3))
    if n and not (factors.min() >= 0 and factors.max() <= COLOUR_LARGEST):
        raise ValueError(f"recolour_images: factors run from {factors.min()} to {factors.max()}, expected 0 to "
                         f"{COLOUR_LARGEST}")
    result = np.empty((n, channels, height, width), np.uint8)
    dst = <uint8_t *>_address(result)
    colours.images = <const uint8_t *>_address(images)
    colours.indices = <const int64_t *>_address(indices)
    colours.n, colours.c, colours.h, colours.w = n, channels, height, width
    colours.factors = <const int32_t *>_address(factors)
    with nogil:
        if reference:
            cnn_ref_recolour_images(dst, &colours)
        else:
            status = cnn_recolour_images(dst, &colours, threads)
    _check(status)
    return result


def _checked_images(where, images, fill, fill_value, threads):
    """The shape (N, C, H, W) of a set of images; ValueError for what is none, or another of these that does not fit."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        kind = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(f"{where}: images must be uint8 of shape (N, C, H, W), got {kind}")
    if not images.flags.c_contiguous:
        raise ValueError(f"{where}: images must be C-contiguous")
    if fill not in FILLS:
        raise ValueError(f"{where}: fill must be one of {', '.join(FILLS)}, got {fill!r}")
    if not 0 <= fill_value <= 255:
        raise ValueError(f"{where}: fill_value must be in 0 to 255, got {fill_value}")
    if not 1 <= threads <= CNN_MAX_THREADS:
        raise ValueError(f"{where}: threads must be in 1 to {CNN_MAX_THREADS}, got {threads}")
    return images.shape


def _checked_indices(where, indices, count):
    """Indices into `count` images, int64 (n,)."""
    indices = _table(where, "indices", indices, np.int64, (len(indices),))
    if len(indices) and not (indices.min() >= 0 and indices.max() < count):
        raise ValueError(f"{where}: indices run from {indices.min()} to {indices.max()}, expected 0 to {count - 1}")
    return indices


def _table(where, name, array, dtype, shape):
    """The array, if it has this type, this shape and no gaps."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        kind = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{where}: {name} must be {np.dtype(dtype)} of shape {shape}, got {kind}")
    return np.ascontiguousarray(array)


# ---- threads, instruction sets, random numbers, matrices ---------------------------------------------------------


def set_num_threads(int threads):
    """Size of the team from now on; 0 goes back to the default: CNN_NUM_THREADS, else OMP_NUM_THREADS, else the usable
    cores."""
    if threads < 0 or threads > CNN_MAX_THREADS:
        raise ValueError(f"number of threads: expected 0 (the default) to {CNN_MAX_THREADS}, got {threads}")
    _check(cnn_set_threads(threads))


def get_num_threads():
    """Size of the team. Raises CoreError when CNN_NUM_THREADS is no count from 1 to MAX_THREADS."""
    cdef int threads = cnn_get_threads()
    if threads < 1:
        raise CoreError(<int>CNN_BAD_THREADS, -1, _variable(CNN_BAD_THREADS))
    return threads


def usable_cpus():
    """Cores that this process may use, by affinity and CPU quota, whatever the variables say of the team."""
    return cnn_usable_cpus()


def measure_team():
    """Open a team and count its members: the real number of threads."""
    return cnn_measure_team()


def has_openmp():
    return bool(cnn_has_openmp())


def isa():
    """Name of the instruction set in use. Raises CoreError when CNN_ISA names one that is not to be had."""
    cdef const char *name = cnn_get_isa()
    if name == NULL:
        raise CoreError(<int>CNN_BAD_ISA, -1, _variable(CNN_BAD_ISA))
    return name.decode()


def _variable(int status):
    """What the environment variable behind a status says, for its message."""
    if status == CNN_BAD_ISA and cnn_requested_isa() != NULL:
        return f"CNN_ISA={cnn_requested_isa().decode()} (available: {', '.join(available_isas())}): "
    if status == CNN_BAD_THREADS and cnn_requested_threads() != NULL:
        return f"CNN_NUM_THREADS={cnn_requested_threads().decode()} (expected 1 to {CNN_MAX_THREADS}): "
    return ""


def set_isa(name):
    """Use another instruction set; None goes back to the best that this CPU has."""
    cdef cnn_status status
    if name is None:
        status = cnn_set_isa(NULL)
    else:
        encoded = name.encode()
        status = cnn_set_isa(encoded)
    if status != CNN_OK:
        raise ValueError(f"instruction set {name!r}: expected one of {', '.join(available_isas())}")


def uses_vnni():
    """Whether integer inference takes AVX-512 VNNI: where this CPU has it, unless CNN_VNNI is 0. The results are the same."""
    return bool(cnn_uses_vnni())


def set_vnni(bint wanted):
    """Take AVX-512 VNNI in integer inference, where it is to be had, or do without."""
    cnn_set_vnni(wanted)


def register_tile(str name):
    """The RegisterTile of an instruction set, also of one that this CPU lacks: rows and columns of the largest block of a
    matrix product that stays in registers, and the floats of a vector. ValueError for an unknown name."""
    encoded = name.encode()
    cdef const cnn_register_tile *tile = cnn_register_tile_of(encoded)
    if tile == NULL:
        raise ValueError(f"unknown instruction set {name!r}")
    return RegisterTile(tile.rows, tile.columns, tile.width)


def available_isas():
    names = []
    cdef const char *name
    while True:
        name = cnn_available_isa(len(names))
        if name == NULL:
            return names
        names.append(name.decode())


def philox4x32(counter, key):
    """Four 32-bit draws of Philox4x32-10 for four counter words and two key words."""
    cdef uint32_t c[4]
    cdef uint32_t k[2]
    cdef uint32_t draws[4]
    for i in range(4):
        c[i] = counter[i]
    for i in range(2):
        k[i] = key[i]
    cnn_philox4x32(c, k, draws)
    return draws[0], draws[1], draws[2], draws[3]


def philox_draws(counters, key):
    """Four draws of Philox4x32-10 for every row of counters, uint32 (n, 4), and one pair of key words: uint32 (n, 4)."""
    cdef cnp.ndarray c = _table("philox_draws", "counters", counters, np.uint32, (len(counters), 4))
    cdef cnp.ndarray draws = np.empty((len(counters), 4), np.uint32)
    cdef const uint32_t *given = <const uint32_t *>_address(c)
    cdef uint32_t *drawn = <uint32_t *>_address(draws)
    cdef ptrdiff_t i, n = len(counters)
    cdef uint32_t k[2]
    k[0], k[1] = key
    with nogil:
        for i in range(n):
            cnn_philox4x32(given + 4 * i, k, drawn + 4 * i)
    return draws


def fma_burst(int64_t rounds):
    """Run independent FMA chains on this thread; returns the FLOPs done (time it to get the peak)."""
    cdef double flops
    with nogil:
        flops = cnn_fma_burst(rounds)
    return flops


def read_burst(const float[::1] values, int64_t rounds):
    """Read float32 values (n,), all but a rest below 64, a share by each thread of the team; returns the bytes read."""
    cdef double size = 0.0
    cdef const float *src = &values[0] if len(values) else NULL
    cdef ptrdiff_t count = len(values)
    with nogil:
        size = cnn_read_burst(src, count, rounds)
    return size


def sgemm(a, b, *, bint transpose_a=False, bint transpose_b=False, float alpha=1.0, float beta=0.0, out=None,
          bint reference=False):
    """alpha * op(a) @ op(b) + beta * out, float32; a, b and out are 2-D with unit stride in the last axis.

    Returns ``out`` (made when it is None). Raises ValueError quoting the shapes that disagree.
    """
    cdef cnp.ndarray a_array = _matrix("a", a), b_array = _matrix("b", b), c_array
    cdef ptrdiff_t m, n, k, kb
    cdef cnn_status status = CNN_OK
    m, k = (a.shape[1], a.shape[0]) if transpose_a else (a.shape[0], a.shape[1])
    kb, n = (b.shape[1], b.shape[0]) if transpose_b else (b.shape[0], b.shape[1])
    if k != kb:
        raise ValueError(f"sgemm: op(a) is {m}x{k} but op(b) is {kb}x{n}")
    if out is None:
        if beta != 0.0:
            raise ValueError("sgemm: beta needs out")
        out = np.empty((m, n), np.float32)
    if out.shape != (m, n):
        raise ValueError(f"sgemm: expected out of shape {(m, n)}, got {out.shape}")
    c_array = _matrix("out", out)
    cdef const float *pa = <const float *>_address(a_array)
    cdef const float *pb = <const float *>_address(b_array)
    cdef float *pc = <float *>_address(c_array)
    cdef ptrdiff_t lda = a.strides[0] // 4, ldb = b.strides[0] // 4, ldc = out.strides[0] // 4
    with nogil:
        if reference:
            cnn_ref_sgemm(transpose_a, transpose_b, m, n, k, alpha, pa, lda, pb, ldb, beta, pc, ldc)
        else:
            status = cnn_sgemm(transpose_a, transpose_b, m, n, k, alpha, pa, lda, pb, ldb, beta, pc, ldc)
    _check(status)
    return out


def _matrix(name, array):
    if array.dtype != np.float32 or array.ndim != 2:
        raise ValueError(f"sgemm: {name} must be a 2-D float32 array, got {array.ndim}-D {array.dtype}")
    if array.strides[0] < array.shape[1] * 4 or (array.shape[1] > 1 and array.strides[1] != 4):
        raise ValueError(f"sgemm: {name} must have unit stride in its last axis")
    return array
