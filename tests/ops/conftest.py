from collections.abc import Iterator

import cnncore
import pytest


@pytest.fixture(params=cnncore.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set that this CPU has, in turn."""
    before = cnncore.isa()
    cnncore.set_isa(request.param)
    yield request.param
    cnncore.set_isa(before)
