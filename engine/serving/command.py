"""What `python -m engine.serve` does: load, listen, answer until it is stopped."""

from __future__ import annotations

import socket
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import cnncore

from engine.errors import UserError
from engine.export.page.document import document, title_of
from engine.inference.ensemble import Member
from engine.serving.limits import Limits
from engine.serving.pool import Pool
from engine.training.folder import find_checkpoint

MISSING = 'serving needs Starlette and uvicorn: pip install "cnn-engine[serve]"'
MOST_WORKERS = 256
MEGABYTE = 1_000_000


def serve(options: Namespace) -> None:
    """Answer on the address that the options name, until a signal ends it. UserError for what cannot be."""
    libraries()
    threads = cnncore.get_num_threads()
    workers = threads if options.workers is None else options.workers
    if not 1 <= workers <= MOST_WORKERS:
        raise UserError(f"--workers: expected 1 to {MOST_WORKERS}, got {workers}")
    if not 0 <= options.port < 1 << 16:
        raise UserError(f"--port: expected 0 to 65535, got {options.port}")
    if not 0 < options.most_megabytes <= 1000:
        raise UserError(f"--most-megabytes: expected a number above 0, up to 1000, got {options.most_megabytes:g}")
    pool = Pool([find_checkpoint(path) for path in options.networks], workers)
    cnncore.set_num_threads(max(1, threads // workers))
    with listening(options.host, options.port) as door:
        print(f"{address(door)} answers; Ctrl-C ends it", flush=True)
        answer(door, pool, page_of(pool.members), Limits(body=int(options.most_megabytes * MEGABYTE)))


def libraries() -> tuple[ModuleType, ModuleType]:
    """uvicorn, and our application, which is made of Starlette's classes; UserError with pip's command where a package
    is missing."""
    try:
        import uvicorn

        from engine.serving import app
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("uvicorn", "starlette"):
            raise
        raise UserError(MISSING) from None
    return uvicorn, app


def answer(door: socket.socket, pool: Pool, page: str | UserError, limits: Limits) -> None:
    """Answer whoever comes in at the door, until a signal ends it."""
    uvicorn, app = libraries()
    config = uvicorn.Config(
        app.application(pool, page, limits), lifespan="off", log_level="warning", access_log=False, server_header=False
    )
    try:
        uvicorn.Server(config).run(sockets=[door])
    finally:
        pool.close()


def page_of(members: Sequence[Member]) -> str | UserError:
    """The page of a single network, or why there is none."""
    if len(members) > 1:
        return UserError(f"a page holds one network, and {len(members)} answer together")
    try:
        return document(members[0], title_of(Path(members[0].source)))
    except UserError as error:
        return error


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. UserError, which names the address, where the system has none for us."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise UserError(f"{host}:{port}: cannot be listened on ({error.strerror or error})") from None
    # What it accepts inherits this. asyncio sets it for sockets alone that were made with the number of TCP: without it
    # the body of an answer waits 40 ms for the receipt of its head.
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return door


def address(door: socket.socket) -> str:
    """As a browser takes it."""
    host, port, *_ = door.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
