"""Imports only point down, no files go round in a circle, and rooms stay small.

Every import of engine/ and experiments/ is read from the syntax: also those inside functions and those for types alone.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = ("engine", "experiments")
MOST_LINES = 350  # of a file
MOST_FILES = 14  # of a room
MOST_LAZY = 70  # imports inside functions, for the time of a start; those of optional packages stand nowhere else
INSTALLED = frozenset(
    ["cnncore", "cv2", "numpy", "pandas", "platformdirs", "pooch", "safetensors", "scipy", "tqdm", "yaml"]
)  # with the engine
MOST_OF_NETWORK = 200  # lines of the class Network

# Files that name modules in a table and load them when they are used: what stands above them is not imported, and a
# start does without it. Nobody else does.
BY_NAME = {
    "engine/export/__init__.py": "the kinds of files that a network is written as",
    "engine/importing/__init__.py": "the kinds of files that a network is read from",
    "engine/network/network.py": "the methods of a network that rooms above do",
}

GROUND = "engine.files engine.reading engine.cli engine.arguments engine.draws"
LAB_GROUND = "experiments.words experiments.stats experiments.circumstances experiments.options"

# The order, written once: what the files of a room (or a file by its own name) may import beside their own room. What
# stands below that is allowed with it.
BELOW: Mapping[str, str] = {
    "engine.errors": "",
    **dict.fromkeys(GROUND.split(), "engine.errors"),
    "engine.program": GROUND,
    "engine.layers": "engine.program",
    "engine.losses": "engine.layers",
    "engine.optim": GROUND,
    "engine.plan.cost": "engine.program",
    "engine.plan.rules": "engine.program",
    "engine.plan": "engine.plan.cost engine.plan.rules engine.losses engine.optim",
    "engine.network": "engine.plan engine.data",
    "engine.models": "engine.network",
    "engine.inspection": "engine.network",
    "engine.data.headers": GROUND,
    "engine.data": "engine.data.headers",
    "engine.data.readers": "engine.data",
    "engine.data.choose": "engine.data engine.losses",
    "engine.data.sets": "engine.data.readers engine.data.choose",
    "engine.training": "engine.network engine.data.choose engine.training.metrics",
    "engine.inference": "engine.quantize engine.data.readers engine.training.metrics",
    "engine.training.metrics": GROUND,
    "engine.recipe": "engine.training engine.inference engine.models engine.data.sets engine.quantize",
    "engine.plots": "engine.recipe engine.inspection",
    "engine.estimator": "engine.training engine.models engine.inference",
    "engine.weights": "engine.network",
    "engine.quantize": "engine.inspection",
    "engine.export": "engine.quantize",
    "engine.export.page": "engine.inference engine.training",
    "engine.importing": "engine.export",
    "engine.serving": "engine.export.page",
    # Doors: they parse, call and print, and nothing imports them.
    "engine.train": "engine.recipe engine.plots",
    "engine.crossval": "engine.recipe",
    "engine.predict": "engine.recipe",
    "engine.summary": "engine.recipe engine.export",
    "engine.profile": "engine engine.recipe engine.inspection engine.plots",
    "engine.__main__": GROUND,
    "engine.data.__main__": "engine.data.sets",
    "engine.plots.__main__": "engine.plots",
    "engine.weights.__main__": "engine.weights engine.recipe",
    "engine.quantize.__main__": "engine.recipe",
    "engine.export.__main__": "engine.export engine.importing engine.recipe",
    "engine.serve": "engine.serving",
    # The lab.
    **dict.fromkeys(LAB_GROUND.split(), GROUND),
    "experiments.study": f"engine.recipe {LAB_GROUND}",
    "experiments.tasks": "experiments.study",
    "experiments.records": "experiments.tasks",
    "experiments.learned": "experiments.tasks engine.plots",
    "experiments.running": "experiments.records experiments.learned",
    "experiments.sequential": "experiments.stats",
    "experiments.report": "experiments.running experiments.sequential engine.plots",
    "experiments.cluster": "experiments.running",
    "experiments.choosing": "experiments.cluster",
    "experiments.undecided": "experiments.report",
    "experiments.command": "experiments.undecided experiments.choosing",
    "experiments.methods": "experiments.report experiments.cluster",
    "experiments.measuring": "engine.recipe engine.inspection experiments.stats",
    "experiments.peers": f"experiments.measuring engine.export {LAB_GROUND}",
    "experiments.peers.adapters": "experiments.peers",
    "experiments.checks": (
        "experiments.checks.onnx experiments.peers.adapters experiments.report experiments.cluster engine.estimator "
        "engine.serving"
    ),
    "experiments.checks.onnx": "engine.importing engine.recipe",
    "experiments.ablation": "experiments.command",
    "experiments.record": LAB_GROUND,
    "experiments.summary": "experiments.report",
    # The names of the packages themselves: nothing stands in them but the lazy public names.
    "engine": "",
    "experiments": "",
}


@dataclass(frozen=True)
class Import:
    """One imported module in a file; `lazy`: inside a function."""

    file: Path
    line: int
    module: str
    lazy: bool


def modules(root: Path) -> dict[str, Path]:
    """Name → file of every module of the trees."""
    found = {}
    for path in sorted(each for tree in TREES for each in (root / tree).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    """Every import in a file, wherever it stands; `from package import module` names the module."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(path, child.lineno, alias.name, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0 and child.module, f"{path}:{child.lineno}: a relative import"
                for alias in child.names:
                    if alias.name.startswith("__"):
                        continue  # a fact about the package itself, as its version: it stands in its __init__
                    inner = f"{child.module}.{alias.name}"
                    yield Import(path, child.lineno, inner if inner in known else child.module, lazy)
            yield from walk(child, lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    yield from walk(ast.parse(path.read_text("utf-8")), False)


def unit_of(module: str) -> str:
    """The longest name of the table that the module stands under."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(name for name in names if name in BELOW and (name not in TREES or name == module))


def allowed(unit: str) -> set[str]:
    """The units that the files of a unit may import: its own, and all below."""
    found, pending = {unit}, BELOW[unit].split()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += BELOW[name].split()
    return found


def upward(root: Path) -> list[str]:
    """Every import that points up or aside, in words."""
    known = modules(root)
    found = []
    for module, path in known.items():
        may = allowed(unit_of(module))
        for each in imports(path, known):
            ours = each.module.split(".")[0] in TREES
            # Whoever imports a package itself asks where it lies, or uses the public names of `engine`, which stand
            # above all of its rooms.
            public = each.module in TREES and module.split(".")[0] == "experiments"
            if ours and not public and unit_of(each.module) not in may:
                found.append(f"{path.relative_to(root)}:{each.line}: {unit_of(module)} imports {each.module}")
    return found


def circles(root: Path) -> list[list[str]]:
    """The groups of files that reach each other by imports (Tarjan 1972)."""
    known = modules(root)
    edges = {name: {each.module for each in imports(path, known)} & set(known) - {name} for name, path in known.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges[name]:
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in edges:
        if name not in index:
            visit(name)
    return found


def test_imports_only_point_down() -> None:
    assert upward(ROOT) == []


def test_no_files_go_round_in_a_circle() -> None:
    assert circles(ROOT) == []


def test_every_module_has_its_place_in_the_order() -> None:
    for module in modules(ROOT):
        assert unit_of(module) in BELOW


def test_rooms_and_files_stay_small() -> None:
    known = modules(ROOT).values()
    rooms = Counter(path.parent.relative_to(ROOT) for path in known)
    assert {room: count for room, count in rooms.items() if count > MOST_FILES} == {}
    lengths = {path.relative_to(ROOT): len(path.read_text("utf-8").splitlines()) for path in known}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}
    tree = ast.parse((ROOT / "engine/network/network.py").read_text("utf-8"))
    network = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Network")
    assert network.end_lineno is not None and network.end_lineno - network.lineno + 1 <= MOST_OF_NETWORK


def test_few_imports_stand_inside_functions() -> None:
    known = modules(ROOT)
    at_hand = {*TREES, *INSTALLED, *sys.stdlib_module_names}
    lazy = [
        each
        for path in known.values()
        for each in imports(path, known)
        if each.lazy and each.module.split(".")[0] in at_hand
    ]
    statements = {(each.file, each.line) for each in lazy}
    assert len(statements) <= MOST_LAZY, sorted(f"{file.relative_to(ROOT)}:{line}" for file, line in statements)


def named(root: Path) -> dict[str, set[str]]:
    """File → the modules of the trees that texts in it name, as a loader by name would need them."""
    known = modules(root)
    found: dict[str, set[str]] = {}
    for path in known.values():
        texts = {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}
        if names := {text for text in texts if isinstance(text, str) and "." in text and text in known}:
            found[path.relative_to(root).as_posix()] = names
    return found


def test_only_tables_load_modules_by_their_names() -> None:
    loaders = {
        path.relative_to(ROOT).as_posix()
        for path in modules(ROOT).values()
        if "import_module" in path.read_text("utf-8")
    }
    assert set(named(ROOT)) & loaders == set(BY_NAME)


PLANTED = {
    "at the top": "from engine.network.network import Network",
    "inside a function": "def run():\n    import engine.network.network",
    "for types alone": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from engine.network import network",
    "inside a method": "class A:\n    def run(self):\n        from engine.network import network",
}


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_an_upward_import_is_found_wherever_it_stands(tmp_path: Path, text: str) -> None:
    for name, content in {"engine/network/network.py": "class Network: ...", "engine/plan/fuse.py": text}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (found,) = upward(tmp_path)
    assert "engine.plan imports engine.network.network" in found


def test_a_circle_is_found(tmp_path: Path) -> None:
    for name, other in {"graph": "network", "network": "load", "load": "graph"}.items():
        path = tmp_path / "engine" / "network" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def later():\n    import engine.network.{other}\n")
    assert circles(tmp_path) == [["engine.network.graph", "engine.network.load", "engine.network.network"]]
