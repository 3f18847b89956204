from collections.abc import Iterator

import cnncore
import pytest


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    """Whatever a test sets, the next one starts from the default."""
    yield
    cnncore.set_num_threads(0)
