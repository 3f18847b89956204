"""What `python -m engine.export NET page.html` takes and does."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from engine.export.page.document import document, title_of
from engine.files import write_atomically
from engine.inference.ensemble import member_of
from engine.quantize.network import AnyNetwork


def add_arguments(parser: ArgumentParser) -> None:
    """The options of a page."""
    group = parser.add_argument_group("a web page")
    group.add_argument("--title", help="what stands above the page (default: the name of NET)")
    group.add_argument(
        "--paper",
        choices=("black", "white"),
        help="of the sheet that is drawn on (default: white where images are reversed or in colour, else black)",
    )


def write(network: AnyNetwork, path: Path, options: Namespace) -> None:
    """One file with the network in it. UserError, before anything is written, for a network that a page cannot run."""
    source = Path(str(options.source or options.foreign))
    page = document(member_of(str(source), network), options.title or title_of(source), options.paper).encode()
    write_atomically(path, page)
    print(f"written: {path} ({len(page) / 1e6:.1f} MB)")
