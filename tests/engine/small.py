"""A small network and a small labelled set that it can learn, shared by the tests of training."""

import sys

import numpy as np

import engine
from engine.data.dataset import Dataset
from engine.data.preprocess import Preprocess
from engine.plan import INFERENCE, TRAINING, Request, make_plan

ISAS = ("avx512", "avx2", "neon", "portable")
"""The instruction sets that plans are made for: what a test says of modelled times must not rest on the machine's."""

SIDE = 10
CLASSES = ("top", "bottom", "left")


def small_images(count, seed=0):
    """Noise with a bright half: uint8 (count, SIDE, SIDE), and which half it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count)
    images = rng.integers(0, 100, (count, SIDE, SIDE), np.uint8)
    for image, label in zip(images, labels):
        half = {0: image[: SIDE // 2], 1: image[SIDE // 2 :], 2: image[:, : SIDE // 2]}[int(label)]
        half += np.uint8(120)
    return images, labels.astype(np.int64)


def small_dataset(count=96, seed=0):
    images, labels = small_images(count, seed)
    return Dataset("small", images[:, None], labels, CLASSES, Preprocess())


def small_layers():
    """Everything that has state in training: batch normalisation (running statistics) and dropout (draws)."""
    return [
        engine.Conv2D(1, 4, 3, padding=1),
        engine.BatchNorm(4),
        engine.ReLU(),
        engine.MaxPool2D(2, 2),
        engine.Dropout(0.3),
        engine.Flatten(),
        engine.Linear(4 * (SIDE // 2) ** 2, len(CLASSES)),
        engine.Softmax(),
    ]


def small_net(seed=0):
    return engine.Sequential(small_layers(), input_shape=(1, SIDE, SIDE), seed=seed)


def plan_for(isa, net, batch, training=False):
    """The plan for an instruction set by name, whether this machine has it or not: of a prediction or an SGD step."""
    mode, loss, optimizer = (
        (TRAINING, engine.CrossEntropy(), engine.SGD(lr=0.1)) if training else (INFERENCE, None, None)
    )
    request = Request(mode, batch, loss, optimizer=optimizer)
    return make_plan(net.topology, net.store.slots, net.store.buffer_slots, request, isa)


# The same network as a configuration writes it.
SMALL_LAYERS_CONFIG = [
    {"Conv2D": {"in_channels": 1, "out_channels": 4, "kernel": 3, "padding": 1}},
    {"BatchNorm": 4},
    "ReLU",
    {"MaxPool2D": [2, 2]},
    {"Dropout": 0.3},
    "Flatten",
    {"Linear": [4 * (SIDE // 2) ** 2, len(CLASSES)]},
    "Softmax",
]


def small_config(archive):
    """A configuration that trains the small network on an .npz archive of small images."""
    return {
        "dataset": {"name": "npz", "train": {"path": str(archive)}},
        "split": {"fraction": 0.25},
        "model": {"layers": SMALL_LAYERS_CONFIG, "input_shape": [1, SIDE, SIDE]},
        "augment": {"mixup": 0.2},
        "optimizer": {"name": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True},
        "schedule": {"name": "ReduceLROnPlateau", "patience": 1, "factor": 0.5, "metric": "val_loss"},
        "batch_size": 16,
        "epochs": 4,
        "threads": 1,
        "metric": "val_macro_f1",
    }


def write_archive(path, count=160):
    images, labels = small_images(count)
    np.savez(path, x=images, y=labels)
    return path


def calls(run):
    """How many functions `run` calls, Python's own and built-in ones, however busy the machine is."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count
