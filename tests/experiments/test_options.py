"""Options of the ablation command that do not go together are refused, and the others are not."""

import subprocess
import sys

import pytest

from engine.errors import UserError
from experiments import ablation


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--search", "-j", "2"], "--jobs does not go with --search: it tries one configuration after the other"),
        (["--search", "--rows", "raw"], "--rows does not go with --search"),
        (["--search", "--fail-fast"], "--fail-fast does not go with --search"),
        (["--search", "--accept-code"], "--accept-code does not go with --search"),
        (["--search", "--watch"], "--watch does not go with --search"),
        (["--search", "--seeds", "0,1"], "one seed, but --seeds gives several: 0,1"),
        (["--search", "--dry-run"], "--dry-run and --search do not go together"),
        (["--search", "--status"], "--status and --search do not go together"),
        (["--list", "--check"], "--list and --check do not go together"),
        (["--status", "--dry-run"], "--dry-run and --status do not go together"),
        (["--status", "--export", "x.csv", "--list"], "--list and --status do not go together"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ablation.parse_arguments(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--search", "--seeds", "3", "--no-report", "epochs=2", "--out", "x"],
        ["--status", "--export", "x.csv", "-j", "2", "--fail-fast"],
        ["--dry-run", "-j", "2", "--rows", "raw"],
        ["-j", "2", "--fail-fast", "--watch", "--accept-code"],
    ],
)
def test_options_that_go_together(arguments):
    ablation.parse_arguments(arguments)


def test_the_command_says_so_in_one_line():
    command = [sys.executable, "-m", "experiments.ablation", "--search", "-j", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: --jobs does not go with --search")
    assert done.stderr.count("\n") == 1
