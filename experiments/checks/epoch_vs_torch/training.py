"""The process of one side: it trains for an epoch and evaluates when it is told to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.data.loader import Loader
from engine.draws import epoch_order
from engine.layers import Softmax
from engine.models import make_model
from engine.network.graph import Network
from engine.recipe.build import build_optimizer
from engine.training.trainer import Trainer
from experiments.checks.epoch_vs_torch.cases import Case
from experiments.checks.epoch_vs_torch.sets import SEED, Sets, read_case
from experiments.measuring import sides
from experiments.measuring.sides import Answer
from experiments.peers.adapters.torch_network import chain, torch

BATCH = 64
EVALUATED = 256  # images at a time

Epoch = Callable[[int], tuple[float, float, float]]
"""Number of the epoch -> (mean training loss, test loss, test accuracy)."""


def make_network(model: str) -> Network:
    return make_model(model, seed=SEED)


def our_epoch(model: str, optimizer: Mapping[str, Any], sets: Sets, threads: int) -> Epoch:
    cnncore.set_num_threads(threads)
    test = Dataset("test", sets.test_images, sets.test_labels)
    loader = Loader(Dataset("training", sets.images, sets.labels), BATCH, seed=SEED)
    trainer = Trainer(make_network(model), build_optimizer(optimizer), batch_size=BATCH)
    trainer.evaluate(test.subset(np.arange(1)))  # imports what it needs

    def epoch(number: int) -> tuple[float, float, float]:
        total = 0.0
        for x, y in loader.epoch(number):
            total += trainer.step(x, y) * len(x)
        found = trainer.evaluate(test)
        return total / len(sets.labels), found["loss"], found["accuracy"]

    return epoch


def torch_epoch(model: str, optimizer: Mapping[str, Any], sets: Sets, threads: int, channels_last: bool) -> Epoch:
    torch.set_num_threads(threads)
    network = chain(make_network(model), Softmax)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    update = torch_optimizer(optimizer, network.parameters())
    criterion = torch.nn.CrossEntropyLoss()

    def stored(images: NDArray[np.uint8]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 2, 3, 1) if channels_last else images))

    images, labels = stored(sets.images), torch.from_numpy(sets.labels)
    test_images, test_labels = stored(sets.test_images), torch.from_numpy(sets.test_labels)

    def floats(chosen: Any) -> Any:
        """Bytes as the network's input; NHWC bytes become a channels_last tensor without a copy."""
        x = chosen.to(torch.float32).mul_(1 / 255)
        return x.permute(0, 3, 1, 2) if channels_last else x

    def evaluate() -> tuple[float, float]:
        network.eval()
        loss = correct = 0.0
        with torch.inference_mode():
            for start in range(0, len(test_labels), EVALUATED):
                y = test_labels[start : start + EVALUATED]
                outputs = network(floats(test_images[start : start + EVALUATED]))
                loss += float(criterion(outputs, y)) * len(y)
                correct += int((outputs.argmax(1) == y).sum())
        return loss / len(test_labels), correct / len(test_labels)

    def epoch(number: int) -> tuple[float, float, float]:
        network.train()
        total = 0.0
        for chosen in torch.from_numpy(epoch_order(len(labels), SEED, number)).split(BATCH):
            update.zero_grad()
            loss = criterion(network(floats(images[chosen])), labels[chosen])
            loss.backward()
            update.step()
            total += loss.item() * len(chosen)
        return total / len(labels), *evaluate()

    return epoch


def torch_optimizer(section: Mapping[str, Any], parameters: Any) -> Any:
    """What the section of our configuration describes, in PyTorch."""
    arguments = {key: value for key, value in section.items() if key != "name"}
    return {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[section["name"]](parameters, **arguments)


def serve(side: str, case: Case, folder: Path, threads: int) -> None:
    """The process of one side: answers {"number": epoch} by its seconds and what it learnt."""
    sets, config = Sets.load(folder), read_case(case)
    arguments = (case.name, config.optimizer, sets, threads)
    epoch = our_epoch(*arguments) if side == "ours" else torch_epoch(*arguments, channels_last=side != "torch")

    def answer(number: int) -> Answer:
        start = time.perf_counter()
        train_loss, test_loss, accuracy = epoch(number)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "train_loss": train_loss, "test_loss": test_loss, "accuracy": accuracy}

    sides.serve(answer)
