"""Under which circumstances something was measured: commit, machine, date."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cnncore


def cpu_name() -> str:
    """The CPU as the system calls it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def commit(folder: Path | None = None) -> str:
    """The commit of the checkout that `folder` (the current one) belongs to, marked where files differ from it;
    "unknown" outside one, and where it only lies in one, as an environment may that has another version installed.
    Asked once: what a process runs is what it began with."""
    if not _git(folder, "ls-files"):
        return "unknown"
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=12") or "unknown"


def _git(folder: Path | None, *words: str) -> str:
    """What git says; nothing where it fails, or there is none."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=folder)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> str:
    """CPU, cores and system."""
    return f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def circumstances(command: Sequence[str]) -> dict[str, str]:
    """What a figure depends on: command, commit, date, machine, instruction set and threads, Python."""
    return {
        "command": f"`{shlex.join(command)}`",
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "instruction set, threads": f"{cnncore.isa()}, {cnncore.get_num_threads()}",
        "Python": platform.python_version(),
    }
