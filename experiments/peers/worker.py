"""The process of one side: `python -m experiments.peers.worker SIDE ADAPTER FOLDER`. It runs in the side's interpreter.

It answers requests about the job in FOLDER. With FOLDER "-" it only says its version, and with
`--export` behind FOLDER it writes what the adapter wants to find ready.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from experiments.measuring.serving import Answer, serve
from experiments.peers import job as jobs
from experiments.peers.job import Job, Prepared

STATUS = Path("/proc/self/status")


def resident(field: str) -> int:
    """Bytes of "VmRSS" (now) or "VmHWM" (at most so far). Without /proc both are the most so far."""
    if STATUS.is_file():
        for line in STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> None:
    """Let the peak count from now, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def pin(threads: int) -> None:
    """Keep to as many processors as threads: some pools are as large as the machine, whatever they are told."""
    if hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, usable[-threads:])


def take(prepared: Prepared, count: int) -> Answer:
    """Seconds of each of `count` calls, their losses where they train, and CPU seconds of all."""
    seconds, losses = [], []
    before = time.process_time()
    for _ in range(count):
        start = time.perf_counter()
        result = prepared.call()
        seconds.append(time.perf_counter() - start)
        losses.append(result if isinstance(result, float) else 0.0)
    return {"seconds": seconds, "losses": losses, "cpu_seconds": time.process_time() - before}


class Session:
    """What one side holds between requests."""

    def __init__(self, side: str, adapter: str, job: Job):
        self.side, self.adapter, self.job = side, adapter, job

    def handle(self, **request: int) -> Answer:
        """{"first": 1}: import, prepare, call once; {"steps": n}: call n times; {"memory": 1}: what was used so far."""
        try:
            if "first" in request:
                return self._first()
            return take(self.prepared, request["steps"]) if "steps" in request else self._memory()
        except Exception as error:
            return failed(error)

    def _first(self) -> Answer:
        start = time.perf_counter()
        adapter = adapter_of(self.adapter)
        imports = time.perf_counter() - start
        self.baseline = resident("VmRSS")
        forget_peak()
        self.prepared: Prepared = adapter.prepare(self.job, self.side)
        result = self.prepared.call()
        ready = time.perf_counter()
        if not self.job.trains:
            np.save(self.job.folder / f"{self.side}.npy", result)
        return {"loss": result if self.job.trains else 0.0, "imports": imports, "saving": time.perf_counter() - ready}

    def _memory(self) -> Answer:
        planned = self.prepared.planned_bytes
        used = max(0, resident("VmHWM") - self.baseline)
        return {"peak": used, "planned": planned() if planned else None}


def adapter_of(name: str) -> Any:
    return importlib.import_module(f"experiments.peers.adapters.{name}")


def failed(error: Exception) -> Answer:
    """The reason in one line; the whole story goes to standard error."""
    traceback.print_exc()
    return {"error": f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"}


def main(arguments: list[str]) -> int:
    side, adapter, place, *rest = arguments
    # Whatever a framework prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if place != "-" and not rest:
        job = jobs.load(Path(place))
        pin(job.threads)
        serve(Session(side, adapter, job).handle, answers)
        return 0
    try:
        if place == "-":
            answer = {"version": adapter_of(adapter).version()}
        else:
            adapter_of(adapter).export(jobs.load(Path(place)))
            answer = {}
    except Exception as error:
        answer = failed(error)
    print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
