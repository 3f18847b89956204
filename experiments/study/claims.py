"""What a report claims, as comparisons of rows: `claims:` of a study.

    claims:
      - text: max-pooling raises the accuracy
        place: slide "Regularization"
        pairs: [{row: Model 9 (MaxPooling), than: Model 8 (256 filters)}]
        expects: higher

A claim is about values of one metric, paired by seed. Several pairs are several chances to be wrong: it holds where all
of them do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import UserError, unknown

Expects = Literal["higher", "lower", "alike"]


@dataclass(frozen=True)
class Pair:
    """Two rows that a claim compares.

    row   the one that the claim is about
    than  the one that it is held against
    """

    row: str
    than: str


@dataclass(frozen=True)
class Claim:
    """What the report says of its rows.

    text     the claim in a few words
    pairs    of rows, each of which must bear it out
    expects  how the row's values are claimed to lie to the other's: higher, lower, or alike (within the margin)
    metric   of which the claim is (default: the headline of the pair's first row)
    place    where the report says so
    """

    text: str
    pairs: tuple[Pair, ...]
    expects: Expects = "higher"
    metric: str | None = None
    place: str = ""

    def __post_init__(self) -> None:
        if not self.pairs:
            raise UserError(f"the claim {self.text!r} compares no pair of rows")


def check_claims(claims: Sequence[Claim], rows: Sequence[str], where: str) -> None:
    """UserError for a claim about a row that is not there, or about a row and itself."""
    for claim in claims:
        for pair in claim.pairs:
            for name in (pair.row, pair.than):
                if name not in rows:
                    raise UserError(f"{where}: claims: {unknown('row', name, rows)}")
            if pair.row == pair.than:
                raise UserError(f"{where}: claims: {claim.text!r} compares {pair.row!r} with itself")
