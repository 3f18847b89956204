"""NumtaDB: the publisher's folders of images with a CSV table each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.data.readers.files import DIGIT_NAMES, check_table_files, choice, set_folder
from engine.data.readers.tables import read_csv
from engine.errors import UserError

PARTS = "abcde"
DATABASE_COLUMN = "database name original"


def read_numtadb(root: Path | None, parts: str = "abc") -> RawDataset:
    """NumtaDB's training parts (Alam et al. 2018): folder training-X and training-X.csv for each letter of `parts`.

    The column `database` is the publisher's "database name original", for stratified splits.
    """
    folder = set_folder(root, "numtadb")
    if not parts or len(set(parts)) < len(parts):
        raise UserError(f"numtadb parts must name one or more of a, b, c, d, e, each once, got {parts!r}")
    paths: list[Path] = []
    labels: list[int] = []
    databases: list[str] = []
    for part in parts:
        choice("numtadb part", part, PARTS)
        table = folder / f"training-{part}.csv"
        images = folder / f"training-{part}"
        listed: list[Path] = []
        for line, row in read_csv(table, ("filename", "digit")):
            if row["digit"] not in DIGIT_NAMES:
                raise UserError(f"{table}, line {line}: digit {row['digit']!r}, expected 0 to 9")
            listed.append(images / row["filename"])
            labels.append(int(row["digit"]))
            databases.append(row.get(DATABASE_COLUMN) or f"training-{part}")
        check_table_files(table, listed)
        paths += listed
    columns = {"database": np.array(databases)}
    return RawDataset("numtadb", ImageFiles(paths), np.array(labels, np.int64), DIGIT_NAMES, columns)
