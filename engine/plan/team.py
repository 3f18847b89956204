"""Who runs what: instructions that are less work than a meeting of the team are one worker's, and so are whole
programs; others have as many workers as shorten them.

A team that spins is opened in about a microsecond and meets in a fraction of one; waking one that sleeps costs 40, and
hundreds once its cores sleep too: more than many a network on one image. What is small and what is brief are functions
of the plan; whether the team sleeps is seen at run time. Neither changes a result: an op gives the same bits on any
number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import isqrt

from engine.plan.cost import estimate
from engine.program.code import Code

SMALL_INSTRUCTION = 0.3e-6  # modelled seconds: what half of it saves, the meeting afterwards costs
MEETING = 0.08e-6  # seconds for every worker that comes: a cache line goes from core to core
OPENING = 6  # meetings' worth that it takes to open the team and to close it
BRIEF_PROGRAM = 500e-6  # what a team gains on one of less it loses in waking after a longer pause


def leave_alone(code: Code, batch: int, isa: str) -> Code:
    """Mark the small instructions, or all of them where a team would not make the program faster."""
    seconds = [estimate.seconds(each, code.values, each.batch(batch), isa) for each in code.instructions]
    alone = [time <= SMALL_INSTRUCTION for time in seconds]
    if most_workers(seconds, alone) == 1:
        alone = [True] * len(alone)
    pairs = zip(code.instructions, alone, strict=True)
    return code.with_instructions([each.changed(alone=True) if single else each for each, single in pairs])


def most_workers(seconds: Sequence[float], alone: Sequence[bool]) -> int:
    """How many workers make a program fastest whose instructions take one worker so long, and are one worker's or not.

    n workers take shared / n + meetings * MEETING * n seconds for the shared instructions, which is least where n is
    the root of shared / (meetings * MEETING). The team meets behind each of them, and once for a row of the others.
    """
    shared = sum(time for time, single in zip(seconds, alone, strict=True) if not single)
    meetings = OPENING + sum(1 if single else len(list(row)) for single, row in groupby(alone))
    return max(1, isqrt(int(shared / (meetings * MEETING))))


def is_brief(seconds: float) -> bool:
    """Whether a prediction of so many modelled seconds is one worker's where the team sleeps: after a pause."""
    return seconds <= BRIEF_PROGRAM
