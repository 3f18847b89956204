"""A record holds what was printed and what is needed to print it again."""

import sys
from pathlib import Path

from experiments.record import main


def test_record_holds_output_and_circumstances(tmp_path: Path) -> None:
    file = tmp_path / "results" / "hello.md"
    assert main([str(file), "--", sys.executable, "-c", "print('hello'); raise SystemExit(3)"]) == 3
    text = file.read_text()
    assert "```text\nhello\n```" in text
    for fact in ("command", "commit", "date", "machine", "instruction set, threads"):
        assert f"| {fact} |" in text
    assert "| exit status, seconds | 3, " in text
    assert list(file.parent.iterdir()) == [file]


def test_every_result_stands_in_the_index() -> None:
    results = Path(__file__).resolve().parents[2] / "experiments" / "results"
    index = (results / "README.md").read_text()
    missing = [path.name for path in sorted(results.iterdir()) if path.name != "README.md" and path.name not in index]
    assert not missing
