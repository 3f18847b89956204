"""`python -m fuzz NAME [libFuzzer's options and corpus folders]`: one harness under Atheris."""

from __future__ import annotations

import importlib
import shutil
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
    shutil.rmtree(begin, ignore_errors=True)  # libFuzzer adds to the first folder that it is given
    begin.mkdir(parents=True)
    for title, data in harness.corpus().items():
        (begin / title).write_bytes(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return bytes(harness.mutate(bytes(data), most, seed, atheris.Mutate))[:most]

    if not any(Path(each).is_file() for each in options):  # which are run once, and nothing else
        options.append(str(begin))
    atheris.Setup([sys.argv[0], *options], harness.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
