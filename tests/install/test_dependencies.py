"""A plain installation brings what the code imports and no more, and a prediction needs three packages of it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import engine
from engine.data.dataset import RawDataset, prepare
from engine.data.preprocess import Preprocess
from engine.training.trainer import Trainer
from tests.engine.small import CLASSES, small_images, small_net
from tests.install.test_package import ROOT, declared_project, run_python

# Where the module that is imported has another name than the package that is installed.
PACKAGES = {
    "cv2": "opencv-python",
    "yaml": "pyyaml",
    "PIL": "pillow",
    "imagehash": "ImageHash",
    "jinja2": "Jinja2",
    "tensorflow": "tensorflow-cpu",
    "sklearn": "scikit-learn",
    "_tools": "MNN",
    "ai_edge_litert": "ai-edge-litert",
    "litert_torch": "litert-torch",
}
# What another package of the list stands on, and cannot come without.
BROUGHT = {"requests": "pooch", "urllib3": "pooch", "dask": "distributed"}


def names(requirements: list[str]) -> set[str]:
    """The packages of some requirements, without their versions."""
    return {re.split(r"[^\w-]", each)[0] for each in requirements}


def imported() -> set[str]:
    """The packages of every import outside the standard library in engine/, experiments/ and cnncore."""
    modules = set()
    for top in ("engine", "experiments", "python/cnncore"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, "engine", "experiments", "cnncore"}
    return {PACKAGES.get(name, BROUGHT.get(name, name)) for name in modules}


def test_everything_in_a_plain_installation_is_imported_somewhere() -> None:
    """A package for the sake of one file in it, or one that nothing needs any more, weighs for nothing."""
    assert names(declared_project()["project"]["dependencies"]) - imported() == set()


def test_every_import_can_be_installed_by_a_name_of_ours() -> None:
    project = declared_project()["project"]
    extras = project["optional-dependencies"]
    declared = names(project["dependencies"]).union(*map(names, extras.values()))
    assert imported() - declared == set()


# ---- prediction alone ----

ENOUGH = ("numpy", "cv2", "safetensors")
BARE = f"""
import runpy, sys

class OnlyTheNeeded:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {{*sys.stdlib_module_names, "engine", "cnncore", *{ENOUGH!r}}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, OnlyTheNeeded())
"""


def bare(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` where nothing but ENOUGH can be imported beside Python's own library and ours."""
    return run_python("-c", BARE + code, *map(str, arguments), cwd=cwd)


def predict(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return bare("runpy.run_module('engine.predict', run_name='__main__', alter_sys=True)", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, their labels in a table, and two networks trained on them."""
    place = tmp_path_factory.mktemp("alone")
    (place / "pictures" / "more").mkdir(parents=True)
    images, labels = small_images(6)
    rows = ["filename,label"]
    for number, (image, label) in enumerate(zip(images, labels)):
        name = f"{number}.png" if number < 4 else f"more/{number}.png"
        cv2.imwrite(str(place / "pictures" / name), image)
        rows.append(f"{name},{CLASSES[label]}")
    (place / "gt.csv").write_text("\n".join(rows) + "\n")
    preprocess = Preprocess(steps=("reverse", "bbox"), size=(10, 10), mean=(0.1,), std=(0.7,))
    data = prepare(RawDataset("pictures", images, labels, CLASSES), preprocess)
    for name in ("one", "two"):
        net = small_net()
        Trainer(net, engine.Adam(lr=0.01), batch_size=4, progress="none", out=place / name).fit(data, epochs=1)
    return place


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ([], 4),
        (["--recursive", "--gt", "gt.csv", "--out", "found.csv"], 6),
        (["--checkpoint", "two/best.safetensors", "--tta", "flip,shift:1,rotate:5"], 4),
        (["--skip-damaged"], 4),
    ],
    ids=["rows on the terminal", "with true labels", "two networks, several views", "going on behind damage"],
)
def test_a_prediction_needs_numpy_safetensors_and_one_opencv(trained: Path, arguments: list[str], rows: int) -> None:
    done = predict("pictures", "--checkpoint", "one/best.safetensors", *arguments, cwd=trained)
    assert done.returncode == 0, done.stderr
    table = (trained / "found.csv").read_text() if "--out" in arguments else done.stdout
    assert table.count(".png,") == rows
    if "--gt" in arguments:
        assert "accuracy" in done.stdout and "macro-F1" in done.stdout


def test_a_network_is_loaded_and_asked_from_python_as_well(trained: Path) -> None:
    done = bare(
        "import engine, numpy\n"
        "print(engine.load('one/best.safetensors').predict(numpy.zeros((2, 1, 10, 10), numpy.float32)).shape)",
        cwd=trained,
    )
    assert done.returncode == 0 and done.stdout.startswith("(2, "), done.stderr


def test_what_a_prediction_cannot_do_without_more_is_one_line(trained: Path) -> None:
    """The only option that asks for a further package is the one that reads YAML."""
    (trained / "predict.yaml").write_text("checkpoint_path: one/best.safetensors\n")
    done = predict("pictures", "--config", "predict.yaml", cwd=trained)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "'yaml'" in done.stderr and "pip install ." in done.stderr


def requirements(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def test_the_file_for_prediction_alone_names_these_and_allows_what_the_whole_does() -> None:
    wanted = requirements(ROOT / "requirements-predict.txt")
    assert names(wanted) == {"numpy", "opencv-python-headless", "safetensors"}
    whole = [each.split()[0] for each in declared_project()["project"]["dependencies"]]
    assert {each.replace("-headless", "") for each in wanted} <= set(whole)
