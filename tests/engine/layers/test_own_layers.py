"""Layers of a user's own: a network with one is never taken for another that has the engine's layer of that name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.errors import EngineWarning, UserError
from engine.layers import Layer
from engine.network.load import from_config
from engine.network.transfer import initialize, replace_head
from engine.program.code import Builder, Tensor
from engine.program.shapes import Shape, elements
from engine.training.trainer import Trainer

X = np.random.default_rng(0).standard_normal((6, 2, 4, 4)).astype(np.float32)


@dataclass(frozen=True)
class Double(Layer):
    """Twice its input."""

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(source.shape)
        builder.emit("add", {"count": elements(source.shape), "slope": 0.0}, dst=output, a=source, b=source)
        return output


ReLU = dataclass(frozen=True)(type("ReLU", (Double,), {"__module__": __name__}))
Linear = dataclass(frozen=True)(type("Linear", (engine.Linear,), {"__module__": __name__}))
OWN = {"another name": Double(), "the name of one of the engine's": ReLU()}


def network(layer: Layer) -> engine.Network:
    return engine.Sequential([engine.Flatten(), engine.Linear(32, 5), layer, engine.Linear(5, 3)], (2, 4, 4))


@pytest.mark.parametrize("layer", OWN.values(), ids=OWN)
def test_a_saved_network_with_an_own_layer_is_not_loaded_as_another(layer: Layer, tmp_path: Path) -> None:
    net = network(layer)
    path = tmp_path / "own.safetensors"
    with pytest.warns(EngineWarning, match=r"layer '2' \(.*\) is not one of the engine's.*engine.load"):
        net.save(path)
    with pytest.raises(UserError, match=rf"{path}: .*is not one of the engine's.*initialize"):
        engine.load(path)
    with pytest.raises(UserError, match="is not one of the engine's"):
        from_config(net.to_config())
    again = network(layer)
    again.initialize(7)
    initialize(again, path)
    assert np.array_equal(again.predict(X), net.predict(X))


@pytest.mark.parametrize("layer", OWN.values(), ids=OWN)
def test_a_new_head_leaves_own_layers_as_they_are(layer: Layer) -> None:
    net = network(layer)
    new = replace_head(net, 4, seed=3)
    assert new.layers["2"] is layer and new.output_shape == (4,)
    same = replace_head(net, 3)
    same.load_parameters(net.parameters())
    assert np.array_equal(same.predict(X), net.predict(X))


def test_an_own_head_keeps_its_class() -> None:
    net = engine.Sequential([engine.Flatten(), Linear(32, 5)], (2, 4, 4))
    assert type(replace_head(net, 4).layers["1"]) is Linear


def test_a_run_folder_warns_once(tmp_path: Path) -> None:
    trainer = Trainer(network(ReLU()), engine.SGD(0.1), batch_size=3, progress="none", out=tmp_path)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer.fit((X, np.arange(6) % 3), epochs=3, restore_best=True)
    assert sum("is not one of the engine's" in str(each.message) for each in seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(engine.ReLU()).save(tmp_path / "plain.safetensors")
