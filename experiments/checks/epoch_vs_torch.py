"""Whole epochs on real sets beside PyTorch eager: seconds for training on every image, and for the test set after it.

`python -m experiments.checks.epoch_vs_torch [--networks mnist_cnn,vgg3,model3] [--rounds N] [--data-root DIR]`

An epoch draws an order, gathers its batches from images kept as bytes, makes them float32, takes a step on each, and
then evaluates loss and accuracy on the test set. PyTorch's loop is the quick one: the whole set in one byte tensor, a
batch by indexing, converted at once, no DataLoader; for channels_last the bytes lie in that order already. All sides
have the same first weights and the same order, so that their losses agree. Each is a process of its own that is
stopped while another works; a round is one epoch of each, in turning order.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.cli import run
from engine.data.dataset import Dataset, prepare
from engine.data.loader import Loader
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.draws import epoch_order
from engine.errors import UserError, unknown
from engine.layers import Softmax
from engine.models import make_model
from engine.network.graph import Network
from engine.recipe.build import build_optimizer
from engine.recipe.config import load_config
from engine.training.trainer import Trainer
from experiments.checks.determinism import names
from experiments.measuring import sides
from experiments.measuring.sides import Answer, Side, turns
from experiments.peers.adapters.torch_network import chain, torch

BATCH = 64
EVALUATED = 256  # images at a time
SIDES = ("ours", "torch", "torch channels_last")
LOSS_TOLERANCE = 0.05  # of the first epoch's mean loss: rounding grows over a thousand steps
SEED = 0


@dataclass(frozen=True)
class Case:
    """A network on a real set: where its samples come from, and how it is trained."""

    name: str
    config: str  # of experiments/configs
    overrides: tuple[str, ...]
    rounds: int


CASES: Mapping[str, Case] = {
    each.name: each
    for each in (
        Case("mnist_cnn", "mnist", (), 3),
        Case("vgg3", "cifar10", (), 2),
        # 35,000 of the 44,359 images of the parts a, b and c; the others are the test set
        Case("model3", "numtadb", ("model.name=model3", "preprocess.size=[48, 48]", "preprocess.steps=[]"), 3),
    )
}
TRAINING_IMAGES = {"model3": 35_000}


@dataclass(frozen=True)
class Sets:
    """Training and test samples as bytes: images (N, C, H, W) uint8, labels int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    def save(self, folder: Path) -> None:
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    @staticmethod
    def load(folder: Path) -> Sets:
        return Sets(*(np.load(folder / f"{name}.npy") for name in Sets.__dataclass_fields__))


# ---- the sides: one epoch and its evaluation ------------------------------------------------------------------------

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


# ---- data -----------------------------------------------------------------------------------------------------------


def read_case(case: Case) -> Any:
    return load_config(Path(__file__).resolve().parent.parent / "configs" / f"{case.config}.yaml", case.overrides)


def load_sets(case: Case, root: Path | None) -> Sets:
    """The case's real samples; where the case says how many train, they are drawn and the others are the test set."""
    config = read_case(case)
    root = data_root(root, config.data_root)

    def part(options: Mapping[str, Any]) -> Dataset:
        return prepare(read_dataset(config.dataset.name, root, options), config.preprocess)

    whole = part(config.dataset.train)
    if case.name in TRAINING_IMAGES:
        order = np.random.default_rng(SEED).permutation(len(whole))
        count = TRAINING_IMAGES[case.name]
        train, test = whole.subset(order[:count]), whole.subset(order[count:])
    else:
        train, test = whole, part(config.dataset.test)
    images, test_images = (np.ascontiguousarray(each.images, np.uint8) for each in (train, test))
    labels, test_labels = (np.ascontiguousarray(each.labels, np.int64) for each in (train, test))
    return Sets(images, labels, test_images, test_labels)


# ---- the comparison -------------------------------------------------------------------------------------------------

Results = dict[str, list[dict[str, float]]]  # side -> what each of its epochs answered


def compare(case: Case, folder: Path, rounds: int, threads: int) -> Results:
    """Epochs of every side in turn; UserError where the first epoch's losses do not agree."""

    def start(side: str) -> Side:
        options = ["--serve", side, "--networks", case.name, "--folder", str(folder), "--threads", str(threads)]
        return Side(side, ["-m", "experiments.checks.epoch_vs_torch", *options], {"OMP_NUM_THREADS": str(threads)})

    results: Results = {side: [] for side in SIDES}
    with ExitStack() as stack:
        sides = [stack.enter_context(start(side)) for side in SIDES]
        for number, order in enumerate(turns(sides, rounds)):
            for side in order:
                results[side.name].append(side.ask(number=number))
            require_agreement({side: epochs[0]["train_loss"] for side, epochs in results.items()})
    return results


def require_agreement(losses: Mapping[str, float]) -> None:
    """UserError unless all sides learnt the same in their first epoch, but for rounding."""
    worst = float(np.abs(np.array(list(losses.values())) / losses["ours"] - 1.0).max())  # NaN where any is
    if not worst <= LOSS_TOLERANCE:
        raise UserError(f"the first epoch's losses differ by {worst:.2g}, allowed is {LOSS_TOLERANCE:g}: {losses}")


def table(results: Results, images: int) -> list[str]:
    """A line for each side: medians over its epochs, ratios to ours by round, and what it learnt."""
    found = [f"{'':20} {'s per epoch':>12} {'images/s':>9} {'time / ours':>12} {'range':>15}   loss, test accuracy"]
    for side, epochs in results.items():
        seconds = float(np.median([each["seconds"] for each in epochs]))
        ratios = [theirs["seconds"] / own["seconds"] for theirs, own in zip(epochs, results["ours"], strict=True)]
        learnt = "  ".join(f"{each['train_loss']:.4f} {each['accuracy']:.2%}" for each in epochs)
        found.append(
            f"{side:20} {seconds:12.2f} {images / seconds:9.0f} {float(np.median(ratios)):12.2f} "
            f"{f'{min(ratios):.2f} ... {max(ratios):.2f}':>15}   {learnt}"
        )
    return found


def behind(results: Results) -> bool:
    """Whether any peer took less time than ours, by the median over rounds."""
    own = results["ours"]
    return any(
        float(np.median([each["seconds"] / mine["seconds"] for each, mine in zip(epochs, own, strict=True)])) < 1.0
        for epochs in results.values()
    )


def check(options: argparse.Namespace) -> int:
    threads = options.threads or cnncore.get_num_threads()
    print(
        f"Epochs, {threads} threads, batch {BATCH}; test set included; instruction set {cnncore.isa()}, "
        f"torch {torch.__version__} eager"
    )
    failed = []
    for case in chosen(options.networks):
        rounds = options.rounds or case.rounds
        with tempfile.TemporaryDirectory() as folder:
            sets = load_sets(case, options.data_root)
            sets.save(Path(folder))
            shape, images = "x".join(map(str, sets.images.shape[1:])), len(sets.labels)
            print(
                f"\n{case.name}: {images:,} images of {shape} ({case.config}), tested on {len(sets.test_labels):,}; "
                f"{read_case(case).optimizer}; {rounds} interleaved epochs"
            )
            del sets
            results = compare(case, Path(folder), rounds, threads)
        print("\n".join(table(results, images)), flush=True)
        failed += [case.name] if behind(results) else []
    print("\nverdict: " + (f"FAILED: behind PyTorch on {', '.join(failed)}" if failed else "ours is the fastest"))
    return 1 if failed else 0


def chosen(wanted: Sequence[str]) -> list[Case]:
    """The cases with these names, all for none; UserError for a name that does not exist."""
    for name in wanted:
        if name not in CASES:
            raise unknown("network", name, CASES)
    return [each for each in CASES.values() if not wanted or each.name in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.epoch_vs_torch",
        description="Time whole epochs on MNIST, CIFAR-10 and NumtaDB beside PyTorch eager.",
    )
    parser.add_argument("--networks", type=names, default=[], metavar="A,B", help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=0, help="epochs of each side (default: 3, vgg3 2)")
    parser.add_argument("--threads", type=int, default=0, help="for both sides (default: the engine's default)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    if options.serve:
        return run(lambda: serve(options.serve, chosen(options.networks)[0], options.folder, options.threads))
    return run(lambda: check(options))


if __name__ == "__main__":
    sys.exit(main())
