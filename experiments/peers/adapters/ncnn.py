"""ncnn in float32, with the algorithms that it chooses. It knows no batches: the images of one go through in turn.

`export` runs pnnx, whose package brings a program; the package itself would import PyTorch.
"""

from __future__ import annotations

import subprocess
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from experiments.peers.job import MODEL, Job, Prepared

GRAPH, WEIGHTS = "model.ncnn.param", "model.ncnn.bin"


def version() -> str:
    return f"ncnn {installed('ncnn')} (pnnx {installed('pnnx')})"


def export(job: Job) -> None:
    """Write the job's model in ncnn's format, for images one by one."""
    package = find_spec("pnnx")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'pnnx'")
    shape = f"[{','.join(map(str, (1, *job.nodes[0].shape)))}]"
    done = subprocess.run(
        [str(Path(package.origin).with_name("pnnx")), MODEL, f"inputshape={shape}", "fp16=0"],
        cwd=job.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode or not (job.folder / GRAPH).is_file():
        raise RuntimeError(f"pnnx ended with status {done.returncode}: {(done.stderr.splitlines() or ['-'])[-1]}")


def prepare(job: Job, side: str) -> Prepared:
    net = ncnn.Net()
    options = net.opt
    options.num_threads = job.threads
    options.use_vulkan_compute = False
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(options, name, False)
    net.load_param(str(job.folder / GRAPH))
    net.load_model(str(job.folder / WEIGHTS))
    images = [ncnn.Mat(np.ascontiguousarray(image)) for image in job.arrays["x"]]
    said = np.empty((job.batch, *job.output_shape), np.float32)

    def predict() -> Any:
        for place, image in enumerate(images):
            extractor = net.create_extractor()
            extractor.input("in0", image)
            status, result = extractor.extract("out0")
            if status:
                raise RuntimeError(f"ncnn gave status {status}")
            said[place] = np.asarray(result).reshape(job.output_shape)
        return said

    return Prepared(predict)
