"""What reading hostile files costs: a process of its own reads them, and says after each what it took."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000
SMALL, MEDIUM = 1_000, 100_000  # bytes of a file, and what one of up to that size may take
MOST = {SMALL: 300 * MEGABYTE, MEDIUM: 500 * MEGABYTE}
SECONDS = 3.0  # of computing, for a small one: on a slow machine the first touch of the memory allowed takes one

SCRIPT = """
import json, resource, sys, time
from pathlib import Path
from engine.errors import UserError
{setup}
def peak():
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says begins with the parent's
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line[:5] == "VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for place in sys.argv[1:]:
    began, said = time.process_time(), None
    try:
        read(Path(place))
    except UserError as error:
        said = str(error)
    print(json.dumps([said, time.process_time() - began, peak()]), flush=True)
"""


@dataclass(frozen=True)
class Cost:
    """said: the message of the UserError, or None; seconds of computing; peak: bytes of the process so far."""

    path: Path
    said: str | None
    seconds: float
    peak: int


def costs(setup: str, files: list[Path]) -> list[Cost]:
    """Read the files in their order with the function `read` that `setup` defines."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CNN_CACHE": "off"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(setup=setup), *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [Cost(path, *json.loads(line)) for path, line in zip(files, done.stdout.splitlines(), strict=True)]


def check_costs(setup: str, files: dict[Path, str | None]) -> None:
    """Each file is read, or refused in less than a screen with this in it, for no more than its size may cost."""
    for cost in costs(setup, list(files)):
        wanted, size = files[cost.path], cost.path.stat().st_size
        assert (cost.said is None) == (wanted is None), (cost.path.name, cost.said)
        assert wanted is None or (wanted in cost.said and len(cost.said) < 1600), (cost.path.name, cost.said)
        assert cost.peak < MOST[SMALL if size <= SMALL else MEDIUM], (cost.path.name, cost.said, cost.peak)
        assert size > SMALL or cost.seconds < SECONDS, (cost.path.name, cost.said, cost.seconds)
