"""Options of commands: lists as text, and which of `python -m experiments.ablation` go together.

One that would be ignored is an error.
"""

from __future__ import annotations

import argparse

from engine.errors import UserError

# Each stops when it has done what it is for; status and export go together.
INSTEAD_OF_RUNNING = ("list", "check", "dry_run", "status", "export", "search")
# What is of no use where runs are read from a ledger, or trained anew to be compared with it.
_OTHER_MODES = (*INSTEAD_OF_RUNNING, "scheduler", "watch", "accept_code", "until_decided")
NOT_WITH_LEDGER = {"ledger": (*_OTHER_MODES, "jobs", "fail_fast"), "verify": (*_OTHER_MODES, "no_report")}
MOST = 20  # seeds of a row, for --until-decided (experiments.sequential.MOST, which takes longer to load)
# What a search has no use for, and why.
NOT_WITH_SEARCH = {
    "jobs": "it tries one configuration after the other, each chosen by how the earlier ones went",
    "rows": "it varies the row that the study's search names",
    "fail_fast": "a trial that fails or diverges tells it what to avoid",
    "accept_code": "its trials are compared with each other, and so trained by the same code",
    "watch": "the live page shows the rows of a study",
}


def check_together(options: argparse.Namespace) -> None:
    """UserError for options of which one would be ignored."""
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"-j {options.jobs}: the number of processes must be 1 or more")
    check_ledger(options)
    if options.until_decided is not None:
        if not 3 <= options.until_decided <= MOST:
            raise UserError(f"--until-decided {options.until_decided}: expected 3 to {MOST} seeds")
        for name in (*INSTEAD_OF_RUNNING, "watch"):
            if getattr(options, name):
                raise UserError(f"--until-decided and {_flag(name)} do not go together: give one of them")
    modes = [name for name in INSTEAD_OF_RUNNING if getattr(options, name)]
    if len(modes) > 1 and modes != ["status", "export"]:
        raise UserError(f"{_flag(modes[0])} and {_flag(modes[1])} do not go together: give one of them")
    if options.search:
        for name, why in NOT_WITH_SEARCH.items():
            value = getattr(options, name)
            if value and value != 1 or value is True:
                raise UserError(f"{_flag(name)} does not go with --search: {why}")
        if options.seeds and "," in options.seeds.strip(" ,"):
            raise UserError(f"--search trains each trial with one seed, but --seeds gives several: {options.seeds}")


def check_ledger(options: argparse.Namespace) -> None:
    """UserError for what does not go with a ledger."""
    mode = "verify" if options.verify is not None else "ledger" if options.ledger else None
    if options.draw is not None and options.verify is None:
        raise UserError("--draw SEED says which runs --verify trains: give --verify N as well")
    if mode is None:
        return
    if options.verify is not None and options.verify < 1:
        raise UserError(f"--verify {options.verify}: the number of runs must be 1 or more")
    if options.budget != "full" or options.overrides:
        given = f"--budget {options.budget}" if options.budget != "full" else " ".join(options.overrides)
        raise UserError(f"{_flag(mode)} does not go with {given}: a ledger holds the runs at full length, as written")
    for name in NOT_WITH_LEDGER[mode]:
        if getattr(options, name):
            raise UserError(f"{_flag(mode)} and {_flag(name)} do not go together: give one of them")


def names(text: str) -> list[str]:
    """`a,b` as a list, for argparse; an error where there are none, which would stand for all."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"expected names separated by commas, got {text!r}")
    return found


def parse_seeds(text: str | None) -> tuple[int, ...]:
    """`0,1,2` as numbers; UserError for anything else."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds takes whole numbers separated by commas, got {text!r}")
    return tuple(map(int, parts))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
