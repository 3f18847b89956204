"""Checkpoints: `engine.load` and a prediction, of .safetensors files whose hash is right.

What is accepted gives finite scores or is refused in words, and predicts the same again when it is saved and loaded.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import numpy as np

import engine
from engine.data.dataset import Dataset
from engine.data.images import load_cv2
from engine.data.preprocess import Preprocess
from engine.inference.classify import classify
from engine.inference.ensemble import load_members
from engine.network import checkpoint
from engine.network.checkpoint import Checkpoint
from engine.reading.tensor_file import LENGTH_BYTES, METADATA
from engine.training.folder import LAST
from engine.training.state import read_run
from engine.training.trainer import Trainer
from fuzz.promises import promised, scratch
from fuzz.values import Plain, changed, sprinkled

FOLDER = scratch()
PATH, AGAIN, IMAGE = FOLDER / "a.safetensors", FOLDER / "again.safetensors", FOLDER / "a.png"
SIDE = 8
IMAGE.write_bytes(load_cv2().imencode(".png", np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE))[1].tobytes())


def corpus() -> dict[str, bytes]:
    """Networks of every kind of layer that has arrays or geometry, with all that a checkpoint can hold."""
    layers: dict[str, list[Any]] = {
        "convolution": [
            engine.Conv2D(1, 2, 3, padding=1),
            engine.BatchNorm(2),
            engine.ReLU(),
            engine.MaxPool2D(2, 2),
            engine.Dropout(0.3),
            engine.Flatten(),
            engine.Linear(2 * (SIDE // 2) ** 2, 3),
            engine.Softmax(),
        ],
        "plain": [engine.Flatten(), engine.Linear(SIDE * SIDE, 2)],
        "resampling": [
            engine.Pad2D((1, 0, 2, 1), "reflect"),
            engine.Upsample2D(2, "bilinear"),
            engine.PadChannels(1, 0),
            engine.ConvTranspose2D(2, 3, 2, 2, groups=1),
            engine.GlobalAvgPool2D(),
        ],
        "pooling": [
            engine.Conv2D(1, 2, 1),
            engine.AvgPool2D(3, 2, 1),
            engine.ELU(0.5),
            engine.GlobalAvgPool2D(),
            engine.Sigmoid(),
        ],
    }
    found, nets = {}, {}
    for name, each in layers.items():
        net = nets[name] = engine.Sequential(each, input_shape=(1, SIDE, SIDE), seed=1)
        net.preprocess = Preprocess(size=(SIDE, SIDE)).to_dict()
        net.class_names = [f"class {index}" for index in range(net.output_shape[0])]
        net.save(PATH)
        found[name] = PATH.read_bytes()
    checkpoint.write(PATH, _trained(nets["plain"]))
    return {**found, "training": PATH.read_bytes()}


def _trained(net: engine.Network) -> Checkpoint:
    """What a run of one epoch writes, without what a clock and a processor tell."""
    images = np.arange(4 * SIDE * SIDE, dtype=np.uint8).reshape(4, 1, SIDE, SIDE)
    names = tuple(net.class_names)
    data = Dataset("small", images, np.zeros(len(images), np.int64), class_names=names, preprocess=Preprocess())
    folder = scratch()
    Trainer(net, engine.SGD(lr=0.01, momentum=0.9), batch_size=2, out=folder, progress="none").fit(data, epochs=1)
    last = checkpoint.read(folder / LAST)
    last.plan_choices["isa"] = "portable"
    last.training["position"] |= {"seconds": 0.0, "waited": 0.0}
    for record in last.training["position"]["history"]["epochs"]:
        record |= dict.fromkeys(("seconds", "data_wait_seconds", "images_per_second"), 0.0)
    return last


def run(data: bytes) -> None:
    PATH.write_bytes(data)
    with promised(data):
        read_run(PATH)
    with promised(data):
        net = engine.load(PATH)
        net.save(AGAIN)
        assert checkpoint.weights_hash(engine.load(AGAIN)) == checkpoint.weights_hash(net)
        net.summary()
    with promised(data):
        members = load_members([PATH])
        (said,) = classify(members, [IMAGE])
        assert np.isfinite(said.scores).all() and said.scores.shape == members[0].net.output_shape
        assert said.label == members[0].class_names[said.index]


def mutate(data: bytes, most: int, seed: int, plain: Plain, key: str = checkpoint.METADATA_KEY) -> bytes:
    """`key`: under which the document stands in the metadata."""
    rng = random.Random(seed)
    try:
        length = int.from_bytes(data[:LENGTH_BYTES], "little")
        header = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length])
        stated = json.loads(header[METADATA][key])
        document = json.loads(stated["document"])
        parts = [part for part in dict(document) if part != "project"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return sprinkled(data, rng, plain, most)
    content = data[LENGTH_BYTES + length :]
    what = rng.randrange(16)
    if what == 0:
        return sprinkled(data, rng, plain, most)
    if what < 9:
        part = rng.choice([*parts, *["graph"] * 6])
        if part in document and rng.randrange(8):
            document[part] = changed(document[part], rng)
        else:
            document = changed(document, rng)
    elif what == 9:
        stated = changed(stated, rng)
    elif what < 12:
        header = changed(header, rng)
    else:
        content = sprinkled(content, rng, plain, most)
    return packed(header, stated, document, content, key)


def packed(header: Any, stated: Any, document: Any, content: bytes, key: str) -> bytes:
    """A file with these parts, its lengths and its hash right wherever there is a place for them."""
    text = document if isinstance(document, str) else json.dumps(document)
    if isinstance(stated, dict):
        stated = {**stated, "document": text} if "document" in stated else stated
        if isinstance(stated.get("sha256"), str):
            stated["sha256"] = _digest(header, text, content)
    if isinstance(header, dict) and isinstance(header.get(METADATA), dict):
        header = {**header, METADATA: {key: json.dumps(stated)}}
    written = json.dumps(header).encode()
    return len(written).to_bytes(LENGTH_BYTES, "little") + written + content


_NUMPY = {"BOOL": "|b1", "U8": "|u1", "I8": "|i1", "F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}


def _digest(header: Any, text: str, content: bytes) -> str:
    """The hash as `engine.network.checkpoint` takes it, of tensors that lie where the header says."""
    digest = hashlib.sha256(text.encode("utf-8", "replace"))
    entries = header if isinstance(header, dict) else {}
    for name in sorted(each for each in entries if each != METADATA):
        entry = entries[name]
        try:
            start, end = entry["data_offsets"]
            dtype, shape = _NUMPY[entry["dtype"]], tuple(entry["shape"])
            digest.update(f"\n{name} {dtype} {shape}\n".encode())
            digest.update(content[start:end])
        except (KeyError, TypeError, ValueError):
            continue
    return digest.hexdigest()
