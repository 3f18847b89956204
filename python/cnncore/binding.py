"""Threads that an OpenMP runtime has bound to one core, and what they start.

Where OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY ask for it, GNU's runtime pins the thread that loads it to the
first of its places, at once. Threads and processes that this thread begins later inherit that one core, and a second
copy of the runtime (several packages bring their own) takes the one core for all there is. So the thread is let go
again: it may then run on all of the runtime's places. The members of a team stay bound.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
RUNTIMES = ("libgomp", "libomp", "libiomp")
MAPS = Path("/proc/self/maps")


def release() -> None:
    """Let the calling thread, and what it starts from now on, run on all cores that OpenMP was given. Does nothing
    where no runtime has pinned it: any other affinity is somebody's wish."""
    if not hasattr(os, "sched_setaffinity") or not any(os.environ.get(name) for name in BINDING):
        return
    places = [_places(path) for path in _loaded_runtimes()]
    if os.sched_getaffinity(0) in (each[0] for each in places if each):
        os.sched_setaffinity(0, set().union(*chain.from_iterable(places)))


@contextmanager
def released() -> Iterator[None]:
    """What loads an OpenMP runtime goes inside: the runtime finds all cores, and the thread may use them afterwards."""
    release()
    yield
    release()


def _loaded_runtimes() -> set[str]:
    paths = {line.split(maxsplit=5)[-1].strip() for line in MAPS.read_text().splitlines() if "/" in line}
    return {path for path in paths if path.rpartition("/")[2].startswith(RUNTIMES)}


def _places(path: str) -> list[set[int]]:
    """The cores of each place of a loaded runtime, in order; none where it binds no threads."""
    runtime = ctypes.CDLL(path)  # it is there already: this finds it
    if not hasattr(runtime, "omp_get_num_places") or not runtime.omp_get_proc_bind():
        return []
    places = []
    for place in range(runtime.omp_get_num_places()):
        cpus = (ctypes.c_int * runtime.omp_get_place_num_procs(place))()
        runtime.omp_get_place_proc_ids(place, cpus)
        places.append(set(cpus))
    return places
