"""The sides by name, their environment and their processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import experiments
from experiments.measuring.serving import Answer
from experiments.measuring.sides import Side, SideEnded
from experiments.peers.job import EXACT, INFERENCE, INT8, OURS_FLOAT, STATIC, TRAINING

OURS = "ours"


@dataclass(frozen=True)
class Framework:
    """`adapter` is a module of experiments.peers.adapters; `usual` tasks are timed without being asked for.

    reads     the adapter takes the job's ONNX model
    converts  its `export` makes a file of its own of that beforehand, in a process apart
    """

    adapter: str
    usual: tuple[str, ...]
    tasks: tuple[str, ...] = (TRAINING, INFERENCE)
    reads: bool = False
    converts: bool = False


def engine_of_models(adapter: str, *tasks: str, converts: bool = False) -> Framework:
    """An engine that only predicts, from the ONNX model."""
    return Framework(adapter, tasks, tasks, reads=True, converts=converts)


FRAMEWORKS: dict[str, Framework] = {
    OURS: Framework("ours", (TRAINING, INFERENCE)),
    "torch": Framework("torch", (TRAINING, INFERENCE)),
    "torch-cl": Framework("torch", (TRAINING, INFERENCE)),
    "torch-compile": Framework("torch", (TRAINING,)),
    EXACT: Framework("torch", (), ()),
    "jax": Framework("jax", (TRAINING,)),
    "keras": Framework("keras", (TRAINING,)),
    OURS_FLOAT: Framework("ours", (INT8,), (INT8,)),
    "onnxruntime": engine_of_models("onnxruntime", INFERENCE, INT8),
    STATIC: engine_of_models("onnxruntime", INT8, converts=True),
    "openvino": engine_of_models("openvino", INFERENCE, INT8),
    "mnn": engine_of_models("mnn", INFERENCE, converts=True),
    "ncnn": engine_of_models("ncnn", INFERENCE, converts=True),
    "litert": engine_of_models("litert", INFERENCE, converts=True),
    "tract": engine_of_models("tract", INFERENCE, INT8),
}
PEERS = tuple(name for name, each in FRAMEWORKS.items() if name != OURS and each.tasks)


def environment(folder: Path, threads: int, foreign: bool) -> dict[str, str]:
    """Of a side's process: as many threads as all the others have, no GPU, caches of its own that are empty."""
    count = str(threads)
    path = [str(Path(experiments.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": str(folder / "source") if foreign else os.pathsep.join(path),
        **({"PYTHONSAFEPATH": "1"} if foreign else {}),  # the working folder may hold another `experiments`
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "NPROC": count,  # what XLA makes its pool by
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }


class Failed(Exception):
    """A side cannot take part; the message is the reason, for the reader of the table."""


def launch(name: str, folder: Path, threads: int, python: str, limit: float) -> Side:
    """The process of a side on the job in `folder`, which also takes what it says."""
    return Side(
        name,
        command(name, str(folder)),
        environment(folder, threads, foreign(python, folder)),
        python=python,
        messages=folder / f"{name}.stderr",
        limit=limit,
    )


def asked(side: Side, **request: int) -> Answer:
    """The side's answer; Failed with the reason where there is none."""
    try:
        answer = side.ask(**request)
    except SideEnded as end:
        raise Failed(str(end)) from None
    if "error" in answer:
        raise Failed(answer["error"])
    return answer


def command(name: str, *arguments: str) -> list[str]:
    return ["-m", "experiments.peers.worker", name, FRAMEWORKS[name].adapter, *arguments]


def foreign(python: str, folder: Path) -> bool:
    """Whether another interpreter runs: it is given what a worker needs and nothing of what is installed beside it
    here."""
    if python == sys.executable:
        return False
    package = Path(experiments.__file__).parent
    target = folder / "source" / package.name
    if not target.exists():
        shutil.copytree(package / "peers", target / "peers", ignore=shutil.ignore_patterns("__pycache__"))
        (target / "measuring").mkdir()
        shutil.copy(package / "measuring" / "serving.py", target / "measuring")
        for room in (target, target / "measuring"):  # the package's own asks for the engine
            (room / "__init__.py").touch()
    return True


def run_once(name: str, place: str, folder: Path, python: str, limit: float, *options: str) -> Answer:
    """The answer of a process that serves nothing; Failed with the reason otherwise."""
    try:
        done = subprocess.run(
            [python, *command(name, place, *options)], env=environment(folder, 1, foreign(python, folder)),
            capture_output=True, text=True, timeout=limit, check=False,
        )  # fmt: skip
        answer: Answer = json.loads(done.stdout)
    except OSError as error:
        raise Failed(f"{python}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"no answer within {limit:g} s") from None
    except json.JSONDecodeError:
        raise Failed((done.stderr.strip().splitlines() or ["no message"])[-1]) from None
    if "error" in answer:
        raise Failed(answer["error"])
    return answer


def probe(names: list[str], pythons: Mapping[str, str], folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(version of every side that is installed, reason for every other)"""
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            versions[name] = run_once(name, "-", folder, pythons[name], limit=300.0)["version"]
        except Failed as failure:
            missing[name] = str(failure)
    return versions, missing
