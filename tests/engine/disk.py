"""Disks that are full or cannot be written to, without one."""

import os
import resource
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def no_file_longer_than(size):
    """Writing on gives EFBIG, as ENOSPC from the write itself and without a name. (Python ignores SIGXFSZ.)"""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def mounted(folder, *options):
    """A file system of its own in the folder; the test is skipped where this process may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a process that may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def set_read_only(folder):
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
