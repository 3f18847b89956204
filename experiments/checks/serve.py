"""The server under load: 32 connections on loopback, every answer checked, beside ONNX Runtime behind the same library.

`python -m experiments.checks.serve [--networks mnist_cnn,vgg3] [--connections 32] [--rounds 5]`

Both sides are the application of `engine.serve` under uvicorn: body, decoding and preprocessing are the same, and only
the network is run by the one or the other. Each is measured with one worker that has all threads (a lock) and with a
worker for each core (a pool). A network of one channel is sent digits, one of three photographs. Rounds alternate
between the servers; the client runs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cnncore
import cv2
import numpy as np
from numpy.typing import NDArray

from engine.cli import command_parser, run
from engine.data.digits import digits5k
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.export.onnx.model import to_onnx
from engine.inference.classify import Prediction, classify
from engine.inference.ensemble import Member, load_members
from engine.serving import command
from engine.serving.limits import Limits
from engine.serving.pool import Pool
from experiments.measuring.networks import Measured, chosen
from experiments.options import names
from experiments.stats import Spread, spread

NETWORKS_ASKED = ("mnist_cnn", "vgg3")
OURS, PEER = "cnn-engine", "onnxruntime"
DIGITS, PHOTOS, PHOTO = 200, 20, (480, 640)
TOLERANCE = 1e-5  # of a probability
HEAD = b"POST /predict?top=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True)
class Expected:
    """An image's file, and what `engine.predict` says of it."""

    data: bytes
    label: str
    probability: float

    def fits(self, status: int, body: bytes) -> bool:
        """Whether a response says the same."""
        if status != 200:
            return False
        said = json.loads(body)
        return said["label"] == self.label and abs(said["probability"] - self.probability) <= TOLERANCE


@dataclass(frozen=True)
class Round:
    """Of one server in one round: requests per second, and milliseconds within which half and 99 % were answered."""

    rate: float
    half: float
    most: float
    wrong: int


# ---- the client ----


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> tuple[int, bytes]:
    """One request on an open connection: status and body."""
    writer.write(HEAD % len(data) + data)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return int(head.split(" ", 2)[1]), await reader.readexactly(length)


async def load(port: int, expected: Sequence[Expected], connections: int, requests: int) -> Round:
    """So many requests over so many connections, each of which asks again as soon as it is answered."""
    numbers = iter(range(requests))
    times: list[float] = []
    wrong = 0

    async def one() -> None:
        nonlocal wrong
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            each = expected[number % len(expected)]
            start = time.perf_counter()
            status, body = await _ask(reader, writer, each.data)
            times.append(time.perf_counter() - start)
            wrong += not each.fits(status, body)
        writer.close()
        await writer.wait_closed()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    spent = time.perf_counter() - start
    half, most = np.percentile(times, (50, 99)) * 1e3
    return Round(requests / spent, float(half), float(most), wrong)


# ---- the servers ----


class Peer:
    """A network of ours whose predictions ONNX Runtime computes, one image at a time."""

    def __init__(self, net: Any, file: Path, threads: int):
        import onnxruntime  # only now: our own side is measured without it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._net = net
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    def predict(self, x: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
        """(n, C, H, W) -> (n, classes)."""
        return np.concatenate([self._session.run(None, {"input": each[None]})[0] for each in x])


class PeerPool(Pool):
    """The same pool, with the other side's networks."""

    def __init__(self, paths: Sequence[Path], workers: int, file: Path, threads: int):
        super().__init__(paths, workers)
        copies: list[list[Member]] = [self._free.get() for _ in range(workers)]
        for copy in copies:
            self._free.put([replace(each, net=Peer(each.net, file, threads)) for each in copy])  # type: ignore[arg-type]


def be_server(options: argparse.Namespace) -> None:
    """Be one of the servers, until a signal comes."""
    threads = max(1, cnncore.get_num_threads() // options.workers)
    cnncore.set_num_threads(threads)
    paths = [options.network]
    pool = (
        Pool(paths, options.workers)
        if options.answer == OURS
        else PeerPool(paths, options.workers, options.network.parent / "model.onnx", threads)
    )
    with command.listening("127.0.0.1", 0) as door:
        print(command.address(door), flush=True)
        command.answer(door, pool, UserError("this is a measurement"), Limits())


@contextmanager
def server(side: str, workers: int, network: Path) -> Iterator[int]:
    """Its port, while it runs."""
    words = [sys.executable, "-m", "experiments.checks.serve", "--answer", side, "--workers", str(workers)]
    words += ["--network", str(network)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server of {side} did not start")
            yield int(line.rpartition(":")[2])
        finally:
            process.kill()


# ---- the check ----


def digits() -> Sequence[NDArray[np.uint8]]:
    """Some of each class, 28x28."""
    images, _ = digits5k()
    return list(images[:: len(images) // DIGITS])


def photos() -> Iterator[NDArray[np.uint8]]:
    """Pictures of PHOTO's size, of colours that change slowly, with the noise of a camera."""
    y, x = np.mgrid[: PHOTO[0], : PHOTO[1]]
    for number in range(PHOTOS):
        random = np.random.default_rng(number)
        waves = [np.sin(y / random.uniform(9, 90) + x / random.uniform(9, 90)) for _ in range(3)]
        yield np.clip(127 + 90 * np.stack(waves, 2) + random.normal(0, 6, (*PHOTO, 3)), 0, 255).astype(np.uint8)


def prepare(case: Measured, folder: Path, peer: bool) -> tuple[Path, list[Expected]]:
    """A network's checkpoint (and its ONNX model), and images with what is said of them."""
    net = case.make()
    channels, height, width = net.input_shape
    net.preprocess = Preprocess(colour=channels == 3, size=(height, width)).to_dict()
    path = folder / "network.safetensors"
    net.save(path)
    if peer:
        to_onnx(net, folder / "model.onnx")
    files = []
    for number, image in enumerate(photos() if channels == 3 else digits()):
        files.append(folder / f"{number}.{'jpg' if channels == 3 else 'png'}")
        cv2.imwrite(str(files[-1]), image)
    said = [each for each in classify(load_members([path]), files) if isinstance(each, Prediction)]
    return path, [Expected(each.path.read_bytes(), each.label, each.probability) for each in said]


def check(options: argparse.Namespace) -> int:
    if min(options.connections, options.requests, options.rounds) < 1:
        raise UserError("--connections, --requests, --rounds: at least 1 each")
    cores = cnncore.get_num_threads()
    asking = f"{options.requests} requests over {options.connections} connections"
    print(f"{options.rounds} rounds of {asking}; medians and quartiles")
    print(f"{cnncore.isa()}, {cores} cores, and the client on them")
    wrong = [asked(case, cores, options) for case in chosen(options.networks)]
    print(f"\nverdict: {f'FAILED: {sum(wrong)} wrong answers' if any(wrong) else 'no wrong answer'}")
    return 1 if any(wrong) else 0


def asked(case: Measured, cores: int, options: argparse.Namespace) -> int:
    """Measure the servers of a network, and print their lines; how many answers were wrong."""
    sides = [(side, workers) for workers in sorted({1, cores}) for side in (OURS, *([] if options.alone else [PEER]))]
    found: dict[tuple[str, int], list[Round]] = {each: [] for each in sides}
    wrong = 0
    with ExitStack() as stack:
        path, expected = prepare(case, Path(stack.enter_context(tempfile.TemporaryDirectory())), not options.alone)
        ports = {each: stack.enter_context(server(*each, path)) for each in sides}
        for number in range(-1, options.rounds):
            for each, port in ports.items():
                one = asyncio.run(load(port, expected, options.connections, options.requests))
                wrong += one.wrong
                if number >= 0:  # the round before the first one warms up
                    found[each].append(one)
    heads = f"{'workers':>7} {'requests/s':>22} {'half within, ms':>20} {'99 % within, ms':>20}"
    kind = f"JPEG of {PHOTO[0]}x{PHOTO[1]}" if case.make().input_shape[0] == 3 else "PNG of 28x28"
    print(f"\n{case.name}, {kind}\n{'network by':16} {heads}")
    for each, rounds in found.items():
        print(line(*each, rounds))
    if not options.alone:
        print(f"requests/s beside {PEER}, each with its better number of workers: {beside(found):.2f}")
    return wrong


def line(side: str, workers: int, rounds: Sequence[Round]) -> str:
    rate, half, most = (spread([getattr(each, name) for each in rounds]) for name in ("rate", "half", "most"))
    return f"{side:16} {workers:7} {_shown(rate, 0):>22} {_shown(half, 1):>20} {_shown(most, 1):>20}"


def _shown(each: Spread, digits: int) -> str:
    return f"{each.median:.{digits}f} ({each.low:.{digits}f} ... {each.high:.{digits}f})"


def beside(found: Mapping[tuple[str, int], Sequence[Round]]) -> float:
    """Our requests per second over the other side's: the median of the better number of workers of each."""
    best = {side: 0.0 for side, _ in found}
    for (side, _), rounds in found.items():
        best[side] = max(best[side], float(np.median([one.rate for one in rounds])))
    return best[OURS] / best[PEER]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.serve",
        description="Load the server over many connections, check every answer, and compare it with ONNX Runtime.",
    )
    parser.add_argument("--networks", type=names, default=NETWORKS_ASKED, metavar="A,B", help="default: mnist_cnn,vgg3")
    parser.add_argument("--connections", type=int, default=32, help="default: 32")
    parser.add_argument("--requests", type=int, default=1000, help="of a round (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--alone", action="store_true", help="without ONNX Runtime")
    parser.add_argument("--answer", choices=(OURS, PEER), help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--network", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.answer:
        be_server(options)
        return 0
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
