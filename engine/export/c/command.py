"""The options of `python -m engine.export NET OUT.c`, and the files that it writes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from engine.errors import UserError
from engine.export.c.source import Options, Sizes, c_file, header_file, unit_of, weights_file
from engine.export.c.testbench import test_vector
from engine.export.c.text import identifier, identifier_of
from engine.files import write_atomically
from engine.quantize.network import AnyNetwork


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("options of C files")
    group.add_argument("--header", type=Path, metavar="FILE.h", help="write a header too")
    group.add_argument("--name", metavar="NAME", help="what all names begin with (default: the file's name)")
    group.add_argument(
        "--weights",
        choices=("inside", "separate"),
        default="inside",
        help="separate: the weights go into a C file of their own, OUT_weights.c (default: inside)",
    )
    group.add_argument("--simd", action="store_true", help="use GCC's vector extensions, with the same bits")
    group.add_argument(
        "--testbench",
        action="store_true",
        help="add a main that runs a built-in test vector; its exit status is 0 where every bit is as it should be",
    )


def write(network: AnyNetwork, path: Path, options: Namespace) -> None:
    """Write the C file and those beside it, and print what it takes of a device."""
    prefix = identifier(options.name) if options.name is not None else identifier_of(path.stem)
    apart = path.with_name(f"{path.stem}_weights.c")
    files = [path, *([apart] if options.weights == "separate" else []), *([options.header] if options.header else [])]
    if options.header is not None and options.header.suffix.lower() not in (".h", ".hh", ".hpp"):
        raise UserError(f"--header {options.header}: expected a name that ends in .h")
    vector = test_vector(network) if options.testbench else None
    header = options.header.name if options.header else None
    how = Options(prefix, options.simd, options.weights == "separate", vector, header)
    unit = unit_of(network, prefix, options.simd)
    texts = [c_file(network, unit, how)]
    texts += [weights_file(unit, how)] if how.separate else []
    texts += [header_file(network, unit, how)] if options.header else []
    for file, text in reversed(list(zip(files, texts, strict=True))):  # the file that needs the others last
        write_atomically(file, text.encode())
    print(f"{path}: {prefix}_predict takes {Sizes(unit.table_bytes, unit.exported.ram_bytes)}")
