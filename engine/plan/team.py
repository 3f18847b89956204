"""Which instructions one worker runs alone: those that are less work than bringing the team together.

Opening a team that spins and letting it meet costs about a microsecond each time; waking one that sleeps costs 40, and
hundreds once its cores sleep too: more than many a network on one image. What is small and what is brief are functions
of the plan; whether the team sleeps is seen at run time. Neither changes a result: an op gives the same bits on any
number of workers.
"""

from __future__ import annotations

from engine.plan.cost import estimate
from engine.program.code import Code

SMALL_INSTRUCTION = 1e-6  # modelled seconds: what half of it saves, the meeting afterwards costs
SMALL_PROGRAM = 35e-6  # what a team gains on one of less it loses in its meetings, even where nobody sleeps
BRIEF_PROGRAM = 500e-6  # what a team gains on one of less it loses in waking after a longer pause


def leave_alone(code: Code, batch: int, isa: str) -> Code:
    """Mark the small instructions, or all of them where the whole program is small."""
    seconds = [estimate.seconds(instruction, code.values, batch, isa) for instruction in code.instructions]
    limit = SMALL_INSTRUCTION if sum(seconds) > SMALL_PROGRAM else SMALL_PROGRAM
    pairs = zip(code.instructions, seconds, strict=True)
    return code.with_instructions([each.changed(alone=True) if time <= limit else each for each, time in pairs])


def is_brief(seconds: float) -> bool:
    """Whether a prediction of so many modelled seconds is one worker's where the team sleeps: after a pause."""
    return seconds <= BRIEF_PROGRAM
