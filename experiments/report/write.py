"""Writes a study's report: gathers, draws, renders, and leaves a page alone that would say the same again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from experiments.learned import FIGURES_VERSION, can_draw
from experiments.records.standing import Standing
from experiments.records.store import Store
from experiments.report.document import build_document
from experiments.report.figures import illustrated
from experiments.report.html import check_html, html, page_hash
from experiments.report.provenance import provenance
from experiments.report.summary import StudySummary
from experiments.study.study import Study

PAGE = "report.html"
_MARK = "<!-- made of "


@dataclasses.dataclass(frozen=True)
class Written:
    """Where the report is, and what it had to leave out."""

    path: Path
    missing: tuple[str, ...] = ()


def write_report(
    study: Study,
    summary: StudySummary,
    runs: Sequence[Standing],
    store: Store,
    command: Sequence[str],
    images: bool = True,
) -> Written:
    """Write OUT/report.html, unless the one that is there was made of the same; UserError without Jinja2. images: also
    what is drawn from networks and data."""
    check_html()
    document = build_document(study, summary, runs)
    path = store.root / PAGE
    complaint = can_draw()
    content = [repr(document), *(run.key for run in runs), str(FIGURES_VERSION), str(images), page_hash(), complaint]
    mark = f"{_MARK}{hashlib.sha256(json.dumps(content).encode()).hexdigest()} -->\n"
    if _is_made_of(path, mark):
        return Written(path, (complaint,) if complaint else ())
    document = dataclasses.replace(document, provenance=provenance(command, runs))
    document = illustrated(document, store.root, images)
    store.write_text(PAGE, html(document) + mark)
    return Written(path, document.missing)


def _is_made_of(path: Path, mark: str) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - len(mark)))
            return file.read() == mark.encode()
    except FileNotFoundError:
        return False
