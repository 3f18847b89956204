"""The exported forms: the C file under every compiler, the page in a browser, the ONNX file in two engines."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.export.c.source import Options, c_file, header_file, unit_of
from engine.export.onnx.engines import ENGINES
from engine.export.onnx.model import OnnxOptions, to_onnx
from engine.export.page.describe import description
from engine.export.page.document import CORE, kinds, part
from engine.inference.ensemble import member_of
from engine.layers import Softmax
from engine.layers.topology import INPUT
from engine.quantize.network import QuantizedNetwork
from experiments.checks.c_export.builds import COMPILERS, Compiler
from experiments.checks.integer_hash.browser import BROWSERS, installed_browser
from experiments.checks.integer_hash.ours import Codes, Way

LEVELS = ("-O0", "-O3")
RUNTIMES = ("ONNX Runtime", "tract")
CHUNK = 500  # images at a time
Run = Callable[[NDArray[np.float32]], Codes | str]

DRIVER = """
#include <stdio.h>
#include "net.h"
static uint8_t image[NET_INPUTS], codes[NET_CODES];
int main(void)
{
    while (fread(image, 1, NET_INPUTS, stdin) == NET_INPUTS) {
        net_codes(image, codes);
        if (fwrite(codes, 1, NET_CODES, stdout) != NET_CODES) return 1;
    }
    return 0;
}
"""

SCRIPT = """([network, input, last]) => {
    const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    window.ours ??= opened(JSON.parse(network));
    const all = new Float32Array(bytesOf(input).buffer), size = ours.input.reduce((a, b) => a * b, 1);
    let text = "";
    for (let at = 0; at < all.length; at += size) {
      const outputs = layerOutputs(ours, { shape: ours.input, data: all.subarray(at, at + size) });
      text += String.fromCharCode(...outputs[last].codes);
    }
    return btoa(text);
}"""


def ways(net: QuantizedNetwork, folder: Path) -> Iterator[Way]:
    """UserError for a network that has more than a softmax in float32: its C function with codes and its logits would
    not be those of the integers alone."""
    behind = [] if net.tail is None else list(net.tail.layers.values())
    if net.head is not None or any(not isinstance(layer, Softmax) for layer in behind):
        raise UserError("the network has layers in float32, so that its exported forms give more than codes")
    for compiler in COMPILERS:
        for level in LEVELS:
            yield f"C, {compiler.machine}, {compiler.name}, {level}", _c(net, folder, compiler, level)
    yield "page in Chromium", _page(net)
    path = folder / "net.onnx"
    for name in RUNTIMES:
        yield f"ONNX (QDQ), {name}", _onnx(net, path, name)


def _c(net: QuantizedNetwork, folder: Path, compiler: Compiler, level: str) -> Run:
    def run(images: NDArray[np.float32]) -> Codes | str:
        if missing := compiler.missing():
            return f"there is no {missing}"
        unit, options = unit_of(net, "net"), Options("net", header="net.h")
        (folder / "net.c").write_text(c_file(net, unit, options))
        (folder / "net.h").write_text(header_file(net, unit, options))
        (folder / "main.c").write_text(DRIVER)
        objects = []
        for name in ("net", "main"):
            compiler.compile(folder / f"{name}.c", folder / f"{name}.o", level)
            objects.append(folder / f"{name}.o")
        compiler.link(objects, folder / "net")
        given = net.body.encodings[INPUT].codes(images).tobytes()
        said = subprocess.run([*compiler.emulator, str(folder / "net")], input=given, capture_output=True, check=True)
        return np.frombuffer(said.stdout, np.uint8).reshape(len(images), -1)

    return run


def _page(net: QuantizedNetwork) -> Run:
    def run(images: NDArray[np.float32]) -> Codes | str:
        path = installed_browser()
        try:
            playwright = import_module("playwright.sync_api")
        except ImportError:
            return "playwright is not installed"
        if path is None:
            return f"none of {', '.join(BROWSERS)} is installed"
        told, weights = description(member_of("net", net), kinds())
        told["weights"] = base64.b64encode(weights).decode()
        network, parts = json.dumps(told), []
        with playwright.sync_playwright() as driver:
            page = driver.chromium.launch(executable_path=path, args=["--no-sandbox"]).new_page()
            page.add_script_tag(content="\n".join(map(part, CORE)))
            for start in range(0, len(images), CHUNK):
                given = base64.b64encode(images[start : start + CHUNK].astype("<f4").tobytes()).decode()
                answer = page.evaluate(SCRIPT, [network, given, net.body.topology.output])
                parts.append(np.frombuffer(base64.b64decode(answer), np.uint8))
        return np.concatenate(parts).reshape(len(images), -1)

    return run


def _onnx(net: QuantizedNetwork, path: Path, name: str) -> Run:
    def run(images: NDArray[np.float32]) -> Codes | str:
        module, engine = ENGINES[name]
        try:
            runtime = import_module(module)
            to_onnx(net, path, OnnxOptions(answer="logits"))
        except ImportError as error:
            return f"{error.name} is not installed"
        parts = [engine(runtime, path, images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
        return net.body.output.codes(np.concatenate(parts))

    return run
