"""Files that are damaged or want more than to be read: one UserError each, and nothing is run or loaded."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.layers import Flatten, Linear
from engine.weights.pickled import MOST_EXTENTS
from engine.weights.torch_zip import MOST_PICKLE
from tests.engine.weights.networks import lenet

FILES = Path(__file__).parent / "files"
needs_h5py = pytest.mark.skipif(find_spec("h5py") is None, reason="Keras's files need h5py: pip install h5py")


def packaged(name: str, archive: str = "torch") -> bytes:
    with zipfile.ZipFile(FILES / f"{archive}.zip") as file:
        return file.read(name)


def refused(path: Path, content: bytes, net: engine.Network | None = None, **how: object) -> str:
    """The message; the network is as before, and the message is a sentence that begins with the file."""
    path.write_bytes(content)
    net = net or lenet()
    before = net.parameters()
    with pytest.raises(UserError) as found:
        engine.load_weights(net, path, **how)
    assert all(np.array_equal(before[key], value) for key, value in net.parameters().items())
    assert str(found.value).startswith(str(path)) and "\n" not in str(found.value)
    return str(found.value)


def saved(pickled: bytes, *, compress: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """An archive as torch.save makes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compress) as archive:
        archive.writestr("m/data.pkl", pickled)
        for name, content in {"byteorder": b"little", "version": b"3", **entries}.items():
            archive.writestr(f"m/{name.replace('__', '/')}", content)
    return out.getvalue()


def described(shape: tuple[int, ...], strides: tuple[int, ...], count: int, offset: int = 0) -> bytes:
    """A pickle of {"w.weight": a tensor}, written by hand as torch.save writes it."""
    numbers = b"".join(b"\x8a\x08" + struct.pack("<q", each) for each in shape)
    steps = b"".join(b"\x8a\x08" + struct.pack("<q", each) for each in strides)

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    storage += b"\x8a\x08" + struct.pack("<q", count) + b"tQ"
    size = b"(" + numbers + b"t(" + steps + b"t"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"\x8a\x08" + struct.pack("<q", offset) + size + b"\x89"
    )
    tensor += b"ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + text("w.weight") + tensor + text("w.bias") + tensor + b"."


class Calls:
    """Pickles as a call of a function that would be seen."""

    def __init__(self, place: Path):
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_function_in_a_pickle_is_not_called(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "was_here"
    data = pickle.dumps(OrderedDict(weight=Calls(mark)), protocol)
    message = refused(tmp_path / "f.pt", saved(data))
    assert "refused: the pickle asks for posix.mkdir, which might run code" in message
    assert not mark.exists()
    pickle.loads(data)  # the test is none unless this one does it
    assert mark.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pickle.dumps({"a": {1, 2}}, 2), "asks for"),
        (pickle.dumps({"a": {1, 2}}, 4), "has the operation EMPTY_SET"),
        (pickle.dumps({"a": b"bytes"}, 4), "has the operation"),
        (pickle.dumps({(1, 2): 3}, 2), "has a key of type tuple"),
        (pickle.dumps([1, 2], 2), "expected a state_dict, names with tensors, not list"),
        (pickle.dumps({"a": 1, "b": {"c": 2}}, 2), "but found keys a, b"),
        (b"\x80\x02}q\x00", "damaged pickle"),
        (b"\x80\x02.", "damaged pickle (IndexError"),
        (b"\x80\x02(.", "expected a state_dict"),
        (b"", "damaged pickle"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "refused: the pickle calls"),
        (b"\x80\x02}(h\x05u.", "damaged pickle (KeyError"),
        (b"\x80\x02)t.", "a mark is missing"),
        (b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.", "has a key of type tuple"),
    ],
    ids=[
        "set2",
        "set",
        "bytes",
        "tuple",
        "list",
        "plain",
        "cut",
        "empty",
        "mark",
        "nothing",
        "call",
        "memo",
        "tuple0",
        "deep",
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(tmp_path / "f.pt", saved(data))


HUGE = 1 << 40
VIEWS = {
    "behind its end": ((2, 2), (3, 1), 4, 0),
    "from behind its end": ((2, 2), (2, 1), 4, 1),
    "huge": ((HUGE, 1), (1, 1), 4, 0),
    "negative": ((-1, 2), (2, 1), 4, 0),
    "many extents": ((1,) * (MOST_EXTENTS + 1), (1,) * (MOST_EXTENTS + 1), 4, 0),
    "other strides": ((2, 2), (1,), 4, 0),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_tensor_lies_within_its_storage(tmp_path: Path, view: tuple[Any, ...]) -> None:
    message = refused(tmp_path / "f.pt", saved(_items(described(*view)), data__0=b"\0" * 16))
    assert "does not lie within its storage" in message or "damaged pickle" in message


@pytest.mark.parametrize(("shape", "strides"), [((4, 4), (0, 1)), ((4, 4), (0, 0)), ((HUGE, 1), (0, 1))])
def test_a_tensor_that_repeats_its_numbers_is_told_so(tmp_path: Path, shape: Any, strides: Any) -> None:
    content = saved(_items(described(shape, strides, 4)), data__0=b"\0" * 16)
    message = refused(tmp_path / "f.pt", content)
    assert f"a tensor of shape {shape} repeats numbers of its storage, which has 4, as `expand` makes it" in message


def _items(pickled: bytes) -> bytes:
    """The values put into the dictionary: SETITEMS with a mark behind the dictionary."""
    return pickled[:3] + b"(" + pickled[3:-1] + b"u."


def one_layer() -> engine.Network:
    return engine.Sequential({"f": Flatten(), "w": Linear(2, 2)}, (2, 1, 1))


def test_a_view_with_strides_is_read_as_it_is_meant(tmp_path: Path) -> None:
    """A transposed tensor shares its storage's numbers; both arrays of this file are the same one."""
    numbers = np.arange(4, dtype="<f4").tobytes()
    (tmp_path / "f.pt").write_bytes(saved(_items(described((2, 2), (1, 2), 4)), data__0=numbers))
    net = engine.Sequential({"f": Flatten(), "w": Linear(2, 2, bias=False)}, (2, 1, 1))
    with pytest.raises(UserError, match="the layer has nothing for its bias"):
        engine.load_weights(net, tmp_path / "f.pt")
    pair = _items(described((2,), (2,), 4, 1))
    (tmp_path / "g.pt").write_bytes(saved(pair, data__0=numbers))
    norm = engine.Sequential({"w": engine.GroupNorm(1, 2)}, (2, 3, 3))
    engine.load_weights(norm, tmp_path / "g.pt")
    assert norm.parameters()["w.weights"].tolist() == [1.0, 3.0]


def test_numbers_that_are_missing_or_cut_are_told(tmp_path: Path) -> None:
    norm = engine.Sequential({"w": engine.GroupNorm(1, 2)}, (2, 3, 3))
    pair = _items(described((2,), (1,), 2))
    assert "are missing (data/0)" in refused(tmp_path / "f.pt", saved(pair), norm)
    assert "take 4 bytes, expected 8" in refused(tmp_path / "f.pt", saved(pair, data__0=b"\0" * 4), norm)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("file", ["torch/lenet.pt", "torch/lenet.safetensors", "keras/lenet.keras", "keras/lenet.h5"])
def test_a_truncated_file_is_refused(tmp_path: Path, file: str, part: float) -> None:
    folder, _, name = file.partition("/")
    if folder == "keras":
        pytest.importorskip("h5py", reason="Keras's files need h5py: pip install h5py")
    content = packaged(name, folder)
    refused(tmp_path / f"cut_{name}", content[: int(part * len(content))])


def test_a_changed_number_is_noticed_by_the_archive(tmp_path: Path) -> None:
    content = packaged("lenet.pt")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo(next(name for name in archive.namelist() if name.endswith("data/0")))
        numbers = archive.read(entry)
    place = content.index(numbers)
    damaged = content[:place] + bytes([numbers[0] ^ 1]) + content[place + 1 :]
    assert "damaged" in refused(tmp_path / "f.pt", damaged)


def test_an_archive_cannot_unpack_to_more_than_it_is(tmp_path: Path) -> None:
    data = pickle.dumps({}, 2)
    bomb = saved(data, compress=zipfile.ZIP_DEFLATED, data__0=b"\0" * 1_000_000)
    assert "is compressed" in refused(tmp_path / "f.pt", bomb)
    assert "more than a state_dict has" in refused(tmp_path / "f.pt", saved(b"." * (MOST_PICKLE + 1)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("notes.txt", "")
    assert "expected one data.pkl" in refused(tmp_path / "f.pt", out.getvalue())
    assert "since PyTorch 1.6" in refused(tmp_path / "f.pt", pickle.dumps({}))


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    norm = engine.Sequential({"w": engine.GroupNorm(1, 2)}, (2, 3, 3))
    pair = _items(described((2,), (1,), 2)).replace(b"FloatStorage", b"IntStorage")
    message = refused(tmp_path / "f.pt", saved(pair, data__0=b"\0" * 8), norm)
    assert "holds int32, expected floating-point numbers" in message


def test_our_own_checkpoint_and_no_file_are_told_apart(tmp_path: Path) -> None:
    net = lenet()
    net.save(tmp_path / "own.safetensors")
    with pytest.raises(UserError, match="a checkpoint of this project"):
        engine.load_weights(net, tmp_path / "own.safetensors")
    with pytest.raises(UserError, match="no such file"):
        engine.load_weights(net, tmp_path / "none.pt")
    with pytest.raises(UserError, match="give source, torch or keras"):
        engine.load_weights(net, tmp_path / "weights.npz")


# ---- Keras ----


@needs_h5py
def test_a_lambda_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path / "f.keras", packaged("lambda.keras", "keras"))
    assert "refused: the layer 'lambda' is a Lambda" in message


def repacked(config: str | None = None, compress: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(packaged("lenet.keras", "keras"))) as before,
        zipfile.ZipFile(out, "w", compress) as archive,
    ):
        for name in before.namelist():
            content = before.read(name)
            archive.writestr(name, config.encode() if config is not None and name == "config.json" else content)
    return out.getvalue()


@needs_h5py
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "not a whole .keras file"),
        ('{"a": 1, "a": 2}', "stands there twice"),
        ("[" * 100 + "]" * 100, "deep in each other"),
        ('{"config": {"layers": [7]}}', "expected class and arguments"),
        ('{"config": {"layers": [{"class_name": "Sequential", "config": {"name": "s"}}]}}', "is a model of its own"),
    ],
    ids=["no json", "twice", "deep", "no layer", "nested"],
)
def test_other_descriptions_are_refused(tmp_path: Path, config: str, words: str) -> None:
    assert words in refused(tmp_path / "f.keras", repacked(config))


@needs_h5py
def test_a_compressed_archive_of_keras_is_refused(tmp_path: Path) -> None:
    assert "is compressed" in refused(tmp_path / "f.keras", repacked(compress=zipfile.ZIP_DEFLATED))


@needs_h5py
@pytest.mark.parametrize("kind", ["link", "soft link", "compressed", "elsewhere", "deep"])
def test_hdf5_that_is_not_simply_there_is_refused(tmp_path: Path, kind: str) -> None:
    import h5py

    path = tmp_path / "f.weights.h5"
    (tmp_path / "secret.bin").write_bytes(b"\0" * 64)
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        if kind == "link":
            group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        elif kind == "soft link":
            group["0"] = h5py.SoftLink("/layers")
        elif kind == "compressed":
            group.create_dataset("0", data=np.zeros(1_000_000, np.float32), compression="gzip")
        elif kind == "elsewhere":
            group.create_dataset("0", (16,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 64)])
        else:
            file.create_group("/".join(["a"] * 40))
    message = refused(path, path.read_bytes())
    assert "refused" in message or "deep in each other" in message
