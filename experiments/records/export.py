"""Results as a table of one line per run: CSV, or Parquet for those who go on with pandas, R or DuckDB.

A ledger is no table, and `experiments.records.ledger` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, unknown
from engine.files import write_atomically
from experiments.records.result import Result

if TYPE_CHECKING:
    import pandas as pd

LEDGER = ".jsonl"
FORMATS = (".csv", ".parquet", LEDGER)
FACTS = ("row", "seed", "status", "best_epoch", "epochs", "parameters", "seconds", "seconds_per_epoch", "error", "key")


def lines(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One mapping per result with the same keys: its facts, its folder, and every metric that any of them has."""
    names = sorted({name for result in results for name in result.metrics})
    return [
        {
            **{fact: getattr(result, fact) for fact in FACTS},
            "folder": str(result.folder),
            **{name: result.metrics.get(name) for name in names},
        }
        for result in results
    ]


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """The lines as a DataFrame; counts that a run lacks are missing values, not 0."""
    import pandas as pd  # only now: slow to load, and no run needs it

    table = pd.DataFrame(lines(results), columns=None if results else [*FACTS, "folder"])
    return table.astype({"best_epoch": "Int64"})


def export(results: Sequence[Result], path: Path) -> None:
    """Write the results to a file; its ending says how. UserError for another ending, or without what Parquet needs."""
    check_format(path)
    table = frame(results)
    if path.suffix == ".csv":
        content = table.to_csv(index=False, lineterminator="\n").encode()
    else:
        try:
            content = table.to_parquet(index=False)
        except ImportError:
            raise UserError(f"{path}: Parquet needs pyarrow (pip install pyarrow); .csv needs nothing more") from None
    write_atomically(path, content)


def check_format(path: Path) -> None:
    """UserError for an ending that is none of FORMATS."""
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: {unknown('format', path.suffix or 'without an ending', FORMATS)}")
