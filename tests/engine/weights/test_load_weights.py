"""Weights that PyTorch and Keras wrote: the network answers as theirs did, and the report says what went where.

The files come from files/make_torch.py and files/make_keras.py, with the answers of their own models beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import engine
from engine.errors import UserError
from engine.layers import BatchNorm, Conv2D, Flatten, Layer, Linear
from engine.weights.keras_layout import KerasLayout
from engine.weights.report import Report
from engine.weights.source import Module, Stored
from tests.engine.weights.networks import NETWORKS, depthwise, lenet, residual

FILES = Path(__file__).parent / "files"
needs_h5py = pytest.mark.skipif(find_spec("h5py") is None, reason="Keras's files need h5py: pip install h5py")
ORDER = {"names": "order"}
TORCH = [
    ("lenet", "lenet.pt", {}, 1e-6),
    ("lenet", "lenet.pt", ORDER, 1e-6),
    ("lenet", "lenet.safetensors", {}, 1e-6),
    ("lenet", "half.pt", {}, 1e-3),
    ("lenet", "bfloat16.pt", {}, 1e-2),
    ("residual", "residual.pt", {}, 1e-5),
    ("residual", "residual.pt", ORDER, 1e-5),
    ("residual", "residual.safetensors", {}, 1e-5),
    ("depthwise", "depthwise.pt", {}, 1e-5),
    ("depthwise", "depthwise.pt", ORDER, 1e-5),
    ("depthwise", "depthwise.safetensors", {}, 1e-5),
]
KERAS = [
    ("lenet", "lenet.keras", {}, 1e-6),
    ("lenet", "lenet.keras", ORDER, 1e-6),
    ("lenet", "lenet.h5", {}, 1e-6),
    ("lenet", "lenet.h5", ORDER, 1e-6),
    ("lenet", "lenet.weights.h5", {}, 1e-6),
    ("residual", "residual.keras", ORDER, 1e-5),
    ("depthwise", "depthwise.keras", {}, 1e-5),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for each in ("torch", "keras"):
        with zipfile.ZipFile(FILES / f"{each}.zip") as archive:
            archive.extractall(folder / each)
    return folder


def holds(net: engine.Network, answers: Path, tolerance: float) -> None:
    with np.load(answers) as known:
        assert np.abs(net.predict(known["x"]) - known["y"]).max() < tolerance


def test_the_networks_answer_otherwise_before(files: Path) -> None:
    for framework in ("torch", "keras"):
        for name, make in NETWORKS.items():
            with np.load(files / framework / f"{name}.npz") as known:
                assert np.abs(make().predict(known["x"]) - known["y"]).max() > 0.05


@pytest.mark.parametrize(("name", "file", "how", "tolerance"), TORCH, ids=lambda value: str(value).replace("'", ""))
def test_pytorch(files: Path, name: str, file: str, how: dict[str, str], tolerance: float) -> None:
    net = NETWORKS[name]()
    report = engine.load_weights(net, files / "torch" / file, **how)
    holds(net, files / "torch" / f"{name}.npz", tolerance)
    assert {row.key for row in report.rows} == {*net.parameters(), *net.buffers()}
    assert not report.kept and not report.unused


@needs_h5py
@pytest.mark.parametrize(("name", "file", "how", "tolerance"), KERAS, ids=lambda value: str(value).replace("'", ""))
def test_keras(files: Path, name: str, file: str, how: dict[str, str], tolerance: float) -> None:
    net = NETWORKS[name]()
    report = engine.load_weights(net, files / "keras" / file, **how)
    holds(net, files / "keras" / f"{name}.npz", tolerance)
    assert {row.key for row in report.rows} == {*net.parameters(), *net.buffers()}
    assert not report.kept and not report.unused


def test_the_report_is_a_table(files: Path) -> None:
    report = engine.load_weights(depthwise(), files / "torch" / "depthwise.pt")
    lines = str(report).splitlines()
    assert lines[0].startswith("11 arrays from ") and lines[1].split() == ["array", "from", "shape", "change", "by"]
    assert lines[2].split() == ["stem.weights", "0.weight", "(4,", "3,", "3,", "3)", "as", "it", "is", "shape"]
    assert "not needed: 2.num_batches_tracked" in lines
    assert lines[-1].startswith("note: ") and "norm (0.001)" in lines[-1]
    assert json.loads(json.dumps(report.to_dict()))["rows"][0]["matched"] == "shape"


@needs_h5py
def test_the_report_tells_of_permutations_and_momentum(files: Path) -> None:
    report = engine.load_weights(lenet(), files / "keras" / "lenet.keras")
    changes = {row.key: row.change for row in report.rows}
    assert changes["conv1.weights"] == "H, W, in, out to out, in, H, W"
    assert changes["fc1.weights"] == "transposed, inputs to C, H, W" and changes["norm.running_var"] == "to C, H, W"
    assert any("norm (0.1, there 0.01)" in note for note in report.notes)


def unchanged(net: engine.Network, path: Path, **how: object) -> str:
    """The message of the refusal, which leaves the network as it was."""
    before = {**net.parameters(), **net.buffers()}
    with pytest.raises(UserError) as found:
        engine.load_weights(net, path, **how)
    after = {**net.parameters(), **net.buffers()}
    assert all(np.array_equal(before[key], value) for key, value in after.items())
    return str(found.value)


def test_names_that_differ_need_a_mapping_where_shapes_do_not_tell(files: Path) -> None:
    renamed = engine.Sequential([Conv2D(2, 4, 3, bias=False), Conv2D(4, 4, 3, bias=False)], (2, 8, 8))
    path = files / "torch" / "residual.pt"
    message = unchanged(renamed, path, names=None)
    assert "several modules have its shapes: conv1, conv2" in message and "names='order'" in message
    report = engine.load_weights(renamed, path, names={"0": "conv0", "1": "conv2"}, strict=False)
    assert {row.key: (row.theirs, row.matched) for row in report.rows} == {
        "0.weights": ("conv0.weight", "given"),
        "1.weights": ("conv2.weight", "given"),
    }
    assert set(report.unused) == {"bn0", "conv1", "bn1", "bn2", "head"}
    assert "'head' of the file is not used" in str(report)


def test_numbers_in_common_are_no_names(files: Path) -> None:
    """Layer 4 of this network and module 4 of the file have the same shapes and nothing to do with each other."""
    layers = [BatchNorm(8), Flatten(), Linear(72, 8), Linear(8, 8), BatchNorm(8), Linear(8, 2)]
    net = engine.Sequential(layers, (8, 3, 3))
    with pytest.raises(UserError, match="no layer of the network can be loaded"):
        engine.load_weights(net, files / "torch" / "depthwise.pt", strict=False)


def test_why_a_layer_keeps_its_weights(tmp_path: Path) -> None:
    arrays = {"0.weight": np.zeros((2, 4)), "3.weight": np.zeros((5, 3)), "other.weight": np.zeros((3, 2))}
    save_file({name: array.astype(np.float32) for name, array in arrays.items()}, tmp_path / "f.safetensors")
    first, second, third = (Linear(*sizes, bias=False) for sizes in ((4, 2), (2, 3), (3, 5)))
    net = engine.Sequential({"flat": Flatten(), "0": first, "mine": second, "2": third}, (4, 1, 1))
    with pytest.raises(UserError) as found:
        engine.load_weights(net, tmp_path / "f.safetensors", strict=False)
    assert "0: the module '0' has its number alone, which counts only where every layer has its namesake" in str(
        found.value
    )
    assert "mine: the module 'other' has its shapes, but with strict=False only names count" in str(found.value)
    twice = engine.Sequential({"flat": Flatten(), "a": first, "b": Linear(2, 4, bias=False), "c": first}, (4, 1, 1))
    with pytest.raises(UserError, match="layer 'a': the module '0' has its shapes, but those of other layers too"):
        engine.load_weights(twice, tmp_path / "f.safetensors")


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "module.module."]
)
def test_names_lose_what_wrappers_put_before_them(tmp_path: Path, prefix: str) -> None:
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {f"{prefix}{name}": each for name, each in {"head.weight": weights, "head.bias": weights[:, 0]}.items()}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, tmp_path / "f.safetensors")
    net = engine.Sequential({"flat": Flatten(), "head": Linear(3, 2)}, (3, 1, 1))
    report = engine.load_weights(net, tmp_path / "f.safetensors")
    assert {row.theirs: row.matched for row in report.rows} == {"head.weight": "name", "head.bias": "name"}
    assert np.array_equal(net.parameters()["head.weights"], weights)


def test_another_head_keeps_its_weights_where_that_is_allowed(files: Path) -> None:
    graph = engine.Graph((2, 8, 8), seed=1)
    x = graph.add(Conv2D(2, 4, 3, padding=1, bias=False), graph.input, name="conv0")
    x = graph.add(Flatten(), graph.add(BatchNorm(4), x, name="bn0"))
    graph.output = graph.add(Linear(256, 9), x, name="head")
    path = files / "torch" / "residual.pt"
    assert "layer 'head' (Linear): 'head' does not fit: its weight has shape (3, 4), expected (9, 256)" in unchanged(
        graph, path
    )
    head = graph.parameters()["head.weights"]
    report = engine.load_weights(graph, path, strict=False)
    assert set(report.kept) == {"head"} and np.array_equal(head, graph.parameters()["head.weights"])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"names": {"conv9": "conv0"}}, "unknown layer with parameters in names: 'conv9'"),
        ({"names": {"conv0": "conv9"}}, "unknown module in names: 'conv9'"),
        ({"names": {"conv1": "conv2", "conv2": "conv2"}}, "given to two layers"),
        ({"names": "ordr"}, "unknown names 'ordr'; did you mean 'order'?"),
        ({"names": 7}, "names: expected a mapping"),
        ({"source": "jax"}, "unknown source 'jax'"),
        ({"names": {"conv0": "conv1"}}, "its weight has shape (4, 4, 3, 3), expected (4, 2, 3, 3)"),
    ],
    ids=["layer", "module", "twice", "word", "type", "source", "shape"],
)
def test_a_wrong_argument_is_one_sentence(files: Path, how: dict[str, object], words: str) -> None:
    assert words in unchanged(residual(), files / "torch" / "residual.pt", **how)


def test_the_order_of_safetensors_says_nothing(files: Path) -> None:
    message = unchanged(residual(), files / "torch" / "residual.safetensors", names="order")
    assert "does not keep the order" in message


@needs_h5py
def test_another_epsilon_is_refused(files: Path) -> None:
    layers = dict(lenet().layers)
    layers["norm"] = BatchNorm(48)
    net = engine.Sequential(layers, (2, 12, 10))
    message = unchanged(net, files / "keras" / "lenet.keras")
    assert "its epsilon is 0.001, but the layer has eps = 1e-05" in message
    report = engine.load_weights(net, files / "keras" / "lenet.weights.h5")  # which does not tell it
    assert any("does not hold the eps" in note and "norm (1e-05)" in note for note in report.notes)


def described(kind: str, arrays: int, width: int, **settings: object) -> Module:
    """A module of Keras as a file would tell of it."""
    stored = Stored((width,), "float32", lambda: np.zeros(width, np.float32))
    return Module("m", {str(place): stored for place in range(arrays)}, kind, settings)


MAP, VECTOR = (4, 3, 3), (4,)
FITS = {
    "groups": (engine.GroupNorm(2, 4), MAP, described("GroupNormalization", 2, 4, groups=2), None),
    "other groups": (engine.GroupNorm(2, 4), MAP, described("GroupNormalization", 2, 4, groups=4), "its groups are 4"),
    "one group": (engine.LayerNorm(4), MAP, described("GroupNormalization", 2, 4, groups=1), None),
    "each channel": (engine.InstanceNorm(4), MAP, described("GroupNormalization", 2, 4, groups=-1), None),
    "pixel": (engine.LayerNorm(4), MAP, described("LayerNormalization", 2, 4, axis=-1), "channels of a pixel"),
    "vector": (engine.LayerNorm(4), VECTOR, described("LayerNormalization", 2, 4, axis=-1), None),
    "axis": (BatchNorm(4), MAP, described("BatchNormalization", 4, 4, axis=1), "its axis is 1"),
    "center": (
        BatchNorm(4, shift=False),
        MAP,
        described("BatchNormalization", 3, 4, scale=False, center=True),
        "scale",
    ),
    "untold": (BatchNorm(4, shift=False), MAP, described("BatchNormalization", 3, 4), "save the model as .keras"),
    "kind": (BatchNorm(4), MAP, described("Dense", 4, 4), "it is a Dense, expected BatchNormalization"),
    "count": (BatchNorm(4), MAP, described("BatchNormalization", 3, 4), "it has 3 arrays"),
    "shape": (BatchNorm(4), MAP, described("BatchNormalization", 4, 5), "has shape (5,)"),
}


@pytest.mark.parametrize("case", FITS.values(), ids=FITS)
def test_a_normalisation_of_keras_goes_over_what_ours_does(
    case: tuple[Layer, tuple[int, ...], Module, str | None],
) -> None:
    layer, shape, module, words = case
    net = engine.Sequential({"norm": layer}, shape)
    found = KerasLayout(net.topology, None)(module, net.topology.node("norm"))
    assert isinstance(found, list) if words is None else words in str(found)


def test_groups_of_a_flattened_map_are_refused() -> None:
    net = engine.Sequential({"flat": Flatten(), "norm": engine.GroupNorm(2, 36), "head": Linear(36, 2)}, MAP)
    layout = KerasLayout(net.topology, None)
    with pytest.raises(UserError, match="the groups of layer 'norm' are others in Keras's order"):
        layout(described("GroupNormalization", 2, 36, groups=2), net.topology.node("norm"))


def test_a_depthwise_kernel_is_none_of_a_plain_convolution() -> None:
    """(3, 3, 4, 1) is a kernel of four channels into one, or of four channels each by itself."""
    net = engine.Sequential({"conv": Conv2D(4, 1, 3, bias=False)}, (4, 5, 5))
    stored = Stored((3, 3, 4, 1), "float32", lambda: np.zeros((3, 3, 4, 1), np.float32))
    layout = KerasLayout(net.topology, None)
    assert isinstance(layout(Module("m", {"0": stored}, "Conv2D"), net.topology.node("conv")), list)
    assert "which does not give" in str(
        layout(Module("m", {"0": stored}, "DepthwiseConv2D"), net.topology.node("conv"))
    )


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, "-m", "engine.weights", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


def test_the_command_writes_a_checkpoint(files: Path, tmp_path: Path) -> None:
    net = depthwise()
    net.save(tmp_path / "first.safetensors")
    done = command("first.safetensors", files / "torch" / "depthwise.pt", "out.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("11 arrays from ")
    holds(engine.load(tmp_path / "out.safetensors"), files / "torch" / "depthwise.npz", 1e-5)
    (tmp_path / "names.yaml").write_text("stem: 0\ndepthwise: 1\nnorm: 2\npoint: 4\nhead: 7\n")
    words = (
        "first.safetensors",
        files / "torch" / "depthwise.pt",
        "two.safetensors",
        "--names",
        "names.yaml",
        "--json",
    )
    done = command(*words, cwd=tmp_path)
    assert {row["matched"] for row in json.loads(done.stdout)["rows"]} == {"given"}
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_the_command_refuses_in_one_line_and_writes_nothing(files: Path, tmp_path: Path) -> None:
    done = command("lenet", files / "torch" / "whole_model.pt", "out.safetensors", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()
    done = command("lenet", files / "torch" / "lenet.pt", "out.pt", cwd=tmp_path)
    assert done.returncode == 2 and "must end in .safetensors" in done.stderr


def test_a_report_can_be_empty_of_everything_but_rows() -> None:
    assert str(Report("f.pt", (), {}, {})).splitlines()[0] == "0 arrays from f.pt"
