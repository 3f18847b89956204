"""How much memory there is: that of the machine, or less where a control group or a limit of the process says so."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from engine.errors import UserError
from engine.plan.memory.arena import Arena, Footprint
from engine.plan.table import byte_size


def memory_limit() -> int:
    """Bytes that this process can have at most, whatever of them others use now."""
    return min([_machine_limit(), *_own_limits()])


def require_memory(what: str, need: int, advice: str) -> None:
    """UserError, before anything is allocated, where something needs more bytes than this process can have."""
    limit = memory_limit()
    if need > limit:
        raise UserError(
            f"{what} needs {byte_size(need)} of memory, but this process can have {byte_size(limit)}: {advice}"
        )


@cache  # reading the groups takes a millisecond
def _machine_limit() -> int:
    return min([_physical(), *_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # a system that does not tell
        return sys.maxsize


def _own_limits() -> Iterator[int]:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _group_limits(proc: Path, groups: Path) -> Iterator[int]:
    """The limits of the control groups that the process is in, and of those around them; of version 1 or 2."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:  # not Linux, or not mounted
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if not controllers:
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / place.lstrip("/")
        for each in (folder, *folder.parents):
            if each != root and root not in each.parents:
                break
            try:
                text = (each / name).read_text().strip()
            except OSError:  # outside of what a container shows, or the root, which has none
                continue
            if text.isdecimal():
                yield int(text)


def require_plan(footprint: Footprint, arena: Arena, mode: str, threads: int) -> None:
    """`require_memory` for a program, with the batch that would do where its samples take the most."""
    need, limit = footprint.bytes(threads), memory_limit()
    fits = (limit - (need - arena.sample_bytes * arena.batch)) // arena.sample_bytes if arena.sample_bytes else 0
    advice = f"take a smaller batch, of {fits} or less" if fits > 0 else "take a smaller network or smaller images"
    require_memory(f"the plan for {mode} with a batch of {arena.batch}", need, advice)
