"""What is sent to the workers of a cluster and fetched from them: orders, sets of data, and the folders of runs."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from experiments.cluster import worker
from experiments.cluster.members import Held, Lost, Member
from experiments.cluster.shipping import moved, pack, pieces, places_of, put_piece, unpack_run
from experiments.running.execute import Job
from experiments.tasks.fingerprint import Fingerprints, code_hash


class Ask(Protocol):
    """The result of a short task on a worker, waited for; Lost where the worker goes meanwhile."""

    def __call__(self, member: Member, task: Any, *arguments: Any) -> Any: ...


def order_of(job: Job, fingerprints: Fingerprints, token: Path, topic: str) -> worker.Order:
    """What a worker must know of the job, wherever its files are."""
    places = places_of(job.config)
    absolute = {place: Path(os.path.abspath(place)) for place in places}
    configs = [job.config]
    if places:
        configs.append(moved(job.config, absolute))
    return worker.Order(
        job=dataclasses.replace(job, folder=Path(os.path.abspath(job.folder))),
        key=job.run.key,
        code=code_hash(),
        configs=tuple(configs),
        places=tuple((place, fingerprints.files((place,))) for place in places),
        data=fingerprints.data(job.config),
        token=token,
        topic=topic,
    )


class Courier:
    """Takes sets of data to workers that lack them, and brings the folders of their runs back, piece by piece.

    session   of the runner: no two of them send under one name
    """

    def __init__(self, session: str, ask: Ask):
        self._session, self._ask = session, ask
        self._hosts_with: set[tuple[str, str]] = set()  # (host, hash) of data that were sent

    def supply(self, member: Member, held: Held, missing: worker.Missing) -> None:
        """Send a worker the data that it lacks. Workers of one host share what was sent there.

        RuntimeError where it was sent before, or there is nothing to send: `missing` says what is wrong then.
        """
        places = {content: place for place, content in held.order.places}
        again = [each for each in missing.hashes if (member.address, each) in held.sent]
        if again or not missing.hashes:
            raise RuntimeError(f"worker {member.address} does not have the run's data: {missing.why}")
        for content in missing.hashes:
            if (member.host, content) not in self._hosts_with:
                self._ship(member, places[content], content)
                self._hosts_with.add((member.host, content))
            held.sent.add((member.address, content))

    def _ship(self, member: Member, place: Path, content: str) -> None:
        name = f"{content[:16]}-{self._session[:16]}"
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "packed.zip")
            pack(place, archive)
            size = archive.stat().st_size / (1 << 20)
            print(f"sending {place} ({size:.1f} MiB) to worker {member.address}", file=sys.stderr, flush=True)
            for offset, piece in pieces(archive):
                self._ask(member, worker.receive, name, offset, piece)
        self._ask(member, worker.unpack, name, content)

    def fetch(self, member: Member, job: Job, archive: Path) -> None:
        """Bring the folder of a run that a worker trained in its own to where it belongs."""
        arrived = job.folder.with_name(f".{job.folder.name}.zip")
        offset = 0
        while piece := self._ask(member, worker.fetch, archive, offset):
            put_piece(arrived, offset, piece)
            offset += len(piece)
        unpack_run(arrived, job.folder)
        with suppress(Lost):  # the run is here: that of its worker no longer matters
            self._ask(member, worker.forget, archive)
