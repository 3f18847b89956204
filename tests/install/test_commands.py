"""Every command, found by its `__main__` block: version, help, and how it begins."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import engine
from experiments.report.provenance import shown_command
from tests.install.test_package import ROOT, declared_project
from tests.terminals import on_terminal

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

# Not for people: `experiments.peers` begins it, in an environment that need not have the engine.
WORKER = "experiments.peers.worker"
SCRIPTS = ("cnn-train", "cnn-predict", "cnn-ablation")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__main__" else parts)


def main_block(path: Path) -> ast.If | None:
    """`if __name__ == "__main__": …` of a file."""
    for each in ast.parse(path.read_text("utf-8")).body:
        if isinstance(each, ast.If) and ast.unparse(each.test) == "__name__ == '__main__'":
            return each
    return None


FILES = {
    module_of(path): path
    for tree in ("engine", "experiments")
    for path in sorted((ROOT / tree).rglob("*.py"))
    if main_block(path)
}
COMMANDS = [name for name in FILES if name != WORKER]


def test_the_commands_are_found() -> None:
    assert len(COMMANDS) > 25
    assert {"engine.train", "engine.plots", "experiments.ablation", "experiments.checks.gemm"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_begins_within_run(name: str) -> None:
    """So that no sign can stop it, and what goes wrong is one line."""
    block = main_block(FILES[name])
    assert block is not None
    assert re.fullmatch(r"sys\.exit\(((cli\.)?run\(.*\)|command\(\))\)", ast.unparse(block.body[0]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = on_terminal(monkeypatch, name, "--version")
    assert (said.status, said.out, said.err) == (0, f"cnn-engine {engine.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_can_be_read_on_any_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = on_terminal(monkeypatch, name, "--help")
    assert said.status == 0 and said.out.startswith(f"usage: python -m {name} ") and "--version" in said.out


def test_scripts_do_what_the_modules_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    scripts = declared_project()["project"]["scripts"]
    assert set(SCRIPTS) <= set(scripts)
    for name, place in scripts.items():
        module, _, function = place.partition(":")
        assert module.removesuffix(".__main__") in COMMANDS
        monkeypatch.setattr("sys.argv", [f"/somewhere/bin/{name}", "--help"])
        with pytest.raises(SystemExit) as ended:
            getattr(importlib.import_module(module), function)()
        assert not ended.value.code
        assert capsys.readouterr().out.startswith(f"usage: {name} ")


def test_a_script_ends_with_the_status_of_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from engine import train

    monkeypatch.setattr("sys.argv", ["cnn-train", str(tmp_path / "none.yaml")])
    assert train.command() == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_version_stands_in_one_place() -> None:
    project = declared_project()
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", engine.__version__)
    assert project["project"]["dynamic"] == ["version"] and "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "engine.__version__"}
    expand = pytest.importorskip("setuptools.config.expand", reason="the build's own reading needs setuptools")
    assert expand.read_attr("engine.__version__", {"engine": "engine"}, ROOT) == engine.__version__


def test_a_report_shows_the_command_as_it_was_typed() -> None:
    assert shown_command(["/somewhere/bin/cnn-ablation", "-j", "2"]) == ["cnn-ablation", "-j", "2"]
    module = "/somewhere/experiments/ablation.py"
    assert shown_command([module, "epochs=1"]) == ["python", "-m", "experiments.ablation", "epochs=1"]
