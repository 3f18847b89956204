"""Quantising networks: how near they stay to float32, what is refused, and what the arguments do."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import engine
from engine import layers
from engine.data.dataset import Dataset
from engine.data.preprocess import Preprocess
from engine.errors import EngineWarning, UserError
from engine.layers.topology import INPUT
from engine.models import make_model
from engine.quantize.arithmetic import Encoding
from engine.quantize.body import PASSING, WEIGHTED
from engine.quantize.calibration import Histogram, counted, encodings, groups_of
from tests.engine.quantize.networks import NETWORKS, network, samples

MODELS: dict[str, dict[str, Any]] = {
    "lenet": {},
    "mnist_cnn": {},
    "model2": {},
    "vgg3": {},
    "midas_cnn": {},
    "scene_15": {"input_size": 32, "filters": 16, "dense_units": 64},
    "resnet20": {"input_size": 16},
    "mobilenet_v2": {"input_size": 32, "width": 0.25, "classes": 10},
    "airbench94": {"widths": (8, 16, 16)},
    "unet": {"width": 4},
}


def share_of_power(net: engine.Network, quantized: engine.QuantizedNetwork, x: np.ndarray) -> float:
    """What of the outputs before softmax the integers get wrong, by squares."""
    tail = quantized.tail
    logits = quantized.logits(x) if tail is None else None
    said, expected = (quantized.predict(x), net.predict(x)) if logits is None else (logits, net.predict(x))
    return float(np.square(said - expected).sum() / np.square(expected - expected.mean()).sum())


@pytest.mark.parametrize("name", MODELS)
def test_named_networks_stay_near_to_float32(name: str) -> None:
    net = make_model(name, **MODELS[name])
    x = samples(net, 16)
    quantized = engine.quantize(net, x)
    assert share_of_power(net, quantized, x) < 0.1
    assert not quantized.summary().startswith("Network") and repr(quantized).startswith("QuantizedNetwork")
    assert quantized.weight_bytes < 0.45 * 4 * net.num_parameters or net.num_parameters < 20_000


def test_a_network_quantises_itself() -> None:
    net = make_model("lenet")
    x = samples(net, 16)
    expected = engine.quantize(net, x, scales="free").predict(x)
    assert np.array_equal(net.quantize(x, scales="free").predict(x), expected)


@pytest.mark.parametrize("arguments", [{}, {"scales": "free"}, {"first": "float"}, {"last": "float"}], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_stays_near_to_float32(name: str, arguments: dict[str, str]) -> None:
    net = network(name)
    x = samples(net, 64)
    assert share_of_power(net, engine.quantize(net, x, **arguments), x) < 0.05


def test_layers_at_the_ends_stay_in_float32_when_asked() -> None:
    net = network("kernels")
    x = samples(net)
    both = engine.quantize(net, x, first="float", last="float")
    assert both.head is not None and both.tail is not None
    assert list(both.head.layers) == ["0", "1"] and list(both.tail.layers) == ["6"]
    assert set(both.topology.node("0").layer.arguments().items()) == set(net.layers["0"].arguments().items())
    alone = engine.quantize(net, x, last="float")
    assert alone.head is None and list(alone.body.topology.nodes)[-1].name == "5"
    small = engine.Sequential([layers.Conv2D(4, 3, 3)], (4, 5, 5))
    with pytest.raises(UserError, match="nothing is left to quantise"):
        engine.quantize(small, samples(small), last="float")


def test_activations_and_norms_become_part_of_the_layer_before_them() -> None:
    body = engine.quantize(network("kernels"), samples(network("kernels"))).body
    assert [type(node.layer).__name__ for node in body.topology.nodes] == ["Conv2D"] * 4
    zero = body.encodings["0"].zero
    assert body.clamp("0").low == zero == 0 and body.clamp("0").high == body.encodings["0"].code_of(6.0)
    pooled = engine.quantize(network("norm behind a pool"), samples(network("norm behind a pool"))).body
    assert [node.name for node in pooled.topology.nodes] == [
        "0",
        "1",
        "3",
        "4",
        "5",
    ]  # 2 is in 0, 4 became a convolution


def test_values_that_pass_codes_on_share_an_encoding() -> None:
    for name in ("joined", "pools", "moves"):
        body = engine.quantize(network(name), samples(network(name))).body
        for node in body.topology.nodes:
            if isinstance(node.layer, PASSING):
                assert {body.encodings[each] for each in node.inputs} == {body.encodings[node.name]}


@pytest.mark.parametrize("scales", ["power_of_two", "free"])
@pytest.mark.parametrize("bits", [8, 7])
def test_scales_zero_points_and_weights_are_what_they_are_said_to_be(scales: str, bits: int) -> None:
    net = network("joined")
    body = engine.quantize(net, samples(net), scales=scales, weight_bits=bits).body
    assert all(each.zero % 2 == 0 for each in body.encodings.values())
    powers = [each.is_power_of_two for each in body.encodings.values()]
    assert all(powers) if scales == "power_of_two" else not all(powers)
    for node in body.topology.nodes:
        if isinstance(node.layer, WEIGHTED):
            weights, multipliers = body.array(node.name, "weights"), body.array(node.name, "multipliers")
            assert np.abs(weights.astype(int)).max() <= (127 if bits == 8 else 63)
            assert (np.log2(multipliers) % 1 == 0).all() or scales == "free"


def test_the_batch_changes_no_bit_and_nothing_is_lost_on_the_way(tmp_path: Any) -> None:
    net = make_model("lenet", channels=1)
    net.preprocess, net.class_names = Preprocess().to_dict(), [f"digit {n}" for n in range(10)]
    x = samples(net, 9)
    quantized = engine.quantize(net, x)
    whole = quantized.predict(x)
    assert whole.tobytes() == np.concatenate([quantized.predict(x[n : n + 1]) for n in range(9)]).tobytes()
    assert whole.tobytes() == quantized.predict(x, batch_size=4).tobytes()
    assert quantized.predict(x[:0]).shape == (0, 10) and quantized.codes(x).dtype == np.uint8
    again = pickle.loads(pickle.dumps(quantized))
    assert again.predict(x).tobytes() == whole.tobytes()
    assert again.preprocess == net.preprocess and list(again.class_names) == list(net.class_names)
    with pytest.raises(UserError, match="twice"):
        again.class_names = ["a", "a"]


def test_evaluate_gives_the_loss_of_what_predict_gives() -> None:
    for name in ("joined", "pools"):
        net = network(name)
        x = samples(net, 8)
        classes = net.output_shape[0]
        quantized, labels = engine.quantize(net, x), np.arange(8) % classes
        loss, outputs = quantized.evaluate(x, labels, engine.CrossEntropy(), batch_size=3)
        assert outputs.tobytes() == quantized.predict(x).tobytes()
        powers = outputs if quantized.tail else np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        assert loss == pytest.approx(-np.log(powers[np.arange(8), labels]).mean(), rel=1e-5)


def test_all_layers_that_cannot_be_quantised_are_named_before_anything_is_done() -> None:
    graph = engine.Graph((4, 8, 8))
    a = graph.add(layers.Conv2D(4, 4, 3, padding=1, padding_mode="reflect"), graph.input, name="mirrored")
    b = graph.add(layers.GroupNorm(2, 4), a, name="grouped")
    c = graph.add(layers.Upsample2D(2, "bilinear"), b, name="larger")
    d = graph.add(layers.ConvTranspose2D(4, 4, 3), c, name="transposed")
    e = graph.add(layers.PReLU(), d, name="slope")
    graph.output = graph.add(layers.Multiply(), e, e, name="product")
    with pytest.raises(UserError) as caught:
        engine.quantize(graph, np.full((1, 4, 8, 8), np.nan, np.float32))
    for name in ("mirrored", "grouped", "larger", "transposed", "slope", "product"):
        assert f"'{name}'" in str(caught.value)
    vectors = engine.Sequential([layers.Linear(4, 3), layers.ReLU(), layers.BatchNorm(3), layers.Linear(3, 2)], (4,))
    with pytest.raises(UserError, match="'2' .*directly follow a linear layer"):
        engine.quantize(vectors, np.ones((2, 4), np.float32))


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.zeros((0, 1, 28, 28), np.float32), "no calibration sample"),
        (np.zeros((4, 28, 28), np.float32), r"shape \(4, 28, 28\)"),
        (np.zeros((4, 1, 28, 28)), "float32 is needed"),
        (np.full((2, 1, 28, 28), np.nan, np.float32), "sample 0 holds nan"),
        (np.full((2, 1, 28, 28), np.inf, np.float32), "sample 0 holds inf"),
        ([1.0], "NumPy array"),
        (Dataset("raw", np.zeros((2, 1, 28, 28), np.uint8), np.zeros(2, int)), "raw: holds uint8 images"),
    ],
)
def test_calibration_that_is_none(calibration: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        engine.quantize(make_model("mnist_cnn"), calibration)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scales": "two"},
        {"calibrate": "entropy"},
        {"calibrate": 50},
        {"calibrate": 100.5},
        {"calibrate": True},
        {"first": "int4"},
        {"last": None},
        {"weight_bits": 6},
        {"weight_bits": 8.0},
    ],
    ids=str,
)
def test_arguments_that_are_none(arguments: dict[str, Any]) -> None:
    net = make_model("lenet")
    with pytest.raises(UserError, match=next(iter(arguments))):
        engine.quantize(net, samples(net, 2), **arguments)


def test_a_network_that_holds_no_numbers_is_refused() -> None:
    net = make_model("lenet")
    net.load_parameters({"0.bias": np.full(6, np.inf, np.float32)}, strict=False)
    with pytest.raises(UserError, match=r"0\.bias holds NaN or infinite"):
        engine.quantize(net, samples(net, 2))
    with pytest.raises(UserError, match="expected a trained network"):
        engine.quantize("lenet", samples(net, 2))  # type: ignore[arg-type]


def test_a_data_set_is_calibrated_with_as_the_network_sees_it() -> None:
    net = make_model("lenet", channels=1)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 28, 28), np.uint8)
    preprocess = Preprocess(mean=(0.5,), std=(0.25,))
    data = Dataset("pixels", pixels, np.zeros(6, int), preprocess=preprocess)
    a, b = engine.quantize(net, data), engine.quantize(net, preprocess.normalise(pixels))
    assert a.body.encodings == b.body.encodings and a.notes.samples == 6


def test_dead_and_tiny_channels_still_have_their_bias() -> None:
    net = engine.Sequential([layers.Conv2D(4, 6, 3), layers.Conv2D(6, 3, 1)], (4, 9, 8), seed=1)
    found = net.parameters()
    found["0.weights"][0] = 0.0
    found["0.weights"][1] *= 1e-12
    found["0.bias"][:] = [2.0, -1.5, 1e-9, 0.0, 0.3, 0.1]
    net.load_parameters(found)
    x = samples(net)
    assert share_of_power(net, engine.quantize(net, x), x) < 0.01
    assert share_of_power(net, engine.quantize(net, x, scales="free"), x) < 0.01


def test_an_input_of_zeros_alone_can_be_calibrated_with() -> None:
    net = make_model("lenet", channels=1)
    quantized = engine.quantize(net, np.zeros((2, 1, 28, 28), np.float32))
    assert np.isfinite(quantized.predict(samples(net, 2))).all()


def test_samples_that_are_not_finite_are_named() -> None:
    net = make_model("lenet", channels=1)
    x = samples(net, 3)
    quantized = engine.quantize(net, x)
    x[2, 0, 1, 4] = np.nan
    with pytest.raises(UserError, match=r"sample 2 holds nan at \(0, 1, 4\)"):
        quantized.predict(x)


# ---- ranges ----


def histogram(*values: float) -> Histogram:
    array = np.array(values)
    found = Histogram(float(array.min()), float(array.max()), np.zeros(4096, np.int64))
    found.add(array)
    return found


def test_the_ways_of_choosing_a_range() -> None:
    many = histogram(*np.linspace(0.01, 1.0, 5000), 70.0)
    chosen = {each: encodings([["a"]], {"a": [many]}, "power_of_two", each)["a"] for each in ("minmax", "error", 99.9)}
    assert chosen["minmax"] == Encoding(0.5, 0)  # 70 / 255, rounded up to a power of two
    assert chosen[99.9].reach[1] < 2.0 and chosen["error"].scale < 0.5
    free = encodings([["a"]], {"a": [many]}, "free", "minmax")["a"]
    assert free.reach[1] == pytest.approx(70.0)


@pytest.mark.parametrize("scales", ["power_of_two", "free"])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.1, 3.0), (-5.0, 0.0), (0.0, 2.5), (-7.3, 0.2), (1.0, 2.0)])
def test_a_span_has_codes_and_so_has_zero(low: float, high: float, scales: str) -> None:
    found = encodings([["a"]], {"a": [histogram(low, high)]}, scales, "minmax")["a"]
    least, most = found.reach
    assert least <= low + 1e-6 and most >= high - 1e-6 and found.zero % 2 == 0 and found.code_of(0.0) == found.zero
    assert (most - least) / 255 <= found.scale * 1.01 and found.scale <= 2.1 * (max(high, 0) - min(low, 0)) / 253


def test_what_only_a_maximum_reads_does_not_count() -> None:
    topology = engine.quantize(network("pools"), samples(network("pools"))).body.topology
    group = next(each for each in groups_of(topology) if "0" in each)
    assert group == ["0", "1"] and counted(topology, group) == ["1"]
    assert [INPUT] in groups_of(topology)


def test_samples_that_tell_little_of_others_are_told() -> None:
    net = make_model("lenet", channels=1)
    several = samples(net, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.quantize(net, several)
    for same in (np.zeros_like(several), np.full_like(several, 0.5)):
        with pytest.warns(EngineWarning, match="every number of the calibration samples is 0.*a few hundred"):
            engine.quantize(net, same)
    for few in (several[:9], np.concatenate([several[:9], several[:9]])):
        with pytest.warns(EngineWarning, match="9 of (9|18) calibration samples differ from each other"):
            engine.quantize(net, few)
