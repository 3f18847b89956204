"""A study's report as a live page while runs go on: `python -m experiments.report.watch FOLDER`.

The page is served to this machine alone (127.0.0.1), is made anew from the records and logs for every request, and
nothing but it can be asked for: no name in a request is ever looked up on the disk.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.cli import command_parser, run
from engine.errors import UserError, shortened
from experiments.records.planned import planned_graph
from experiments.records.standing import results_of, standings
from experiments.records.store import Store
from experiments.report.document import Document, Picture, build_document
from experiments.report.figures import illustrated
from experiments.report.html import check_html, html
from experiments.report.summary import summarize
from experiments.study.read import load_study, select
from experiments.study.study import Study
from experiments.tasks.keys import Run

HOST, PORT = "127.0.0.1", 8017
ASKED = "study.json"  # in a study's folder: what was asked for, so that another process can watch it
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'",
}


class LivePage:
    """The page of a study as it is now. Drawings are made again only for rows that have changed."""

    def __init__(self, study: Study, planned: Sequence[Run], root: Path, accept_code: bool = False):
        check_html()
        self._study, self._planned, self._root, self._accept_code = study, tuple(planned), root, accept_code
        self._drawn: dict[str, Picture | None] = {}
        self._lock = threading.Lock()  # matplotlib works for one thread at a time

    def document(self) -> Document:
        with closing(Store(self._root)) as store:  # a connection belongs to the thread that opened it
            runs = standings(self._planned, store, self._accept_code)
        summary = summarize(self._study, results_of(runs))
        return build_document(self._study, summary, runs, live=any(run.result is None for run in runs))

    def __call__(self) -> str:
        with self._lock:
            return html(illustrated(self.document(), self._root, images=False, drawn=self._drawn))


def make_handler(page: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    """A handler that answers "/" with the page and everything else with an error."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "cnn-engine", ""

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            # A page elsewhere whose name was made to point here would send that name.
            if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in (HOST, "localhost"):
                self.send_error(HTTPStatus.FORBIDDEN, "only for this machine")
                return
            if urlsplit(self.path).path != "/":
                self.send_error(HTTPStatus.NOT_FOUND, "there is one page here, /")
                return
            try:
                body = page().encode()
            except (UserError, OSError) as error:  # a record that is damaged, or a disk that is gone
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "the page cannot be made", str(error))
                return
            self.send_response(HTTPStatus.OK)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the terminal belongs to the progress of the runs."""

    return Handler


def make_server(page: Callable[[], str], port: int = PORT) -> ThreadingHTTPServer:
    """A server on this port of 127.0.0.1, or on any free one where it is taken."""
    try:
        return ThreadingHTTPServer((HOST, port), make_handler(page))
    except OSError:
        return ThreadingHTTPServer((HOST, 0), make_handler(page))


def address(server: ThreadingHTTPServer) -> str:
    return f"http://{HOST}:{server.server_address[1]}/"


@contextmanager
def served(page: Callable[[], str], port: int = PORT) -> Iterator[str]:
    """Serve the page beside what this process does; gives its address."""
    server = make_server(page, port)
    thread = threading.Thread(target=server.serve_forever, name="watch", daemon=True)
    thread.start()
    try:
        yield address(server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def remember(store: Store, study: str, asked: Mapping[str, Any]) -> None:
    """Keep in the study's folder what was asked for: the study's name or file, and `select`'s and the loader's rest."""
    name = str(Path(study).resolve()) if study.endswith((".yaml", ".yml")) else study
    store.write_text(ASKED, json.dumps({"study": name, **asked}, indent=2) + "\n")


def remembered(root: Path) -> Study:
    """The study of a folder. UserError for a folder without one."""
    path = root / ASKED
    try:
        asked = json.loads(path.read_text("utf-8"))
        study = load_study(asked["study"], asked["overrides"], asked["budget"])
        return select(study, asked["rows"], tuple(asked["seeds"]))
    except FileNotFoundError:
        raise UserError(f"{root}: holds no study, it has no {ASKED}; give the folder of a study (--out)") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({shortened(repr(error), 300)})") from None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser(
        "experiments.report.watch",
        description="Show a study as a live page on this machine while another process runs it.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the study's folder, such as runs/quickstart")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help="default: %(default)s, or any that is free")
    parser.add_argument("--accept-code", action="store_true", help="results of another version of the code count, too")
    options = parser.parse_args(arguments)

    study = remembered(options.folder)
    with closing(Store(options.folder)) as store:
        planned = [task.run for task in planned_graph(study, store).rows]
    server = make_server(LivePage(study, planned, options.folder, options.accept_code), options.port)
    print(f"{study.title}: {address(server)} (Ctrl-C ends)", flush=True)
    with closing(server.socket):
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(run(main))
