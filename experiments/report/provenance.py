"""Where a report's figures come from: command, commit, machine, versions of the packages, hashes of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.cli import is_script
from experiments.circumstances import circumstances
from experiments.records.standing import Standing

PACKAGES = ("cnn-engine", "numpy", "scipy", "opencv-python", "safetensors", "pandas", "matplotlib")


@dataclass(frozen=True)
class Fact:
    """A name and what stands beside it."""

    name: str
    value: str


def provenance(command: Sequence[str], runs: Iterable[Standing]) -> tuple[Fact, ...]:
    """Everything that is needed to get the report's figures again."""
    facts = [Fact(name, value.strip("`")) for name, value in circumstances(command).items()]
    return (*facts, Fact("packages", _versions()), *data_facts(runs))


def data_facts(runs: Iterable[Standing]) -> tuple[Fact, ...]:
    """SHA-256 of the files that the runs read, each hash once, with the rows that were trained on them."""
    rows: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.run.data:
            rows.setdefault(run.run.data, {})[run.row] = None
    names = ("all rows",) if len(rows) == 1 else (", ".join(each) for each in rows.values())
    return tuple(Fact(f"data of {name}", f"SHA-256 {digest}") for name, digest in zip(names, rows))


def _versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue  # an optional one, or a checkout that was never installed
    return ", ".join(found)


def shown_command(arguments: Sequence[str]) -> list[str]:
    """The command of this process as it would be typed; `arguments` is sys.argv."""
    called = Path(arguments[0])
    how = [called.name] if is_script(called) else ["python", "-m", f"experiments.{called.stem}"]
    return [*how, *arguments[1:]]
