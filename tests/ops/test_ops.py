"""Every op over the table of cases: against the float64 oracle, against its naive twin, on teams of several sizes."""

from functools import cache

import cnncore
import pytest

from tests.ops import int8_oracle
from tests.ops.cases import CASES
from tests.ops.execution import Outcome, describe, differences, execute, oracle_outcome, same_bits
from tests.ops.families.base import Family, OpCall

TEAMS = (2, 3, 5)
every_case = pytest.mark.parametrize("case", CASES, ids=[f"{i}-{type(case).__name__}" for i, case in enumerate(CASES)])


@cache
def calls_of(case: Family) -> list[OpCall]:
    return case.calls()


@cache
def twins_of(case: Family) -> list[Outcome]:
    return [execute(call, reference=True) for call in calls_of(case)]


def test_the_table_covers_the_registry() -> None:
    covered = {call.op for case in CASES for call in calls_of(case)}
    assert not covered & int8_oracle.OPS
    assert covered | int8_oracle.OPS == set(cnncore.OPS)


@every_case
def test_the_registry_says_what_an_op_reads_and_writes(case: Family) -> None:
    """That it keeps to it is seen wherever a call is executed: outputs start as NaN, and inputs must not change."""
    for call in calls_of(case):
        given = [each for each in cnncore.OPS[call.op].operands if each.name in call.inputs | call.expected]
        assert {each.name for each in given if each.written} == call.expected.keys(), call.op
        if call.op != "copy_channels":  # whose case shows that the channels beside the slice stay
            assert {each.name for each in given if each.read} == call.inputs.keys(), call.op
        assert all(each in given for each in cnncore.OPS[call.op].operands if not each.optional), call.op


def test_every_in_place_mark_of_the_registry_is_tried() -> None:
    tried = {(call.op, source) for case in CASES for call in calls_of(case) for _, source in call.in_place}
    marked = {(op, each.name) for op, info in cnncore.OPS.items() for each in info.operands if each.in_place}
    assert tried == {(op, name) for op, name in marked if op not in int8_oracle.OPS}


def test_every_case_stands_once() -> None:
    assert len({repr(case) for case in CASES}) == len(CASES)


@every_case
def test_the_naive_twin_agrees_with_the_oracle(case: Family) -> None:
    for call, twin in zip(calls_of(case), twins_of(case)):
        found = differences(twin, oracle_outcome(call), call)
        assert not found, f"{describe(case, call, reference=True)}\n  " + "\n  ".join(found)


@every_case
def test_op_agrees_with_oracle_and_twin(case: Family, isa: str) -> None:
    for call, twin in zip(calls_of(case), twins_of(case)):
        outcome = execute(call)
        for name, expected in (("oracle", oracle_outcome(call)), ("naive twin", twin)):
            found = differences(outcome, expected, call)
            assert not found, f"{describe(case, call, isa=isa, against=name)}\n  " + "\n  ".join(found)


@every_case
def test_the_same_bits_on_any_team(case: Family, isa: str) -> None:
    for call in calls_of(case):
        alone = execute(call, threads=1)
        for team in TEAMS:
            together = execute(call, threads=team)
            assert same_bits(together, alone), describe(case, call, isa=isa, threads=f"{team} and 1")


@every_case
def test_output_may_lie_in_an_input(case: Family, isa: str) -> None:
    for call in calls_of(case):
        for pair in call.in_place:
            outcome = execute(call, threads=2, shared=pair)
            assert same_bits(outcome, execute(call)), describe(case, call, isa=isa, in_place=pair)


@pytest.mark.skipif(not cnncore.has_openmp(), reason="built without OpenMP: every team has one member")
@pytest.mark.parametrize("team", (1, *TEAMS))
def test_the_team_really_is_that_large(team: int) -> None:
    cnncore.set_num_threads(team)
    try:
        assert cnncore.get_num_threads() == team
        assert cnncore.measure_team() == team
    finally:
        cnncore.set_num_threads(0)
