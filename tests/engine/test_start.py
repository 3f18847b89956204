"""What a start loads: nothing that it does not use. (Not timed: a module that is not there costs nothing.)"""

import os
import subprocess
import sys
from pathlib import Path

import cnncore
import pytest

import engine
from engine.models.numtadb import lenet

HEAVY = {"cv2", "matplotlib", "onnx", "pandas", "scipy", "sklearn", "torch", "tqdm", "yaml"}


def loaded(code: str) -> set[str]:
    """Modules that a fresh interpreter has after running `code`."""
    paths = [Path(cnncore.__file__).parents[1], Path(engine.__file__).parents[1]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    code += "\nimport sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_the_package_alone_loads_nothing() -> None:
    modules = loaded("import engine")
    assert not modules & {*HEAVY, "numpy", "cnncore"}
    assert {name for name in modules if name.startswith("engine")} == {"engine"}


def test_a_first_prediction_loads_neither_training_nor_data(tmp_path: Path) -> None:
    path = tmp_path / "lenet"
    lenet().save(path)
    modules = loaded(
        "import engine, numpy\n"
        f"print(engine.load({str(path)!r}).predict(numpy.zeros((1, 3, 28, 28), numpy.float32)).shape)"
    )
    assert "engine.network.network" in modules
    assert not modules & {
        *HEAVY,
        "engine.training.trainer",
        "engine.training.run",
        "engine.recipe.config",
        "engine.models",
        "engine.plan.tune",
    }
    assert not [name for name in modules if name.startswith("engine.data")]


COMMANDS = ("engine", "engine.train", "engine.predict", "engine.crossval", "engine.summary", "engine.profile",
            "engine.data", "engine.plots", "engine.export", "engine.serve", "engine.weights", "engine.quantize",
            "experiments.ablation")  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_at_once(command: str) -> None:
    """It loads the command line and nothing of what the command does."""
    modules = loaded(
        "import runpy, sys\n"
        f"sys.argv = [{command!r}, '--help']\n"
        f"try: runpy.run_module({command!r}, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: assert not end.code"
    )
    assert not modules & {*HEAVY, "numpy", "cnncore"}
    assert len([name for name in modules if name.startswith(("engine", "experiments"))]) < 10
