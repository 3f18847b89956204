"""The harnesses of fuzz/ do what they promise without Atheris, so that none of them rots between two long runs."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from fuzz import HARNESSES, promises

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
MOST = 15_000  # bytes of a harness's corpus
MUTATIONS = 60


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """As they were before: a harness takes the warnings."""
    kept = {name: (logging.getLogger(name).propagate, logging.getLogger(name).handlers[:]) for name in promises.TREES}
    yield
    for name, (propagate, handlers) in kept.items():
        logging.getLogger(name).propagate, logging.getLogger(name).handlers[:] = propagate, handlers


@pytest.mark.parametrize("name", HARNESSES)
def test_the_corpus_is_small_the_same_each_time_and_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = importlib.import_module(f"fuzz.{name}")
    corpus = harness.corpus()
    assert corpus and sum(map(len, corpus.values())) < MOST
    assert harness.corpus() == corpus

    @contextmanager
    def accepted(data: bytes) -> Iterator[None]:
        yield

    monkeypatch.setattr(harness, "promised", accepted)
    for title, data in corpus.items():
        try:
            assert harness.run(data) is None
        except UserError as error:
            pytest.fail(f"{title}: {error}")


def flipped(data: bytes, most: int) -> bytes:
    """In libFuzzer's place: a byte is changed."""
    rng = np.random.default_rng(len(data))
    changed = bytearray(data or b"a")
    changed[rng.integers(len(changed))] ^= 1 + int(rng.integers(255))
    return bytes(changed[:most])


@pytest.mark.parametrize("name", HARNESSES)
def test_mutations_differ_are_the_same_for_a_seed_and_keep_the_promises(name: str) -> None:
    harness = importlib.import_module(f"fuzz.{name}")
    seen = set()
    for title, data in harness.corpus().items():
        for seed in range(MUTATIONS // len(harness.corpus())):
            mutated = harness.mutate(data, 8192, seed, flipped)
            assert mutated == harness.mutate(data, 8192, seed, flipped), (title, seed)
            harness.run(mutated)
            seen.add(mutated)
        assert harness.run(b"") in (None, -1) and isinstance(harness.mutate(b"", 8192, 0, flipped), bytes)
    assert len(seen) > MUTATIONS // 2


def test_a_text_of_a_model_that_is_no_utf8_is_mutated_too() -> None:
    """The parser takes it, and fails when the text is read."""
    harness = importlib.import_module("fuzz.onnx")
    data = harness.corpus()["shapes"].replace(b"turned", b"turne\xff")
    assert len({harness.mutate(data, 8192, seed, flipped) for seed in range(200)}) > 50


def test_a_broken_promise_shows() -> None:
    with pytest.raises(ZeroDivisionError), promises.promised(b""):
        raise ZeroDivisionError
    for message in ("", "a" * 2000, "\n" * 50 + "a"):
        with pytest.raises(AssertionError, match="message"):
            promises.check_message(message)
    with pytest.raises(AssertionError, match="a message of 2000"), promises.promised(b""):
        logging.getLogger("engine.data").warning("a" * 2000)
    with promises.promised(b""):
        raise UserError("a file: what was expected")


def test_an_input_that_takes_too_much_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "MOST_SECONDS", -1.0)
    with pytest.raises(AssertionError, match="took .* s"), promises.promised(b""):
        pass
    monkeypatch.setattr(promises, "MOST_SECONDS", 10.0)
    peaks = iter([10**9, 10**9 + 600_000_000, 10**9 + 600_000_000])
    monkeypatch.setattr(promises, "_peak", lambda: next(peaks))
    monkeypatch.setattr(promises, "_resident", lambda: 10**9)
    with pytest.raises(AssertionError, match="took 600000000 of memory"), promises.promised(b""):
        pass


def test_the_makefile_knows_every_harness() -> None:
    makefile = (FUZZ / "Makefile").read_text("utf-8")
    listed = re.search(r"^HARNESSES = (.*)$", makefile, re.MULTILINE)
    assert listed is not None and tuple(listed[1].split()) == HARNESSES
    assert set(re.findall(r"^RUNS_(\w+) = ", makefile, re.MULTILINE)) == {"program", *HARNESSES}
