"""Which scheduler a command line asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec

from engine.errors import UserError
from experiments.running.executors import usable_cores


@dataclass(frozen=True)
class Scheduler:
    """What --scheduler says: the address of a scheduler that runs, or how many workers to start here."""

    address: str = ""
    workers: int = 0


def parse_scheduler(text: str) -> Scheduler:
    """`tcp://HOST:PORT` (or tls) or `local:N`; UserError for anything else, and for more workers than usable cores."""
    if local := re.fullmatch(r"local:(\d+)", text):
        workers = int(local[1])
        if not 1 <= workers <= usable_cores():
            raise UserError(
                f"--scheduler {text}: the number of workers must be in 1..{usable_cores()}, the number of usable cores"
            )
        return Scheduler(workers=workers)
    remote = re.fullmatch(r"(?:tcp|tls)://(?:[^/:\s\[\]]+|\[[0-9a-fA-F:.]+\]):(\d+)", text)
    if not remote or not 0 < int(remote[1]) < 1 << 16:
        raise UserError(f"--scheduler takes tcp://HOST:PORT or local:N, got {text!r}")
    return Scheduler(address=text)


def require_distributed() -> None:
    """UserError where Dask.distributed is not installed, an optional package that `cluster` imports."""
    if find_spec("distributed") is None:
        raise UserError('--scheduler needs Dask.distributed: pip install ".[cluster]"')
