"""The check of exported C files: it sees other bits, other sizes, and who is the faster."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from engine.network.network import Network
from experiments.checks.c_export import builds, table
from experiments.checks.c_export.builds import COMPILERS, Compiler
from experiments.measuring.random_networks import random_network

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
GCC = COMPILERS[0]


@pytest.fixture
def net() -> Network:
    return random_network(205).net


def test_other_bits_are_seen(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LEVELS", ("-O1",))
    files = table.write(net, tmp_path, bench=True)
    assert table.differing(GCC, files) == []
    source, _ = files["plain"]
    source.write_text(source.read_text().replace("float sum = 0.0f", "float sum = 1.0f").replace(
        "static const uint32_t net_expected", "static const uint32_t net_other[1] = {0}, net_expected").replace(
        "!= net_expected[i]", "!= (net_expected[i] ^ net_other[0] ^ 1u)"))  # fmt: skip
    assert table.differing(GCC, files) == ["plain -O1: 1"]


def test_what_a_compiler_warns_of_is_an_error(tmp_path: Path) -> None:
    (source := tmp_path / "unused.c").write_text("static int unused(void) { return 1; }\n")
    with pytest.raises(RuntimeError, match="unused"):
        GCC.compile(source, tmp_path / "unused.o")


def test_bytes_are_those_of_the_object_file(net: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.bytes_found({"small": net}, tmp_path)
    assert "small" in capsys.readouterr().out
    (source := tmp_path / "sizes.c").write_text("const int a[100] = {1};\nint b[50];\nint *c(void) { return b; }\n")
    GCC.compile(source, source.with_suffix(".o"))
    found = builds.sections(source.with_suffix(".o"))
    assert (found.constants, found.zeros) == (400, 200) and 0 < found.code < 100


def test_a_missing_compiler_is_left_out(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "COMPILERS", (Compiler("moon", "cc", "no-such-compiler"),))
    table.bits({}, tmp_path)
    assert "left out: cc for moon, as there is no no-such-compiler" in capsys.readouterr().out


def test_times_are_medians_of_rounds_turn_by_turn(tmp_path: Path) -> None:
    for name, value in (("slow", "0.5"), ("quick", "0.25")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {value}\n")
        (tmp_path / name).chmod(0o755)
    assert table.measure({name: tmp_path / name for name in ("slow", "quick")}, 3) == {"slow": 0.5, "quick": 0.25}


def test_networks_are_named_and_drawn() -> None:
    assert list(table.networks(Namespace(networks="lenet", random=1))) == ["lenet", "random200"]
