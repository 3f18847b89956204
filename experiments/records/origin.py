"""What made a result, as far as its bits may depend on it, and what its weights are."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cnncore
from cnncore import _core

from engine.network.checkpoint import read, stored_hash
from experiments.circumstances import commit, machine
from experiments.tasks.fingerprint import code_hash

SHORT = 16  # hexadecimal characters that tell builds apart
# What compilers leave of themselves in the files that they write.
_COMPILER = re.compile(rb"GCC: \([^\0]{1,80}|clang version [0-9][^\0]{0,80}")


@dataclass(frozen=True)
class Origin:
    """What a result was made by.

    weights  SHA-256 of the weights of the epoch that counts (`engine.network.checkpoint.stored_hash`)
    data     SHA-256 of the files that were read (`Fingerprints.data`)
    isa      instruction set; build: `build_hash`; code: `code_hash`; commit, machine: in words
    """

    weights: str
    data: str
    isa: str
    build: str
    code: str
    commit: str
    machine: str


@cache
def build_hash() -> str:
    """What tells the compiled core from another: SHA-256 over its sources and the compilers that wrote it.

    The same sources in another folder, compiled by the same compiler, are the same build: paths in a file of machine
    code decide no bit of a training.
    """
    digest = hashlib.sha256(cnncore.source_hash().encode())
    for compiler in sorted(set(_COMPILER.findall(Path(str(_core.__file__)).read_bytes()))):
        digest.update(b"\0" + compiler)
    return digest.hexdigest()[:SHORT]


def origin_here(checkpoint: Path | None, data: str) -> Origin:
    """The origin of a run that has just ended in this process; `data` as in `Origin`. No checkpoint: it diverged."""
    weights = "" if checkpoint is None else stored_hash(read(checkpoint))
    here = commit(Path(__file__).parent)
    return Origin(weights, data, cnncore.isa(), build_hash(), code_hash(), here, machine())
