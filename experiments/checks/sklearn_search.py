"""A search of scikit-learn over the packaged digits, in two processes, beside the same trainings by hand in one.

`python -m experiments.checks.sklearn_search [--rounds 3] [--epochs 3] [--jobs 2]`

By hand: every learning rate on every fold with engine.Trainer, one after the other, each on all cores. By GridSearchCV:
the same in processes, of which each has its share of the cores (joblib says so by OMP_NUM_THREADS). The two take turns.
Both must find the same accuracies, to the last bit: the number of threads and processes decides nothing but time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

import cnncore
import numpy as np
from numpy.typing import NDArray

import engine
from engine.cli import command_parser, run
from engine.data.digits import digits5k
from engine.errors import UserError
from engine.layers import Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Softmax
from engine.network.graph import Sequential

try:
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    from engine.estimator import CNNClassifier
except ImportError as error:
    raise UserError('this check compares with scikit-learn: pip install "cnn-engine[sklearn]"') from error

RATES = (0.0005, 0.001, 0.002, 0.004)
FOLDS, BATCH, SEED = 3, 32, 0
SHAPE = (1, 28, 28)
FILTERS, HIDDEN = (8, 16), (64,)

Accuracies = NDArray[np.float64]
"""(rates, folds)."""


def by_hand(images: NDArray[np.float32], labels: NDArray[np.int64], epochs: int) -> Accuracies:
    """The trainings of the search, written out."""
    seed = int(np.random.RandomState(SEED).randint(np.iinfo(np.int32).max))
    found = np.empty((len(RATES), FOLDS))
    splits = list(StratifiedKFold(FOLDS).split(images, labels))
    for row, rate in enumerate(RATES):
        for fold, (train, test) in enumerate(splits):
            layers: list[Layer] = [Conv2D(1, FILTERS[0], 3, padding=1), ReLU(), MaxPool2D(2)]
            layers += [Conv2D(*FILTERS, 3, padding=1), ReLU(), MaxPool2D(2), Flatten()]
            layers += [Linear(FILTERS[1] * 7 * 7, HIDDEN[0]), ReLU(), Linear(HIDDEN[0], 10), Softmax()]
            net = Sequential(layers, SHAPE, seed)
            trainer = engine.Trainer(net, engine.Adam(lr=rate), batch_size=BATCH, seed=seed, progress="none")
            trainer.fit((images[train], labels[train]), epochs=epochs)
            found[row, fold] = np.mean(net.predict(images[test]).argmax(axis=1) == labels[test])
    return found


def by_search(images: NDArray[np.float32], labels: NDArray[np.int64], epochs: int, jobs: int) -> Accuracies:
    """The same by GridSearchCV."""
    estimator = CNNClassifier(
        filters=FILTERS, hidden=HIDDEN, image_shape=SHAPE, epochs=epochs, batch_size=BATCH, random_state=SEED
    )
    grid = {"learning_rate": list(RATES)}
    search = GridSearchCV(estimator, grid, cv=StratifiedKFold(FOLDS), n_jobs=jobs, refit=False)
    results = search.fit(images.reshape(len(images), -1), labels).cv_results_
    return np.stack([results[f"split{fold}_test_score"] for fold in range(FOLDS)], axis=1)


def timed(search: Callable[[], Accuracies]) -> tuple[float, Accuracies]:
    started = time.perf_counter()
    found = search()
    return time.perf_counter() - started, found


def check(options: argparse.Namespace) -> int:
    for name in ("rounds", "epochs", "jobs"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: at least 1, not {getattr(options, name)}")
    digits, labels = digits5k()
    images = digits[:, None].astype(np.float32) / np.float32(255.0)
    print(
        f"{len(RATES)} learning rates on {FOLDS} folds of {len(images)} digits, {options.epochs} epochs, "
        f"{os.cpu_count()} cores; medians of {options.rounds} rounds\n"
    )
    searches: dict[str, Callable[[], Accuracies]] = {
        f"by hand, {cnncore.get_num_threads()} threads": lambda: by_hand(images, labels, options.epochs),
        f"GridSearchCV(n_jobs={options.jobs})": lambda: by_search(images, labels, options.epochs, options.jobs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    found: dict[str, Accuracies] = {}
    for _ in range(options.rounds):
        for name, search in searches.items():
            spent, found[name] = timed(search)
            seconds[name].append(spent)
    print(f"{'':28} {'seconds':>8}   range")
    for name, values in seconds.items():
        print(f"{name:28} {np.median(values):8.1f}   {min(values):.1f} to {max(values):.1f}")
    alone, searched = found.values()
    same = np.array_equal(alone, searched)
    print(
        "\nmean accuracy by learning rate: "
        + ", ".join(f"{r:g}: {m:.4f}" for r, m in zip(RATES, searched.mean(axis=1)))
    )
    print(f"verdict: {'the same accuracies' if same else 'FAILED, other accuracies'}")
    return 0 if same else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.sklearn_search",
        description="Time a search of scikit-learn over learning rates, and the same trainings by hand.",
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of measuring (default: 3)")
    parser.add_argument("--epochs", type=int, default=3, help="of every training (default: 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of the search (default: 2)")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
