"""The compiled core must fit the header of the checkout that uses it."""

import pytest

from engine.program.core import HEADER, require_matching_core


def test_accepts_the_header_it_was_built_from_and_a_missing_one(tmp_path):
    require_matching_core()
    require_matching_core(tmp_path / "cnn.h")


def test_says_rebuild_for_another_header(tmp_path):
    changed = tmp_path / "cnn.h"
    changed.write_text("/* another version */\n")
    with pytest.raises(ImportError, match="rebuild it with `pip install .`"):
        require_matching_core(changed)


def test_the_checkout_has_its_header_where_the_check_looks():
    assert HEADER.is_file()
