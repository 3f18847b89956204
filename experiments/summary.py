"""Print all published rows beside ours, and which claims of the reports hold, from the ledgers alone:
`python -m experiments.summary`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.errors import UserError
from engine.files import write_atomically
from experiments.options import names


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.summary",
        description="Print the published rows of all reports beside ours, with verdicts and the reports' claims: made "
        "of ledgers (python -m experiments.ablation --export FILE.jsonl), without training and without data.",
    )
    parser.add_argument(
        "--ledgers", type=Path, metavar="DIR", help="where STUDY.jsonl lie (default: the project's own)"
    )
    parser.add_argument("--studies", type=names, metavar="A,B", help="these studies instead of the five reports")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the page instead of printing it")
    options = parser.parse_args(arguments)
    from experiments.records.ledger import FOLDER  # only now: --help answers at once
    from experiments.report.overview import REPORTS, markdown, overview

    folder = options.ledgers or FOLDER
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of ledgers; --ledgers DIR names one")
    text = markdown(overview(folder, options.studies or REPORTS))
    if options.out is None:
        print(text, end="")
    else:
        write_atomically(options.out, text.encode())
        print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
