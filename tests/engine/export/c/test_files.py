"""What the command writes and refuses, what the files say of themselves, and how they guard their bits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.cli import run
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.export import __main__ as command
from engine.export.c import program
from engine.export.c import source as written
from engine.export.c.source import sizes, unit_of
from engine.export.c.text import comment, number, string
from engine.layers import Conv2D, Flatten, Linear, ReLU, Softmax
from engine.network.graph import Sequential
from engine.network.network import Network
from tests.engine.export.c.building import WARNINGS, needs_gcc, source


def small(**settings: object) -> Network:
    net = Sequential([Conv2D(1, 3, 3), ReLU(), Flatten(), Linear(48, 2), Softmax()], input_shape=(1, 6, 6))
    net.class_names = ["left", 'r?ght "\\ é']
    net.preprocess = {"colour": False, "size": [6, 6], "scale": "0..1", "mean": [0.25], "std": [0.5], **settings}
    return net


def export(folder: Path, net: Network, *options: str, monkeypatch: pytest.MonkeyPatch) -> int:
    net.save(folder / "net.safetensors")
    words = [str(folder / "net.safetensors"), str(folder / "net.c"), *options]
    monkeypatch.setattr(sys, "argv", ["export", *words])
    return run(command.main)


@needs_gcc
def test_all_files_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program of several files reads names, prepares bytes and predicts, and the test vector passes."""
    net = small()
    header = tmp_path / "net.h"
    assert export(tmp_path, net, "--header", str(header), "--weights", "separate", monkeypatch=monkeypatch) == 0
    told = sizes(net)
    assert f"{told.weights:,} B of flash" in (out := capsys.readouterr().out) and f"{told.ram:,} B of RAM" in out
    pixels = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6) * 7
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.h"\nint main(void)\n{\n    unsigned char pixels[NET_INPUTS];\n'
        "    float image[NET_INPUTS], outputs[NET_OUTPUTS];\n"
        "    for (int i = 0; i < NET_INPUTS; i++) pixels[i] = (unsigned char)(7 * i);\n"
        "    net_prepare(pixels, image);\n    if (net_predict(image, outputs) != 0) return 1;\n"
        '    printf("%s\\n%a\\n", net_class_names[1], (double)outputs[0]);\n'
        "    image[5] = image[5] / 0.0f;\n    return net_predict(image, outputs) != 1;\n}\n"
    )
    files = [str(tmp_path / name) for name in ("main.c", "net.c", "net_weights.c")]
    subprocess.run(["gcc", *WARNINGS, *files, "-o", str(tmp_path / "main")], check=True)
    name, value = subprocess.check_output([str(tmp_path / "main")], text=True).splitlines()
    image = Preprocess.from_dict(net.preprocess or {}).normalise(pixels)
    assert name == net.class_names[1]
    assert float.fromhex(value) == pytest.approx(float(net.predict(image)[0, 0]), rel=1e-6)
    text = header.read_text()
    assert "resized to 6 x 6" in text and "minus [0.25], divided by [0.5]" in text and "probabilities" in text


@needs_gcc
@pytest.mark.parametrize("change", ["expected", "weight"])
def test_a_test_vector_that_does_not_fit_shows(change: str, tmp_path: Path) -> None:
    text = source(small(), "net")
    where = r"net_expected\[2\] = \{\n    0x" if change == "expected" else r"_weights\[\d+\] = \{\n    -?0x1\."
    found = re.search(where, text)
    assert found is not None
    at = found.end() + 1
    changed = text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]
    for content, status in ((text, 0), (changed, 1)):
        (tmp_path / "net.c").write_text(content)
        subprocess.run(["gcc", *WARNINGS, str(tmp_path / "net.c"), "-o", str(tmp_path / "net")], check=True)
        assert subprocess.run([str(tmp_path / "net")]).returncode == status


@needs_gcc
@pytest.mark.parametrize(
    "flag", ["-ffast-math", "-ffinite-math-only", "-funsafe-math-optimizations", "-freciprocal-math"]
)
def test_flags_that_change_results_are_refused(flag: str, tmp_path: Path) -> None:
    (tmp_path / "net.c").write_text(source(small(), "net"))
    done = subprocess.run(["gcc", flag, "-c", str(tmp_path / "net.c"), "-o", str(tmp_path / "net.o")],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode != 0 and "compile without -ffast-math" in done.stderr


@needs_gcc
def test_the_ram_that_is_told_is_the_files(tmp_path: Path) -> None:
    net = small()
    text = source(net, "net")
    for change, good in ((0, True), (4, False)):
        told = text.replace(f"RAM_BYTES {sizes(net).ram}", f"RAM_BYTES {sizes(net).ram + change}")
        (tmp_path / "net.c").write_text(told)
        done = subprocess.run(
            ["gcc", "-c", str(tmp_path / "net.c"), "-o", str(tmp_path / "net.o")], capture_output=True
        )
        assert (done.returncode == 0) == good


def test_weights_that_are_not_finite() -> None:
    net = small()
    weights = net.parameters()["3.weights"]
    weights[1, 2] = np.nan
    net.load_parameters({**net.parameters(), "3.weights": weights})
    with pytest.raises(UserError, match=r"3\.weights: cannot be exported"):
        unit_of(net)


def test_an_op_that_is_not_done_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(written, "OPS", {op: each for op, each in written.OPS.items() if op != "linear_forward"})
    assert export(tmp_path, small(), "--header", str(tmp_path / "net.h"), monkeypatch=monkeypatch) == 2
    assert {file.name for file in tmp_path.iterdir()} == {"net.safetensors"}
    with pytest.raises(UserError, match=r"layer '3': its op 'linear_forward' cannot be exported to C"):
        unit_of(small())


@pytest.mark.parametrize("options", [("--name", "9net"), ("--name", "class"), ("--header", "net.txt")])
def test_bad_options(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, small(), *options, monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "net.c").exists()


def test_numbers_are_read_exactly() -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 1 << 32, 2000, dtype=np.uint32).view(np.float32)
    values = np.append(values[np.isfinite(values)], np.array([0.0, -1.0, 1e30, 1.17549435e-38, 16777216.0], np.float32))
    for value in values.tolist():
        text = number(value).removesuffix("f")
        assert (float.fromhex(text) if "0x" in text else float(text)) == value


def test_texts_stay_what_they_are() -> None:
    assert string('a"\\?é') == '"a\\042\\134\\077\\303\\251"'
    assert "*/" not in comment("x */ y") and comment("é??/\\") == "/xe9? ?//"


def test_places_are_used_again() -> None:
    layers = [Conv2D(4, 4, 3, 1, 1) for _ in range(6)]
    exported = program.exported(Sequential(layers, input_shape=(4, 8, 8)))
    assert exported.arena_bytes == 2 * 4 * 8 * 8 * 4
