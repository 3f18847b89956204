"""Which instructions one worker runs alone: those that are less work than bringing the team together.

Waking a team and letting it meet costs about as much as the whole of a small network on one image. The decision is a
function of the plan and never changes a result: an op gives the same bits on any number of workers.
"""

from __future__ import annotations

from dataclasses import replace

from engine.plan import estimate
from engine.plan.ir import Code

SMALL_INSTRUCTION = 1e-6  # modelled seconds: what half of it saves, the meeting afterwards costs
SMALL_PROGRAM = 60e-6  # a team that was asleep takes longer to come together than such a program takes


def leave_alone(code: Code, batch: int, isa: str) -> Code:
    """Mark the small instructions, or all of them where the whole program is small."""
    seconds = [estimate.seconds(instruction, code.values, batch, isa) for instruction in code.instructions]
    limit = SMALL_INSTRUCTION if sum(seconds) > SMALL_PROGRAM else SMALL_PROGRAM
    pairs = zip(code.instructions, seconds, strict=True)
    return code.with_instructions([replace(each, alone=time <= limit) for each, time in pairs])
