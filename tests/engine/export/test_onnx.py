"""Networks as ONNX models: what ONNX Runtime says of them, what stands in them, and what comes back from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.export.__main__ import main
from engine.export.onnx.command import expected_output
from engine.export.onnx.model import OnnxOptions, random_input, to_model
from engine.models import make_model
from tests.engine.export.networks import NAMES, SHAPE, network
from tests.engine.quantize.networks import NETWORKS as QUANTIZABLE
from tests.engine.quantize.networks import network as quantizable

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")


def said(model: Path | bytes, values: Any) -> Any:
    """By ONNX Runtime."""
    source = model if isinstance(model, bytes) else model.read_bytes()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: values})[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_says_the_same_elsewhere_and_comes_back_with_the_same_bits(name: str, tmp_path: Path) -> None:
    net, path = network(name), tmp_path / "net.onnx"
    engine.to_onnx(net, path)
    values = random_input(net, 3, preprocess=False) * 2
    expected = net.predict(values)
    np.testing.assert_allclose(said(path, values), expected, rtol=1e-5, atol=1e-5)
    again = engine.from_onnx(path)
    assert again.predict(values.reshape(3, *again.input_shape)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("options", [None, OnnxOptions(opset=18, answer="softmax")], ids=["usual", "chosen"])
def test_a_network_writes_itself(options: OnnxOptions | None, tmp_path: Path) -> None:
    net = network("same")
    net.to_onnx(tmp_path / "method.onnx", options)
    engine.to_onnx(net, str(tmp_path / "function.onnx"), options)
    assert (tmp_path / "method.onnx").read_bytes() == (tmp_path / "function.onnx").read_bytes()
    with pytest.raises(UserError, match="does not say what is done to images"):
        net.to_onnx(tmp_path / "refused.onnx", OnnxOptions(preprocess=True))
    assert not (tmp_path / "refused.onnx").exists()


@pytest.mark.parametrize("name", ["resnet20", "midas_cnn", "lenet", "unet"])
@pytest.mark.parametrize("opset", [14, 18, 22])
def test_named_networks_at_every_version(name: str, opset: int) -> None:
    net = make_model(name)
    values = random_input(net, 2, preprocess=False)
    model = to_model(net, OnnxOptions(opset, ir=10 if opset > 20 else 8))
    scale = max(1.0, float(np.abs(net.predict(values)).max()))
    assert np.abs(said(model.SerializeToString(), values) - net.predict(values)).max() <= 1e-5 * scale


def test_every_attribute_is_written_and_nothing_is_padded_by_itself() -> None:
    """Engines differ in the defaults that they take."""
    seen = set()
    for name in NAMES:
        for opset in (14, 17, 22):
            for node in to_model(network(name), OnnxOptions(opset)).graph.node:
                written = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
                schema = onnx.defs.get_schema(node.op_type, opset).attributes
                defaults = {key for key, each in schema.items() if each.default_value.type}
                assert defaults <= set(written), (node.op_type, opset, defaults - set(written))
                assert written.get("auto_pad", b"NOTSET") == b"NOTSET" and not written.get("ceil_mode")
                assert not node.op_type.endswith("Pool") or node.op_type.startswith("Global") or "strides" in written
                seen.add(node.op_type)
    assert {"Conv", "AveragePool", "BatchNormalization", "Resize", "Pad"} <= seen


def test_a_mean_that_hangs_over_the_edge_is_padded_in_the_open() -> None:
    kinds = [node.op_type for node in to_model(network("mean (4, 3, 2, True) False"), OnnxOptions()).graph.node]
    assert kinds == ["Pad", "AveragePool", "Mul"]


def test_the_batch_is_open_and_the_versions_are_those_asked_for() -> None:
    model = to_model(make_model("lenet"), OnnxOptions())
    assert [each.version for each in model.opset_import] == [17] and model.ir_version == 8
    for entry in (*model.graph.input, *model.graph.output):
        assert entry.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [each.name for each in (*model.graph.input, *model.graph.output)] == ["input", "output"]


def classifier(**settings: Any) -> engine.Network:
    net = engine.Sequential(
        [engine.Conv2D(3, 4, 3), engine.ReLU(), engine.Flatten(), engine.Linear(64, 3)], input_shape=(3, 6, 6)
    )
    net.preprocess = Preprocess(colour=True, size=(6, 6), **settings).to_dict()
    net.class_names = ["cat", "dog", "Käse"]
    return net


def test_the_metadata_says_what_is_done_to_images_and_who_the_classes_are(tmp_path: Path) -> None:
    net = classifier(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    engine.to_onnx(net, tmp_path / "net.onnx")
    stated = {each.key: json.loads(each.value) for each in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert stated == {"preprocess": net.preprocess, "class_names": ["cat", "dog", "Käse"]}
    again = engine.from_onnx(tmp_path / "net.onnx")
    assert again.preprocess == net.preprocess and list(again.class_names) == ["cat", "dog", "Käse"]


@pytest.mark.parametrize(
    "settings",
    [
        {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)},
        {"scale": "-1..1"},
        {"scale": "none"},
        {"per_image": True},
        {"standardise": "image"},
    ],
    ids=["mean and std", "-1..1", "none", "per image", "standardised"],
)
@pytest.mark.parametrize("opset", [17, 18])
def test_a_model_can_scale_images_itself(settings: dict[str, Any], opset: int, tmp_path: Path) -> None:
    net, path = classifier(**settings), tmp_path / "net.onnx"
    engine.to_onnx(net, path, OnnxOptions(opset, preprocess=True))
    images = random_input(net, 4, preprocess=True)
    images[0] = 7  # a single value has no spread
    assert net.preprocess is not None
    normalised = Preprocess.from_dict(net.preprocess).normalise(images)
    expected = net.predict(normalised)
    np.testing.assert_allclose(
        said(path, images), expected, rtol=1e-5, atol=1e-4 if "none" in settings.values() else 1e-5
    )
    assert engine.from_onnx(path).predict(normalised).tobytes() == expected.tobytes()


def test_softmax_or_logits_by_choice(tmp_path: Path) -> None:
    net = classifier()
    values = random_input(net, 2, preprocess=False)
    logits = net.predict(values)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares = powers / powers.sum(1, keepdims=True)
    with_softmax = engine.Sequential([*net.layers.values(), engine.Softmax()], input_shape=net.input_shape)
    with_softmax.load_parameters(net.parameters())
    for source in (net, with_softmax):
        for answer, expected in (("logits", logits), ("softmax", shares)):
            model = to_model(source, OnnxOptions(answer=answer))
            np.testing.assert_allclose(said(model.SerializeToString(), values), expected, rtol=1e-5, atol=1e-6)


@dataclass(frozen=True)
class Doubled(engine.layers.Layer):
    """A layer of one's own."""

    def output_shape(self, *shapes: Any) -> Any:
        return shapes[0]

    def lower(self, builder: Any, inputs: Any) -> Any:
        return inputs[0]


def test_what_onnx_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    net = engine.Sequential({"a": engine.ReLU(), "twice": Doubled()}, input_shape=SHAPE)
    with pytest.raises(UserError, match=r"layer 'twice': .*Doubled cannot be written as ONNX"):
        engine.to_onnx(net, tmp_path / "net.onnx")
    with pytest.raises(UserError, match="does not say what is done to images"):
        engine.to_onnx(network("same"), tmp_path / "net.onnx", OnnxOptions(preprocess=True))
    assert list(tmp_path.iterdir()) == []
    for options in ({"opset": 11}, {"ir": 15}, {"answer": "both"}, {"opset": 17.0}):
        with pytest.raises(UserError, match="of an ONNX model must be"):
            OnnxOptions(**options)  # type: ignore[arg-type]


def export(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | None:
    monkeypatch.setattr("sys.argv", ["engine.export", *words])
    return main()


def test_the_command_writes_checks_and_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = classifier()
    net.save(tmp_path / "net.safetensors")
    out = tmp_path / "net.onnx"
    words = str(tmp_path / "net.safetensors"), str(out), "--opset", "18", "--softmax", "--with-preprocess"
    assert export(monkeypatch, *words) == 0
    assert onnx.load(out).opset_import[0].version == 18
    assert export(monkeypatch, str(tmp_path / "net.safetensors"), str(out), "--check") == 0
    assert "ONNX Runtime: largest error" in capsys.readouterr().out
    assert not export(monkeypatch, "--from", str(out), str(tmp_path / "back.safetensors"))
    values = random_input(net, 2, preprocess=False)
    assert engine.load(tmp_path / "back.safetensors").predict(values).tobytes() == net.predict(values).tobytes()


def test_a_check_that_finds_a_difference_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier().save(tmp_path / "net.safetensors")
    monkeypatch.setattr(
        "engine.export.onnx.command.installed",
        lambda: [("a", None, lambda engine, path, values: np.full((3, 3), 50.0, np.float32))],
    )
    assert export(monkeypatch, str(tmp_path / "net.safetensors"), str(tmp_path / "net.onnx"), "--check") == 1
    assert "a: largest error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lenet", "net.pt"], "expected a name that ends in"),
        (["net.onnx"], "expected either NET, or --from"),
        (["lenet", "net.onnx", "--from", "a.onnx"], "expected either NET, or --from"),
        (["--from", "a.pb", "net.onnx"], "a.pb: cannot be read"),
        (["lenet", "net.onnx", "--with-preprocess"], "does not say what is done to images"),
    ],
    ids=["suffix", "no network", "two networks", "no reader", "no preprocess"],
)
def test_a_wrong_command_is_told_in_words(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        export(monkeypatch, *words)
    assert list(tmp_path.iterdir()) == []


# ---- quantised networks ----

QUANTIZED: dict[str, Any] = {
    **dict.fromkeys(QUANTIZABLE, {}),
    "lenet": {},
    "midas_cnn": {},
    "resnet20": {"input_size": 16},
    "mobilenet_v2": {"input_size": 32, "width": 0.25, "classes": 10},
    "unet": {"width": 4},
    "airbench94": {"widths": (8, 16, 16)},
}


def quantized_network(name: str, **arguments: str) -> engine.QuantizedNetwork:
    net = quantizable(name) if name in QUANTIZABLE else make_model(name, **QUANTIZED[name])
    return engine.quantize(net, random_input(net, 16, preprocess=False, seed=1), **arguments)


@pytest.mark.parametrize("plain", [False, True], ids=["fused", "plain"])
@pytest.mark.parametrize("name", QUANTIZED)
def test_integers_are_the_same_bits_elsewhere(name: str, plain: bool) -> None:
    """With kernels of its own for integers, and in float without any optimisation."""
    net, options = quantized_network(name), OnnxOptions(answer="logits")
    session = onnxruntime.SessionOptions()
    if plain:
        session.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = to_model(net, options).SerializeToString()
    runtime = onnxruntime.InferenceSession(model, session, providers=["CPUExecutionProvider"])
    values = random_input(net, 8, preprocess=False)
    found = runtime.run(None, {"input": values})[0]
    if net.tail is None or list(map(type, net.tail.layers.values())) == [engine.layers.Softmax]:
        assert found.tobytes() == net.logits(values).tobytes()
    else:
        np.testing.assert_allclose(found, expected_output(net, options, values), rtol=1e-6)


@pytest.mark.parametrize("arguments", [{"scales": "free"}, {"first": "float"}, {"last": "float"}], ids=str)
def test_other_integers_are_near_to_the_same_elsewhere(arguments: dict[str, str]) -> None:
    net = quantized_network("joined", **arguments)
    values = random_input(net, 8, preprocess=False)
    np.testing.assert_allclose(
        said(to_model(net, OnnxOptions()).SerializeToString(), values), net.predict(values), atol=0.05
    )


def test_integers_have_the_form_that_runtimes_look_for(tmp_path: Path) -> None:
    net, path = quantized_network("mobilenet_v2"), tmp_path / "net.onnx"
    engine.to_onnx(net, path)
    session = onnxruntime.SessionOptions()
    session.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    session.log_severity_level = 3
    onnxruntime.InferenceSession(path, session, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    ours = [type(each).__name__ for each in net.layers.values()]
    for theirs, own in (("QLinearConv", "Conv2D"), ("QLinearAdd", "Add"), ("QGemm", "Linear")):
        assert kinds.count(theirs) == ours.count(own) > 0
    assert "Conv" not in kinds
    model = onnx.load(path)
    assert [each.version for each in model.opset_import] == [19]
    with pytest.raises(UserError, match="needs opset 19 or later, not 17"):
        to_model(net, OnnxOptions(17))


def test_padding_that_counts_is_padded_in_codes() -> None:
    """A mean with padding of its own behind a DequantizeLinear is wrong in OpenVINO, which pads with code 0."""
    net = quantized_network("padded means")
    assert all(net.body.encodings[name].zero > 0 for name in ("1", "3"))
    nodes = to_model(net, OnnxOptions()).graph.node
    made_by = {name: node for node in nodes for name in node.output}
    pools = [node for node in nodes if node.op_type == "AveragePool"]
    assert len(pools) == 2
    for pool in pools:
        pads = {each.name: list(each.ints) for each in pool.attribute}["pads"]
        assert pads == [0, 0, 0, 0]
        padded = made_by[made_by[pool.input[0]].input[0]]
        assert padded.op_type == "Pad" and padded.input[2] == made_by[pool.input[0]].input[2]


def test_the_command_takes_a_quantised_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, path = tmp_path / "net.safetensors", tmp_path / "net.onnx"
    quantized_network("lenet").save(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["export", str(file), str(path), "--check"])
        assert main() == 0
    assert "opset 19" in capsys.readouterr().out
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="cannot be written as .safetensors"):
        patch.setattr("sys.argv", ["export", str(file), str(tmp_path / "out.safetensors")])
        main()
