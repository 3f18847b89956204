"""Threads, instruction sets and the build: what is set from outside, and what is said when it cannot be."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cnncore
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "csrc" / "include" / "cnn.h"
ROOM = np.zeros(4, np.float32)


def run_python(code: str, *, paths: list[Path] | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with these variables; without `paths` it finds the same cnncore as this one."""
    paths = [Path(cnncore.__file__).parents[1], ROOT] if paths is None else paths
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CNN_", "OMP_", "GOMP_"))}
    environment["PYTHONPATH"] = os.pathsep.join(str(path) for path in paths)
    return subprocess.run(
        [sys.executable, "-c", code], env={**environment, **variables}, capture_output=True, text=True, timeout=60
    )


def printed(code: str, **variables: str) -> str:
    result = run_python(code, **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# ---- VNNI -----------------------------------------------------------------------------------------------------------


def test_vnni_can_be_left() -> None:
    """By the variable or by a call, for integer inference alone: the instruction set keeps its name."""
    now = "print(cnncore.uses_vnni())"
    asked = f"import cnncore; print(cnncore.isa()); {now}; cnncore.set_vnni(True); {now}"
    name, usual, there = printed(asked).split()
    assert usual == there and (usual == "False" or name == "avx512")
    assert printed(asked, CNN_VNNI="0").split() == [name, "False", there]
    assert printed(asked, CNN_VNNI="1").split() == [name, usual, there]
    assert printed(asked, CNN_ISA="portable").split() == ["portable", "False", "False"]


# ---- threads --------------------------------------------------------------------------------------------------------

needs_openmp = pytest.mark.skipif(not cnncore.has_openmp(), reason="built without OpenMP")


@pytest.mark.parametrize("count", (-1, cnncore.MAX_THREADS + 1))
def test_thread_count_out_of_range(count: int) -> None:
    before = cnncore.get_num_threads()
    with pytest.raises(ValueError, match=f"expected 0.*{cnncore.MAX_THREADS}, got {count}"):
        cnncore.set_num_threads(count)
    assert cnncore.get_num_threads() == before


def test_thread_count_must_be_a_number() -> None:
    with pytest.raises(TypeError):
        cnncore.set_num_threads("two")  # type: ignore[arg-type]


@needs_openmp
def test_an_explicit_count_is_honoured_above_the_cores() -> None:
    wanted = len(os.sched_getaffinity(0)) + 3 if hasattr(os, "sched_getaffinity") else 9
    default = cnncore.get_num_threads()
    try:
        cnncore.set_num_threads(wanted)
        assert cnncore.get_num_threads() == cnncore.measure_team() == wanted
    finally:
        cnncore.set_num_threads(0)
    assert cnncore.get_num_threads() == default


@needs_openmp
def test_variable_sets_the_default() -> None:
    code = "import cnncore; print(cnncore.get_num_threads(), cnncore.measure_team())"
    assert printed(code, CNN_NUM_THREADS="3") == "3 3"


@needs_openmp
def test_an_explicit_count_beats_the_variable() -> None:
    code = (
        "import cnncore; cnncore.set_num_threads(2); print(cnncore.measure_team());"
        "cnncore.set_num_threads(0); print(cnncore.measure_team())"
    )
    assert printed(code, CNN_NUM_THREADS="5").split() == ["2", "5"]


@pytest.mark.parametrize("value", ("0", "abc", "2x", str(cnncore.MAX_THREADS + 1)))
def test_senseless_variable_is_refused(value: str) -> None:
    code = "import cnncore\ntry:\n    cnncore.get_num_threads()\nexcept cnncore.CoreError as error:\n    print(error)"
    message = printed(code, CNN_NUM_THREADS=value)
    assert f"CNN_NUM_THREADS={value} (expected 1 to {cnncore.MAX_THREADS})" in message


@needs_openmp
def test_forked_child_runs_on_one_thread_and_gives_the_same() -> None:
    code = """
import os
import numpy as np
import cnncore
cnncore.set_num_threads(2)
a = np.arange(4096, dtype=np.float32).reshape(64, 64)
before = cnncore.sgemm(a, a)
child = os.fork()
if child == 0:
    same = np.array_equal(cnncore.sgemm(a, a), before) and cnncore.measure_team() == 1
    os._exit(0 if same else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert printed(code) == "0"


def test_core_errors_survive_pickling() -> None:
    with pytest.raises(cnncore.CoreError) as caught:
        cnncore.run_op("relu_forward", {"dst": ROOM, "src": ROOM}, {"count": 4, "slope": 0.0}, batch=0)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.status, copy.detail, str(copy)) == ("CNN_BAD_BATCH", caught.value.detail, str(caught.value))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
@needs_openmp
def test_the_default_respects_affinity() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "import cnncore; print(cnncore.get_num_threads())"
    )
    assert printed(code) == "1"


# ---- instruction sets -----------------------------------------------------------------------------------------------


def test_available_sets() -> None:
    names = cnncore.available_isas()
    assert {"reference", "portable"} <= set(names)
    assert cnncore.isa() in names


@pytest.mark.parametrize("name", cnncore.available_isas())
def test_variable_chooses_the_set(name: str) -> None:
    assert printed("import cnncore; print(cnncore.isa())", CNN_ISA=name) == name


def test_without_the_variable_the_best_set_runs() -> None:
    assert printed("import cnncore; print(cnncore.isa())") == cnncore.available_isas()[-1]


def test_unknown_set_in_the_variable() -> None:
    result = run_python("import cnncore; cnncore.isa()", CNN_ISA="mmx")
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert "CNN_ISA=mmx" in last and "portable" in last


def test_unknown_set_stops_every_run() -> None:
    code = (
        "import cnncore, numpy as np; x = np.zeros(8, np.float32);"
        "cnncore.run_op('relu_forward', {'dst': x, 'src': x}, {'count': 8, 'slope': 0.0}, 1)"
    )
    result = run_python(code, CNN_ISA="mmx")
    assert result.returncode != 0 and "CoreError" in result.stderr


def test_set_isa() -> None:
    before = cnncore.isa()
    try:
        cnncore.set_isa("portable")
        assert cnncore.isa() == "portable"
        with pytest.raises(ValueError, match="'mmx'.*portable"):
            cnncore.set_isa("mmx")
        assert cnncore.isa() == "portable"
        cnncore.set_isa(None)
        assert cnncore.isa() == cnncore.available_isas()[-1]
    finally:
        cnncore.set_isa(before)


# ---- the build ------------------------------------------------------------------------------------------------------


def test_missing_module_says_how_to_build(tmp_path: Path) -> None:
    package = tmp_path / "cnncore"
    package.mkdir()
    shutil.copy(ROOT / "python" / "cnncore" / "__init__.py", package)
    result = run_python("import cnncore", paths=[tmp_path])
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the compiled core") and "pip install ." in last


def test_hashes() -> None:
    for digest in (cnncore.header_hash(), cnncore.source_hash()):
        assert len(digest) == 64 and set(digest) <= set("0123456789abcdef")


@pytest.mark.skipif(not HEADER.is_file(), reason="no source tree beside the tests")
def test_header_hash_is_that_of_the_header() -> None:
    assert cnncore.header_hash() == hashlib.sha256(HEADER.read_bytes()).hexdigest()


def test_a_stale_core_asks_to_be_rebuilt(tmp_path: Path) -> None:
    stale = tmp_path / "cnn.h"
    stale.write_text("/* another version */")
    code = (
        f"from pathlib import Path; from engine.program.core import require_matching_core as r; r(Path({str(stale)!r}))"
    )
    result = run_python(code)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError") and "rebuild" in last
