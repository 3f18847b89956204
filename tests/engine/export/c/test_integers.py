"""Quantised networks as C: integers alone between the ends, with the engine's bits under every compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.data.preprocess import Preprocess
from engine.export.__main__ import main
from engine.export.c.source import Options, c_file, header_file, unit_of
from engine.export.c.testbench import pseudo_random
from engine.models import make_model
from tests.engine.export.c.building import WARNINGS, needs_gcc, source
from tests.engine.quantize.networks import NETWORKS, network, samples

pytestmark = needs_gcc

MODELS = {"lenet": {"channels": 1}, "unet": {"width": 4, "input_size": 8}}

# Every op, and one table for all activations.
CHOSEN = [name for name in NETWORKS if "(" not in name or name in ("Hardswish()", "Tanh()")]


def quantized(name: str, **arguments: str) -> engine.QuantizedNetwork:
    net = make_model(name, **MODELS[name]) if name in MODELS else network(name)
    return engine.quantize(net, samples(net, 8), **arguments)


def together(scales: str) -> str:
    """One program with all networks, which says whose bits differ."""
    parts, calls = [], []
    for number, name in enumerate([*CHOSEN, *MODELS]):
        prefix = f"net{number}"
        text = source(quantized(name, scales=scales), prefix)
        parts.append(text.replace("int main(void)", f"static int {prefix}_main(void)"))
        calls.append(f'    if ({prefix}_main() != 0) puts("{name}");\n')
    return "".join(parts) + f"\n#include <stdio.h>\nint main(void)\n{{\n{''.join(calls)}    return 0;\n}}\n"


def differing(compiler: list[str], file: Path, runner: tuple[str, ...] = ()) -> list[str]:
    program = file.with_suffix("")
    subprocess.run([*compiler, *WARNINGS, str(file), "-o", str(program)], check=True)
    return subprocess.check_output([*runner, str(program)], text=True).splitlines()


@pytest.mark.parametrize("scales", ["power_of_two", "free"])
def test_every_layer_has_the_bits_of_the_engine(scales: str, tmp_path: Path) -> None:
    file = tmp_path / "together.c"
    file.write_text(together(scales))
    if scales == "free":  # other factors alone: once will do
        assert differing(["gcc", "-O1"], file) == []
        return
    for compiler in ("gcc", "clang"):
        if shutil.which(compiler) is not None:
            for level in ("-O0", "-O3"):
                assert differing([compiler, level], file) == [], (compiler, level)
    if shutil.which("arm-linux-gnueabihf-gcc") and shutil.which("qemu-arm"):
        assert differing(["arm-linux-gnueabihf-gcc", "-O2", "-static"], file, ("qemu-arm",)) == []


def test_layers_in_float32_at_the_ends(tmp_path: Path) -> None:
    for arguments in ({"first": "float"}, {"last": "float"}, {"first": "float", "last": "float"}):
        file = tmp_path / "net.c"
        file.write_text(source(quantized("kernels", **arguments), "net"))
        program = tmp_path / "net"
        subprocess.run(["gcc", *WARNINGS, "-O1", str(file), "-o", str(program)], check=True)
        assert subprocess.run([str(program)], check=False).returncode == 0, arguments
        assert ("net_codes" in file.read_text()) == ("first" not in arguments)


def test_there_is_no_float_between_the_ends_and_memory_is_that_of_bytes() -> None:
    net = quantized("lenet")
    unit = unit_of(net)
    text = c_file(net, unit, Options("net"))
    inner = text[text.index("static void net_integers(void)") : text.rindex("int net_predict(const float")]
    called = re.findall(r"(net_layer_\d+)\(", inner)
    bodies = {name: text[text.index(f"static void {name}(") :].split("\n}\n")[0] for name in called}
    assert len(bodies) == 7 and not any(re.search(r"float|double|\d\.\d", body) for body in bodies.values())
    plain = unit_of(make_model("lenet", channels=1))
    assert unit.table_bytes < 0.3 * plain.table_bytes
    assert unit.exported.ram_bytes < plain.exported.ram_bytes  # which pools two rows at a time, and needs no whole map
    assert f"RAM: {unit.exported.ram_bytes} bytes" in text


DRIVER = """
#include <stdio.h>
#include "net.h"
static uint8_t pixels[NET_INPUTS], image[NET_INPUTS], codes[NET_CODES];
int main(void)
{
    for (int i = 0; i < NET_INPUTS; i++) pixels[i] = (uint8_t)(i * 37 % 256);
    net_prepare_codes(pixels, image);
    net_codes(image, codes);
    for (int i = 0; i < NET_CODES; i++) printf("%d ", codes[i]);
    return 0;
}
"""


def test_bytes_of_pixels_become_codes_without_a_float(tmp_path: Path) -> None:
    net = make_model("lenet", channels=1)
    net.preprocess, net.class_names = Preprocess(mean=(0.1,), std=(0.3,)).to_dict(), [f"digit {n}" for n in range(10)]
    found = engine.quantize(net, samples(net, 8))
    unit = unit_of(found)
    options = Options("net", header="net.h")
    (tmp_path / "net.c").write_text(c_file(found, unit, options))
    (tmp_path / "net.h").write_text(header_file(found, unit, options))
    (tmp_path / "main.c").write_text(DRIVER)
    command = ["gcc", *WARNINGS, str(tmp_path / "net.c"), str(tmp_path / "main.c"), "-o", str(tmp_path / "a")]
    subprocess.run(command, check=True)
    said = [int(each) for each in subprocess.check_output([str(tmp_path / "a")], text=True).split()]
    pixels = (np.arange(784) * 37 % 256).astype(np.uint8).reshape(1, 1, 28, 28)
    values = Preprocess.from_dict(net.preprocess).normalise(pixels)
    assert said == found.codes(values).reshape(-1).tolist()


def test_the_command_writes_a_quantised_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = tmp_path / "net.safetensors", tmp_path / "small.c"
    quantized("lenet").save(file)
    words = [
        "export",
        str(file),
        str(path),
        "--header",
        str(tmp_path / "small.h"),
        "--testbench",
        "--weights",
        "separate",
    ]
    monkeypatch.setattr("sys.argv", words)
    main()
    assert "of flash beside the code" in capsys.readouterr().out
    files = [str(path), str(tmp_path / "small_weights.c")]
    subprocess.run(["gcc", *WARNINGS, *files, "-o", str(tmp_path / "a")], check=True)
    assert subprocess.run([str(tmp_path / "a")], check=False).returncode == 0


def test_rounding_at_every_half(tmp_path: Path) -> None:
    """The codes of numbers that lie in the middle, of both signs, as the core has them."""
    net = engine.Sequential([engine.Linear(64, 64, bias=False)], (64,))
    net.load_parameters({"0.weights": np.eye(64, dtype=np.float32)})
    values = ((np.arange(64, dtype=np.float32) - 32) / 4).reshape(1, 64)
    found = engine.quantize(net, np.concatenate([values, pseudo_random(64).reshape(1, 64)]))
    assert found.body.encodings["input"].is_power_of_two
    file = tmp_path / "net.c"
    file.write_text(source(found, "net"))
    subprocess.run(["gcc", *WARNINGS, str(file), "-o", str(tmp_path / "net")], check=True)
    assert subprocess.run([str(tmp_path / "net")], check=False).returncode == 0
