"""The same training on 1, 2, 3 and 7 threads: weights and predictions must have one SHA-256 each.

`python -m experiments.checks.determinism [--networks lenet,vgg3] [--batch N]`

Every measured network takes a few steps at its batch, the last with a smaller one, on the real digits that
come with the package: once through a bare session with Adam, once through the trainer with SGD. Then it predicts, one
image alone and several together. Teams larger than the machine are real: the members of each are counted.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

import engine
from engine.cli import command_parser, run
from engine.errors import UserError
from experiments.measuring.networks import Measured, chosen
from experiments.options import names

TEAMS = (1, 2, 3, 7)
FULL_STEPS = 2
PREDICTIONS = 4  # in quick succession
PREDICTED = (1, 21)  # images at a time
Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Hashes = dict[str, dict[int, str]]  # what was hashed -> team -> digest


def digits_for(net: engine.Network, samples: int) -> tuple[Images, Labels]:
    """Real digits in the network's input shape: set in the middle of a larger image, repeated over the channels.

    Where the network has fewer than ten classes, several digits share one.
    """
    from engine.data.digits import digits5k  # only now: --help answers sooner

    images, labels = digits5k()
    channels, height, width = net.input_shape
    if height < 28 or width < 28:
        raise UserError(f"the digits are 28x28, too large for inputs of {height}x{width}")
    chosen = np.random.default_rng(0).permutation(len(images))[:samples]
    x = np.zeros((len(chosen), channels, height, width), np.float32)
    top, left = (height - 28) // 2, (width - 28) // 2
    x[:, :, top : top + 28, left : left + 28] = images[chosen, None] / np.float32(255)
    return x, labels[chosen] % net.output_shape[0]


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names and bytes of all arrays."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode() + b"\0" + np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def weights_digest(net: engine.Network) -> str:
    """SHA-256 of all parameters and running statistics."""
    return digest({**net.parameters(), **net.buffers()})


def by_session(net: engine.Network, x: Images, y: Labels, batch: int) -> None:
    """The bare training session, batch by batch in the given order."""
    session = net.training_session(engine.CrossEntropy(), engine.Adam(), batch)
    for step, start in enumerate(range(0, len(x), batch)):
        session.step(x[start : start + batch], y[start : start + batch], 0.001, step, 0)


def by_trainer(net: engine.Network, x: Images, y: Labels, batch: int) -> None:
    optimizer = engine.SGD(lr=0.01, momentum=0.9)
    engine.Trainer(net, optimizer, batch_size=batch, progress="none").fit((x, y), epochs=1)


WAYS: dict[str, Callable[[engine.Network, Images, Labels, int], None]] = {
    "session, Adam": by_session,
    "trainer, SGD": by_trainer,
}


def require_team(size: int) -> None:
    """Compute with `size` threads from now on; AssertionError unless a team really has that many members."""
    cnncore.set_num_threads(size)
    if cnncore.measure_team() != size:
        raise AssertionError(f"asked for {size} threads, the team has {cnncore.measure_team()}")


def predictions(net: engine.Network, x: Images) -> dict[str, Images]:
    """Of so many images, time after time: after a pause one worker may do what the whole team does later on."""
    return {f"{count}, {time}": net.predict(x[:count]) for count in PREDICTED for time in range(PREDICTIONS)}


def hashes(case: Measured, batch: int) -> Hashes:
    """Digests of weights after training each way, and of predictions, on every team."""
    results: Hashes = {}
    try:
        for team in TEAMS:
            require_team(team)
            for way, train in WAYS.items():
                net = case.make()
                x, y = digits_for(net, FULL_STEPS * batch + max(2, batch // 3))
                train(net, x, y, batch)
                results.setdefault(way, {})[team] = weights_digest(net)
            results.setdefault("predictions", {})[team] = digest(predictions(net, x))
    finally:
        cnncore.set_num_threads(0)
    return results


def lines(name: str, batch: int, results: Hashes) -> list[str]:
    """A line for each thing hashed; where the teams disagree, one for each team."""
    found = []
    for what, by_team in results.items():
        start = f"{name:16} {batch:5}  {what:14}"
        if len(set(by_team.values())) == 1:
            found.append(f"{start} {by_team[TEAMS[0]]}  {', '.join(map(str, by_team))} threads")
        else:
            found += [f"{start} {value}  {team} threads: DIFFERS" for team, value in by_team.items()]
    return found


def check(options: argparse.Namespace) -> int:
    print(
        f"SHA-256 of weights after {FULL_STEPS + 1} steps and of predictions, on teams of {', '.join(map(str, TEAMS))} "
        f"threads (members counted); instruction set {cnncore.isa()}\n"
        f"{'network':16} {'batch':>5}  {'of':14} {'SHA-256':64}  the same on"
    )
    failed = []
    for case in chosen(options.networks):
        batch = options.batch or case.batch
        results = hashes(case, batch)
        print("\n".join(lines(case.name, batch, results)), flush=True)
        if any(len(set(by_team.values())) > 1 for by_team in results.values()):
            failed.append(case.name)
    print("verdict: " + (f"FAILED: the bits differ for {', '.join(failed)}" if failed else "the same bits"))
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.determinism",
        description="Train and predict on teams of 1, 2, 3 and 7 threads and compare the SHA-256 of the results.",
    )
    parser.add_argument("--networks", type=names, default=[], metavar="A,B", help="only these (default: all)")
    parser.add_argument("--batch", type=int, default=0, help="for all networks (default: that of each)")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
