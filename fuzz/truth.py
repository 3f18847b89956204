"""Tables of true labels, as `--gt` of `engine.predict` takes them. What is accepted is a known label for each image."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from engine.inference.truth import read_truth
from fuzz.promises import promised, scratch
from fuzz.readers import table_changed
from fuzz.values import Plain, sprinkled

TABLE = scratch() / "truth.csv"
PATHS = (Path("photos/a.png"), Path("photos/b.png"), Path("more/a.png"), Path("/photos/c d.png"))
NAMES = ("0", "1", "cat", "a dog")


def corpus() -> dict[str, bytes]:
    rows = [("photos/a.png", "0"), ("b.png", "cat"), ("more/a.png", "1"), ("/photos/c d.png", "a dog")]
    text = "filename,label\n" + "".join(f"{name},{label}\n" for name, label in rows)
    return {
        "commas": text.encode(),
        "semicolons": text.replace(",", ";").replace("label", "digit").encode("utf-8-sig"),
        "tabs": text.replace(",", "\t").replace("\n", "\r\n").replace("filename", "image").encode(),
        "quotes": b"file,x,label\n" + "".join(f'"{name}" ,"","{label}"\n' for name, label in rows).encode(),
    }


def run(data: bytes) -> None:
    TABLE.write_bytes(data)
    with promised(data):
        labels = read_truth(TABLE, PATHS, NAMES)
        assert labels.shape == (len(PATHS),) and labels.dtype == np.int64
        assert 0 <= labels.min() <= labels.max() < len(NAMES)


def mutate(data: bytes, most: int, seed: int, plain: Plain) -> bytes:
    rng = random.Random(seed)
    return table_changed(data, rng) if rng.randrange(3) else sprinkled(data, rng, plain, most)
