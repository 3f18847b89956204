"""How many threads where OpenMP's own variables speak: counts, and threads bound to cores."""

import os
import sys
from pathlib import Path

import cnncore
import pytest
from cnncore.binding import MAPS

from tests.cnncore.test_environment import needs_openmp, printed

pytestmark = [
    needs_openmp,
    pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system"),
]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
SHOW = "import os, cnncore; print(cnncore.get_num_threads(), cnncore.measure_team(), len(os.sched_getaffinity(0)))"
ALL = ",".join(map(str, sorted(os.sched_getaffinity(0)))) if CORES > 1 else "0"
FIRST = ALL.split(",")[0]
needs_two_cores = pytest.mark.skipif(CORES < 2, reason="needs two usable cores")


def second_runtime(folder: Path) -> Path:
    """A copy of GNU's runtime that the loader takes for another library, as the one that PyTorch brings along."""
    paths = {line.split()[-1] for line in MAPS.read_text().splitlines()}
    for path in map(Path, paths):
        if path.name.startswith("libgomp.so"):
            copy = folder / "libgomp-copy.so.1"
            copy.write_bytes(path.read_bytes().replace(b"libgomp.so.1\0", b"libgomq.so.1\0"))
            return copy
    pytest.skip("GNU's OpenMP runtime is not loaded: this core was built with another, or with none")


# ---- bound threads --------------------------------------------------------------------------------------------------


@needs_two_cores
@pytest.mark.parametrize(
    "variables",
    ({"OMP_PROC_BIND": "true"}, {"OMP_PLACES": "cores"}, {"GOMP_CPU_AFFINITY": ALL}, {"OMP_PROC_BIND": "spread"}),
    ids=str,
)
def test_bound_threads_are_as_many_as_the_cores(variables: dict[str, str]) -> None:
    assert printed(SHOW, **variables) == f"{CORES} {CORES} {CORES}"


@needs_two_cores
def test_the_members_of_a_bound_team_are_on_different_cores() -> None:
    code = """
import os, cnncore
cnncore.measure_team()
print(sorted(sorted(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")))
"""
    shown = printed(code, OMP_PLACES="cores", OPENBLAS_NUM_THREADS="1")
    assert f"[{ALL.split(',')[1]}]" in shown


def test_places_of_one_core_are_one_thread() -> None:
    assert printed(SHOW, GOMP_CPU_AFFINITY=FIRST) == "1 1 1"


@needs_two_cores
def test_places_without_binding_do_not_matter() -> None:
    assert printed(SHOW, OMP_PLACES=f"{{{FIRST}}}", OMP_PROC_BIND="false") == f"{CORES} {CORES} {CORES}"


@needs_two_cores
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_runtime_that_came_first_does_not_take_the_cores_away(tmp_path: Path) -> None:
    code = f"import ctypes; ctypes.CDLL({str(second_runtime(tmp_path))!r}); import os; "
    pinned = "print(len(os.sched_getaffinity(0))); "
    assert printed(code + pinned + SHOW, OMP_PROC_BIND="true").split() == ["1", *3 * [str(CORES)]]


@needs_two_cores
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_threads_and_processes_begun_later_have_all_cores(tmp_path: Path) -> None:
    """A runtime that is loaded later pins the thread once more."""
    code = f"""
import ctypes, os, subprocess, sys
import cnncore
from engine.data.workers import in_order
ctypes.CDLL({str(second_runtime(tmp_path))!r})
print(len(os.sched_getaffinity(0)))
print(*in_order(lambda _: len(os.sched_getaffinity(0)), range(2), 1, 1))
cnncore.release()
print(subprocess.run([sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"],
                     capture_output=True, text=True).stdout)
"""
    assert printed(code, OMP_PROC_BIND="true").split() == ["1", *3 * [str(CORES)]]


@needs_two_cores
def test_an_affinity_that_somebody_chose_stays() -> None:
    last = ALL.split(",")[-1]
    code = f"import os, cnncore; os.sched_setaffinity(0, {{{last}}}); cnncore.release(); print(os.sched_getaffinity(0))"
    assert printed(code, OMP_PROC_BIND="true") == f"{{{last}}}"


# ---- who limits the team --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "count"),
    (
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3,2"}, 3),
        ({"OMP_NUM_THREADS": " 3 "}, 3),
        ({"OMP_NUM_THREADS": "1", "CNN_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3", "CNN_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "0"}, CORES),
        ({"OMP_NUM_THREADS": "many"}, CORES),
        ({"OMP_NUM_THREADS": ""}, CORES),
        ({"OMP_NUM_THREADS": "100000"}, cnncore.MAX_THREADS),
        ({"OMP_NUM_THREADS": "3", "OMP_THREAD_LIMIT": "2"}, 2),
        ({"CNN_NUM_THREADS": "3", "OMP_THREAD_LIMIT": "2"}, 2),
    ),
    ids=str,
)
def test_the_first_that_says_something_decides(variables: dict[str, str], count: int) -> None:
    code = "import cnncore; print(cnncore.get_num_threads(), cnncore.usable_cpus())"
    assert printed(code, **variables) == f"{count} {CORES}"


def test_an_explicit_count_beats_openmps_variable() -> None:
    code = (
        "import cnncore; cnncore.set_num_threads(2); print(cnncore.measure_team());"
        "cnncore.set_num_threads(0); print(cnncore.measure_team())"
    )
    assert printed(code, OMP_NUM_THREADS="3").split() == ["2", "3"]


@needs_two_cores
def test_a_worker_of_joblib_takes_its_share() -> None:
    pytest.importorskip("joblib")
    code = """
import cnncore, joblib
print(joblib.Parallel(n_jobs=2)(joblib.delayed(cnncore.get_num_threads)() for _ in range(2)))
"""
    assert printed(code) == str(2 * [CORES // 2])
