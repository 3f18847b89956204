"""Downloads one file over HTTP through pooch: resumed where it broke off, checked before it gets its name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging import Logger
from pathlib import Path
from typing import Any

import pooch
import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from engine.cli import on_terminal
from engine.data.sets.record import Download
from engine.errors import UserError
from engine.files import naming

ATTEMPTS = 5  # in a row that bring no byte
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
CHUNK = 1 << 15
PART, VALIDATOR = ".part", ".validator"


class Refused(Exception):
    """The server does not have the file, or has another: there is no point in asking again."""


def download(wanted: Download, folder: Path, progress: bool = True, pause: float = 1.0) -> Path:
    """The file `wanted` in `folder`, from the first of its addresses that gives it.

    Bytes gather in NAME.part, which a later call goes on with. The file gets its name only when its size and its hash
    (as far as they are known) are right; a wrong one is deleted. pause: seconds before the second attempt, more before
    each later one. UserError that names the last address where none gives the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in wanted.urls:
        downloader = ResumingDownloader(folder / (wanted.name + PART), wanted, progress, pause)
        try:
            with _quiet(pooch.get_logger()):
                return Path(pooch.retrieve(url, wanted.hash, fname=wanted.name, path=folder, downloader=downloader))
        except (Refused, requests.exceptions.RequestException) as error:
            failures.append(f"{url}: {_words(error)}")
        except ValueError:  # pooch: the hash differs; the file is deleted by now
            failures.append(f"{url}: what came is not the published file (its hash is not {wanted.hash})")
    raise UserError(f"{wanted.name} could not be downloaded: {'; '.join(failures)}")


@contextmanager
def _quiet(logger: Logger) -> Iterator[None]:
    """Keep back what pooch says of each file: the bar and our own messages say enough."""
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass
class ResumingDownloader:
    """A downloader for pooch that gathers the bytes in `part` and goes on there after an interruption.

    A part is gone on with only if the server confirms that its file is still the same (If-Range with the entity tag or
    the date of the first answer), so that never two files are mixed.
    """

    part: Path
    wanted: Download
    progress: bool = True
    pause: float = 1.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        """Download `url` to the path `output_file`; pooch checks the hash then and moves it to its place."""
        idle = 0
        bar = tqdm(desc=self.wanted.name, unit="B", unit_scale=True, disable=not (self.progress and on_terminal()))
        with bar:
            while True:
                before = self._gathered()
                try:
                    self._request(url, bar)
                    break
                except (requests.ConnectionError, requests.Timeout):
                    idle = 0 if self._gathered() > before else idle + 1
                    if idle >= ATTEMPTS:
                        raise
                    self.sleep(self.pause * max(idle, 1))
        size = self._gathered()
        if self.wanted.size is not None and size != self.wanted.size:
            self._forget()
            raise Refused(f"{size:,} bytes came, expected {self.wanted.size:,}")
        self.part.replace(output_file)
        self._forget()

    def _gathered(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _forget(self) -> None:
        for path in (self.part, self._validator):
            with suppress(FileNotFoundError):
                path.unlink()

    @property
    def _validator(self) -> Path:
        return self.part.with_name(self.part.name + VALIDATOR)

    def _request(self, url: str, bar: Any) -> None:
        """One answer of the server, written to the part; returns when the file is whole."""
        start = self._gathered()
        known = self._validator.read_text() if start and self._validator.is_file() else ""
        given, _, validator = known.partition("\n")
        headers = {"Accept-Encoding": "identity"}
        if start and given == url and validator:
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code >= 500:
                raise requests.ConnectionError(f"the server answers {answer.status_code}")
            if answer.status_code == 416:  # the part is longer than the file
                self._forget()
                raise requests.ConnectionError("the server cannot go on where the download broke off")
            if answer.status_code not in (200, 206):
                raise Refused(f"the server answers {answer.status_code} {answer.reason}")
            if answer.status_code == 200:
                start = 0
                with naming(self._validator):
                    self._validator.write_text(f"{url}\n{_validator(answer.headers)}")
            total = _total(answer.headers, start)
            if self.wanted.size is not None and total is not None and total != self.wanted.size:
                self._forget()
                raise Refused(f"the server announces {total:,} bytes, expected {self.wanted.size:,}")
            bar.total, bar.n = total, start
            bar.refresh()
            with naming(self.part), self.part.open("r+b" if start else "wb") as file:
                file.seek(start)
                # The bytes as sent: a server may call a .gz file's own compression an encoding, which would be undone.
                try:
                    for chunk in answer.raw.stream(CHUNK, decode_content=False):
                        file.write(chunk)
                        bar.update(len(chunk))
                except HTTPError as error:
                    raise requests.ConnectionError(f"the connection broke off ({error})") from None
            if total is not None and self._gathered() != total:
                raise requests.ConnectionError(f"the connection broke off at {self._gathered():,} of {total:,} bytes")


def _validator(headers: Mapping[str, str]) -> str:
    """What If-Range takes: a strong entity tag, else the date of the last change, else nothing."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _total(headers: Mapping[str, str], start: int) -> int | None:
    """The length of the whole file as announced, None where it is not."""
    if start:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != start:
            raise Refused(f"the server sends another piece than the one asked for ({headers.get('Content-Range')})")
        return int(match[2])
    length = headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _words(error: Exception) -> str:
    """The error in few words: requests wraps long representations of its own objects round the reason."""
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    text = str(error)
    if isinstance(error, requests.ConnectionError) and "Max retries" in text:
        return "the server cannot be reached"
    if "broke off" in text:
        return "the connection breaks off again and again; the same command goes on where it stopped"
    return text
