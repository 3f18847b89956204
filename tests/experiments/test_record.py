"""A record holds what was printed and what is needed to print it again."""

import re
import statistics
import sys
from pathlib import Path

from experiments.record import main
from experiments.stats import DEFAULT_MARGIN, verdict


def test_record_holds_output_and_circumstances(tmp_path: Path) -> None:
    file = tmp_path / "results" / "hello.md"
    assert main([str(file), "--", sys.executable, "-c", "print('hello'); raise SystemExit(3)"]) == 3
    text = file.read_text()
    assert "```text\nhello\n```" in text
    for fact in ("command", "commit", "date", "machine", "instruction set, threads"):
        assert f"| {fact} |" in text
    assert "| exit status, seconds | 3, " in text
    assert list(file.parent.iterdir()) == [file]


def test_a_record_of_an_older_rule_says_so() -> None:
    """A table whose note has no margin was judged by the prediction interval alone."""
    results = Path(__file__).resolve().parents[2] / "experiments" / "results"
    texts = {path.name: " ".join(path.read_text().split()) for path in sorted(results.glob("*.md"))}
    judged = {name: text for name, text in texts.items() if "verdict: reproduced where" in text}
    assert "mnist_final.md" in judged
    for name, text in judged.items():
        head = text.split("```text")[0]
        assert ("within the margin" in text) != ("| rule of the verdicts | the prediction interval alone" in head), name


def test_the_verdict_of_the_old_record_holds_by_the_present_rule() -> None:
    """The seeds of the MNIST report's final training as the record prints them, which is tested on what validates."""
    text = (Path(__file__).resolve().parents[2] / "experiments" / "results" / "mnist_final.md").read_text()
    values = [float(value) for value in re.findall(r"^\[\d/5\] Final, seed \d: val accuracy (0\.\d+)", text, re.M)]
    assert f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" in text
    assert verdict(0.9918, values, margin=DEFAULT_MARGIN).word == "reproduced"


def test_every_result_stands_in_the_index() -> None:
    results = Path(__file__).resolve().parents[2] / "experiments" / "results"
    index = (results / "README.md").read_text()
    missing = [path.name for path in sorted(results.iterdir()) if path.name != "README.md" and path.name not in index]
    assert not missing
