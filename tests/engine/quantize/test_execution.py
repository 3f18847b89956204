"""Quantised networks in the core: the bits of the NumPy twin, for any batch, number of threads and instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cnncore
import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.layers.topology import INPUT
from engine.models import make_model
from engine.quantize import reference
from tests.engine.quantize.networks import NETWORKS, network, samples
from tests.engine.quantize.test_quantize import MODELS
from tests.engine.small import calls


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    threads, isa, vnni = cnncore.get_num_threads(), cnncore.isa(), cnncore.uses_vnni()
    yield
    cnncore.set_num_threads(threads)
    cnncore.set_isa(isa)
    cnncore.set_vnni(vnni)


def twin(quantized: engine.QuantizedNetwork, x: np.ndarray) -> np.ndarray:
    """The last codes by NumPy."""
    body = quantized.body
    values = x if quantized.head is None else quantized.head.predict(x, algorithm="direct")
    return reference.run(body, body.encodings[INPUT].codes(values))[body.topology.output]


def everywhere() -> Iterator[tuple[str, bool]]:
    """Every instruction set of this machine, with and without VNNI where that makes a difference."""
    for isa in cnncore.available_isas():
        cnncore.set_isa(isa)
        cnncore.set_vnni(True)
        yield isa, True
        if cnncore.uses_vnni():
            cnncore.set_vnni(False)
            yield isa, False


@pytest.mark.parametrize("scales", ["power_of_two", "free"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_has_the_bits_of_the_definition(name: str, scales: str) -> None:
    net = network(name)
    x = samples(net, 5)
    quantized = engine.quantize(net, x, scales=scales)
    expected = twin(quantized, x)
    for place in everywhere():
        np.testing.assert_array_equal(quantized.codes(x), expected, err_msg=str(place))


@pytest.mark.parametrize("name", MODELS)
def test_named_networks_have_the_same_bits_everywhere(name: str) -> None:
    net = make_model(name, **MODELS[name])
    x = samples(net, 7)
    quantized = engine.quantize(net, x)
    expected = twin(quantized, x)
    whole = quantized.predict(x)
    assert np.array_equal(quantized.codes(x), expected)
    for place in everywhere():
        assert np.array_equal(quantized.codes(x), expected), place
    cnncore.set_isa(None)
    for threads in (1, 2, 3, 7):
        cnncore.set_num_threads(threads)
        assert quantized.predict(x).tobytes() == whole.tobytes(), threads
        for batch in (1, 2, 3, 5):
            assert quantized.predict(x, batch).tobytes() == whole.tobytes(), (threads, batch)


@pytest.mark.parametrize(
    "arguments", [{"first": "float"}, {"last": "float"}, {"first": "float", "last": "float"}], ids=str
)
@pytest.mark.parametrize("name", ["kernels", "moves"])
def test_layers_in_float32_have_the_bits_of_a_network_of_their_own(name: str, arguments: dict[str, Any]) -> None:
    net = network(name)
    x = samples(net, 4)
    quantized = engine.quantize(net, x, **arguments)
    assert np.array_equal(quantized.codes(x), twin(quantized, x))
    logits = quantized.logits(x)
    expected = logits if quantized.tail is None else quantized.tail.predict(logits, algorithm="direct")
    assert quantized.predict(x).tobytes() == expected.tobytes()


def test_the_plan_is_one_program_and_can_be_read() -> None:
    net = make_model("lenet", channels=1)
    quantized = engine.quantize(net, samples(net, 4))
    plan = quantized.plan(batch=8)
    kinds = [each.op for each in plan.instructions]
    assert kinds[:2] == ["check_finite", "quantize"] and kinds[-2:] == ["dequantize", "softmax_forward"]
    assert kinds.count("conv2d_int8") == 2 and kinds.count("linear_int8") == 3 and "conv2d_int8" in str(plan)
    assert plan.arena_bytes < net.plan(8).arena_bytes


def test_winograd_where_products_have_16_bits() -> None:
    """Of 3x3 convolutions of whole panels; files of C are the same whatever the machine has."""
    net = make_model("vgg3", input_size=16)
    quantized = engine.quantize(net, samples(net, 4))
    for place in everywhere():
        kinds = [each.op for each in quantized.plan(batch=2).instructions]
        pairs = place[0] in ("avx2", "avx512") and not cnncore.uses_vnni()
        assert (kinds.count("winograd_int8"), kinds.count("conv2d_int8")) == ((5, 1) if pairs else (0, 6)), place
        direct = quantized.execution.plan(1, True, "direct")
        assert "winograd_int8" not in [each.op for each in direct.instructions]


def test_a_call_like_the_last_does_little_in_python() -> None:
    net = make_model("lenet", channels=1)
    x = samples(net, 3)
    quantized = engine.quantize(net, x)
    first, logits = quantized.predict(x[:1]), quantized.logits(x[:1])
    assert calls(lambda: quantized.predict(x[:1])) < 12
    assert quantized.predict(x[:1]).tobytes() == first.tobytes()
    assert quantized.logits(x[:1]).tobytes() == logits.tobytes()
    assert quantized.predict(x).shape == (3, 10) and quantized.predict(x[:1], 7).tobytes() == first.tobytes()
    wrong = x[:1].copy()
    wrong[0, 0, 3, 4] = np.nan
    with pytest.raises(UserError, match="sample 0"):
        quantized.predict(wrong)
    with pytest.raises(UserError, match="shape"):
        quantized.predict(x[:1, :, :9])


def test_a_batch_that_no_memory_holds_is_refused() -> None:
    net = make_model("lenet", channels=1)
    quantized = engine.quantize(net, samples(net, 2))
    with pytest.raises(UserError, match="batch_size"):
        quantized.predict(samples(net, 2), 0)
