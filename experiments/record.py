"""Run a command of the project and keep what it printed, with all that is needed to run it again.

python -m experiments.record experiments/results/gradients.md -- python -m experiments.checks.gradients
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engine import cli
from engine.files import write_atomically
from experiments.circumstances import circumstances


def document(command: Sequence[str], output: str, status: int, seconds: float) -> str:
    """The Markdown file: a table of circumstances, then the output as it was."""
    facts = {**circumstances(command), "exit status, seconds": f"{status}, {seconds:.0f}"}
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"| | |\n|---|---|\n{rows}\n\n```text\n{output.rstrip()}\n```\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = cli.command_parser("experiments.record", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", metavar="FILE.md", type=Path, help="where the record goes; replaced if it is there")
    parser.add_argument("command", metavar="-- COMMAND", nargs=argparse.REMAINDER, help="what to run")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("expected a command after --")
    start = datetime.datetime.now()
    shown = command
    if command[0] == "python":
        command = [sys.executable, *command[1:]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = process.wait()
    seconds = (datetime.datetime.now() - start).total_seconds()
    write_atomically(options.file, document(shown, "".join(lines), status, seconds).encode())
    return status


if __name__ == "__main__":
    sys.exit(cli.run(main))
