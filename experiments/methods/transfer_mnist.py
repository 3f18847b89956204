"""The MIDAS report's transfer: 62 characters, then their ten digits, then MNIST, beside a network of random weights.

`python -m experiments.methods.transfer_mnist [--seeds 0,1,2,3,4] [--epochs 3] [--out DIR] [KEY=VALUE …]`

For every seed the report's network learns the 62 characters of Chars74K, gets a new last layer for the ten digits of
the same set, and goes on with MNIST at batch 100. Beside it stands the same network, same seed and same batches, whose
first weights are drawn. Both are measured on MNIST's test set after every epoch: no epoch is chosen.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.network.transfer import InitializeConfig
from engine.recipe.build import build_network
from engine.recipe.config import TrainConfig
from engine.training.folder import BEST
from experiments.methods import common
from experiments.methods.common import Options, Trained, difference, difference_text, mean
from experiments.report.render import terminal
from experiments.report.table import Cell, Column, Table

SEEDS = (0, 1, 2, 3, 4)
EPOCHS = 3
DIGIT_EPOCHS = 20
RANDOM, PRETRAINED = "random", "pretrained"
# Validation accuracy and loss by epoch, original network.
PUBLISHED_ACCURACY = {RANDOM: (0.7597, 0.9866, 0.9875), PRETRAINED: (0.9733, 0.9848, 0.9871)}
PUBLISHED_LOSS = {RANDOM: (1.1957, 0.0435, 0.0387), PRETRAINED: (0.1044, 0.0482, 0.0447)}
PUBLISHED_CHARACTERS = 0.8669
ASSUMPTIONS = (
    "The report does not give the convolutions of its network, and names no epochs for the digits of Chars74K "
    f"({DIGIT_EPOCHS} here, the best by validation accuracy goes on).",
    "Chars74K: the first 40 images of each class, inverted, 28x28; a tenth held out. MNIST: batch 100, Adam, 0.001.",
    "The report ran each training once.",
)


@dataclass(frozen=True)
class Chain:
    """The trainings of one seed."""

    characters: Trained
    digits: Trained
    random: Trained
    pretrained: Trained


def head(config: TrainConfig) -> str:
    """The name of the network's last linear layer, which knows the classes."""
    return [name for name, layer in build_network(config.model, 0).layers.items() if layer.kind == "linear"][-1]


def started_from(config: TrainConfig, checkpoint: Path, exclude: Sequence[str]) -> TrainConfig:
    """The configuration with first weights from this checkpoint, but for the layers excluded."""
    return dataclasses.replace(config, initialize_from=InitializeConfig(str(checkpoint), exclude=tuple(exclude)))


def train_chains(options: Options) -> list[Chain]:
    """All trainings of every seed."""
    pretraining = dataclasses.replace(options, epochs=None)
    characters = common.configuration("midas", pretraining)
    digits = common.configuration(
        "midas",
        pretraining,
        "dataset.train.classes=digits",
        "model.arguments.classes=10",
        f"epochs={DIGIT_EPOCHS}",
    )
    mnist = common.configuration(
        "midas",
        dataclasses.replace(options, epochs=options.epochs or EPOCHS),
        "dataset={name: mnist, train: {split: train}, test: {split: test}}",
        "preprocess.steps=[]",
        "split.kind=test",
        "model.arguments.classes=10",
        "schedule={name: Constant}",
        "batch_size=100",
    )
    count = common.Count(4 * len(options.seeds))
    sets = [common.load(config, options) for config in (characters, digits, mnist)]
    chains = []
    for seed in options.seeds:
        out = options.out / f"seed{seed}"
        first, second, third = (dataclasses.replace(config, seed=seed) for config in (characters, digits, mnist))
        learnt = common.train(first, sets[0], out / "characters")
        count(f"characters, seed {seed}", f"validation accuracy {learnt.result['best_value']:.4f}", learnt.seconds)
        second = started_from(second, out / "characters" / BEST, [head(second)])
        tuned = common.train(second, sets[1], out / "digits")
        count(f"digits, seed {seed}", f"validation accuracy {tuned.result['best_value']:.4f}", tuned.seconds)
        runs = {}
        for name, config in ((RANDOM, third), (PRETRAINED, started_from(third, out / "digits" / BEST, []))):
            runs[name] = common.train(config, sets[2], out / f"mnist-{name}")
            figures = " ".join(f"{value:.4f}" for value in runs[name].history["val_accuracy"])
            count(f"MNIST, {name}, seed {seed}", f"test accuracy by epoch {figures}", runs[name].seconds)
        chains.append(Chain(learnt, tuned, runs[RANDOM], runs[PRETRAINED]))
    return chains


def table(chains: Sequence[Chain], key: str, title: str, published: Mapping[str, Sequence[float]]) -> Table:
    """One measure after every epoch: both ways, the paired difference, and the report's."""
    columns = (
        Column("epoch", "epochs", "text"),
        Column(RANDOM, "random weights", digits=4),
        Column(PRETRAINED, "pretrained", digits=4),
        Column("difference", "pretrained less random", "text"),
        Column("report_random", "MIDAS report, random", digits=4),
        Column("report_pretrained", "MIDAS report, pretrained", digits=4),
    )
    rows: list[tuple[Cell, ...]] = []
    for epoch in range(len(chains[0].random.history.epochs)):
        random = [each.random.history[key][epoch] for each in chains]
        pretrained = [each.pretrained.history[key][epoch] for each in chains]
        theirs = [published[name][epoch] if epoch < EPOCHS else None for name in (RANDOM, PRETRAINED)]
        gain = difference_text(difference(pretrained, random))
        rows.append((str(epoch + 1), mean(random), mean(pretrained), gain, *theirs))
    return Table(key, title, columns, tuple(rows))


def check(options: Options) -> int:
    chains = train_chains(options)
    print(terminal(table(chains, "val_accuracy", "Accuracy on MNIST's test set", PUBLISHED_ACCURACY)))
    print(terminal(table(chains, "val_loss", "Loss on MNIST's test set", PUBLISHED_LOSS)))
    characters = mean([each.characters.result["best_value"] for each in chains])
    spread = "" if characters.std is None else f" ± {characters.std:.4f}"
    print(
        f"Chars74K, 62 classes, validation accuracy of the best epoch: {characters.mean:.4f}{spread} "
        f"(the report: {PUBLISHED_CHARACTERS})"
    )
    print("\n".join(ASSUMPTIONS))
    runs = [run for each in chains for run in (each.characters, each.digits, each.random, each.pretrained)]
    minutes = sum(each.seconds for each in runs) / 60
    print(f"training of all {len(runs)} runs: {minutes:.1f} minutes; {common.environment()}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return common.main("transfer_mnist", (__doc__ or "").splitlines()[0], SEEDS, check, arguments)


if __name__ == "__main__":
    sys.exit(main())
