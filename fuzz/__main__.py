"""`python -m fuzz NAME [libFuzzer's options and corpus folders]`: one harness under Atheris."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from fuzz import HARNESSES

BUILD = Path(__file__).resolve().parent / "build"


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in HARNESSES:
        sys.exit(f"usage: python -m fuzz {'|'.join(HARNESSES)} [options of libFuzzer] [folders]")
    import atheris

    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["engine", "experiments"]):
        harness = importlib.import_module(f"fuzz.{name}")
    begin = BUILD / "corpus" / name
    begin.mkdir(parents=True, exist_ok=True)
    for title, data in harness.corpus().items():
        (begin / title).write_bytes(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return bytes(harness.mutate(bytes(data), most, seed, atheris.Mutate))[:most]

    atheris.Setup([sys.argv[0], *options, str(begin)], harness.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
