"""Every code block of README and of the pages in docs/ runs, in the order of its page, in a folder of its own."""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cnncore
import pytest

from engine.reading.schema import merge
from engine.recipe.config import read_config
from experiments.study.read import parse_study
from tests.docs.blocks import MARKS, Block, outside_of_fences, read_blocks, squeezed, without_digits

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "sh", "yaml", "text", "c"}

# Blocks that are not run, by page and first line: nothing is left out that does not stand here too.
NOT_RUN = {
    ("README.md", "pip install . && python -m experiments.ablation"),
    ("README.md", 'pip install ".[test]" && pytest'),
    ("index.md", "python3 -m venv .venv && source .venv/bin/activate"),
    ("index.md", "python -m experiments.ablation"),
    ("install.md", "pip install ."),
    ("install.md", "pip install -r requirements-predict.txt"),
    ("install.md", "pip wheel --no-deps --wheel-dir dist ."),
    ("install.md", "python -P -m engine.train run.yaml"),
    ("serve.md", 'pip install ".[serve]"'),
    ("serve.md", "import base64, json, urllib.request"),
    ("study.md", "from dask_jobqueue import SLURMCluster"),
    ("study.md", "from dask_kubernetes.operator import KubeCluster"),
    (
        "training.md",
        "python -m engine.data fetch cifar10         # where its publisher allows; goes on after a break",
    ),
    ("study.md", "claims:"),
    (
        "reproduced.md",
        "python -m experiments.ablation --study mnist --verify 2             # the two cheapest",
    ),
    (
        "reproduced.md",
        "python -m experiments.ablation --study mnist --ledger experiments/results/ledger/mnist.jsonl",
    ),
    ("promises.md", "python -m experiments.ablation --verify 3"),
    ("adding.md", "make -C csrc test asan ubsan"),
    ("adding.md", "make -C csrc test asan"),
    ("promises.md", "python -m experiments.checks.integer_hash runs/int8_lenet"),
    ("promises.md", "python -m experiments.checks.determinism_cost"),
    ("promises.md", "python -m experiments.checks.kill_study --kills 50"),
    ("promises.md", "python -m experiments.checks.gradients"),
    ("promises.md", "python -m experiments.checks.winograd_accuracy"),
    ("promises.md", "python -m experiments.checks.python_share"),
    ("promises.md", "python -m experiments.checks.startup"),
    ("promises.md", "python -m experiments.checks.gemm --rounds 31"),
    ("promises.md", "python -m experiments.record determinism.md -- python -m experiments.checks.determinism"),
}
TRAINED = {"dataset": "digits5k", "model": {"name": "lenet"}}  # what a part of a configuration is laid over


class Reader:
    """Does what a page says, as its reader would: one folder, one Python session, the files that it tells to write."""

    def __init__(self, page: Path, folder: Path):
        self.page = page
        self.folder = folder
        self.session: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""
        commands = folder / "commands"
        commands.mkdir()
        (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (commands / "python").chmod(0o755)
        paths = (ROOT, Path(cnncore.__file__).resolve().parents[1])
        self.environment = {
            **os.environ,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "MPLBACKEND": "agg",
        }
        (folder / "experiments").symlink_to(ROOT / "experiments")  # pages are read in the checkout

    def take(self, block: Block) -> None:
        """Run the block, write it, or hold it to what it should be."""
        if block.mark == "not run":
            return
        if block.mark == "from":
            assert squeezed(block.text) in squeezed((ROOT / block.detail).read_text("utf-8")), f"not in {block.detail}"
        elif block.mark == "file":
            (self.folder / block.detail).write_text(block.text)
            self.check_yaml(block)
        elif block.mark == "output":
            assert without_digits(self.printed) == without_digits(block.text), f"it printed\n{self.printed}"
        elif block.language == "python":
            self.run_python(block)
        elif block.language == "sh":
            self.run_shell(block)
        elif block.language == "yaml":
            self.check_yaml(block)
        else:
            assert block.language == "text", f"nothing holds this {block.language} block: say where it is from"

    def run_python(self, block: Block) -> None:
        code = compile("\n" * block.line + block.text, str(self.page), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, self.session)
        self.printed = out.getvalue()

    def run_shell(self, block: Block) -> None:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        self.printed = done.stdout

    def check_yaml(self, block: Block) -> None:
        """A study, a configuration, or a part of one: each is read as the commands read it."""
        import yaml

        given = yaml.safe_load(block.text)
        if "seeds" in given:
            parse_study(block.text, self.page.name)
        else:
            read_config(merge(TRAINED, given), self.page.name)


@pytest.fixture
def plain_kernels() -> Iterator[None]:
    """The instruction set that every machine has: what a page shows of plans is for it."""
    before = cnncore.isa()
    cnncore.set_isa("portable")
    yield
    cnncore.set_isa(before)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    blocks = read_blocks(page)
    if any(block.mark == "output" for block in blocks):
        request.getfixturevalue("plain_kernels")
    if any("engine.plots" in block.text or "ablation" in block.text for block in blocks):
        pytest.importorskip("matplotlib")
    if any("engine.serve" in block.text for block in blocks):
        pytest.importorskip("uvicorn", reason="the server needs uvicorn")
        pytest.importorskip("starlette", reason="the server needs starlette")
        if shutil.which("curl") is None:
            pytest.skip("the page asks with curl")
    monkeypatch.chdir(tmp_path)
    reader = Reader(page, tmp_path)
    for block in blocks:
        try:
            reader.take(block)
        except BaseException as error:
            error.args = (f"{page.name}, line {block.line}: {error}",)
            raise


def test_what_is_not_run_stands_in_the_list_with_a_reason() -> None:
    left_out = [(page.name, block) for page in PAGES for block in read_blocks(page) if block.mark == "not run"]
    assert all(block.detail for _, block in left_out)
    assert {(name, block.first) for name, block in left_out} == NOT_RUN
    assert len(left_out) == len(NOT_RUN)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_hides_from_the_tests(page: Path) -> None:
    """An indented block, an unknown language or comment would be passed over."""
    blocks = read_blocks(page)
    assert {block.mark for block in blocks} <= {"", *MARKS}
    assert {block.language for block in blocks} <= LANGUAGES
    rest = outside_of_fences(page)
    assert "```" not in rest and "~~~" not in rest
    assert "\n\n    " not in rest, "an indented block"
    assert not [comment for comment in MARKS if f"<!-- {comment}" in rest], "a comment without a block behind it"


@pytest.mark.parametrize("name", ["index.md", "photos.md"])
def test_python_of_the_first_pages_can_be_taken_alone(name: str) -> None:
    """Whoever copies one block has not run those before it."""
    for block in read_blocks(ROOT / "docs" / name):
        if block.language == "python":
            names = [each for each in ast.walk(ast.parse(block.text)) if isinstance(each, (ast.Name, ast.alias))]
            loaded = {each.id for each in names if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
            bound = {each.id for each in names if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
            bound |= {(each.asname or each.name).partition(".")[0] for each in names if isinstance(each, ast.alias)}
            assert loaded - bound <= set(dir(builtins)), (name, block.line)


def test_digits_may_move_and_words_may_not() -> None:
    assert without_digits("a 1.5 k  3\n") == without_digits("a  17 k  0.25\n")
    assert without_digits("a 1 k") != without_digits("b 1 k")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"], ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    text = outside_of_fences(page)
    named = re.findall(r"`((?:csrc|docs|engine|experiments|python|tests)/[\w./*-]*)`", text)
    missing = [path for path in named if "NAME" not in path and not list(ROOT.glob(path.removesuffix("/")))]
    missing += [path for path in re.findall(r"\]\(([\w./-]+)", text) if not (page.parent / path).exists()]
    assert missing == []
