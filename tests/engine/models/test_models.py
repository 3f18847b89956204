"""The named networks: their published parameter counts, and that each of them runs."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import UserError
from engine.layers import BatchNorm, Conv2D, Dropout, Layer
from engine.losses import CrossEntropy, PixelCrossEntropy
from engine.models import MODELS, describe, make_model
from engine.models.cifar10 import vgg3
from engine.models.midas import midas_cnn
from engine.models.numtadb import lenet
from engine.models.scenes import SCENE_LOG, scene_cnn, vgg19
from engine.optim import SGD, Adam

SCENE_LOG_PARAMETERS = [
    79_624, 182_088, 387_016, 796_872, 1_436_616, 3_535_816, 1_170_920, 2_428_808, 6_256_392, 6_256_392, 6_256_392,
    6_268_680, 6_256_392, 6_268_680, 6_256_392, 6_268_680,
]  # fmt: skip
KERNEL_PARAMETERS = {3: 3_098_376, 5: 6_256_392, 7: 10_993_416, 9: 17_309_448}


def names(net_layers: dict[str, Layer]) -> list[str]:
    return [type(layer).__name__ for layer in net_layers.values()]


@pytest.mark.parametrize("number", range(16))
def test_scene_models_have_the_published_counts(number: int) -> None:
    net = make_model(f"scene_{number}")
    assert net.num_parameters == SCENE_LOG_PARAMETERS[number]
    assert net.topology == scene_cnn(**SCENE_LOG[number]).topology


@pytest.mark.parametrize("kernel", KERNEL_PARAMETERS)
def test_scene_kernels_have_the_published_counts(kernel: int) -> None:
    net = scene_cnn(filters=256, dense_layers=2, kernel=kernel, dropout=0.2, input_size=16)
    assert net.num_parameters == KERNEL_PARAMETERS[kernel]


@pytest.mark.parametrize(
    ("name", "count"),
    [("mnist_cnn", 93_322), ("lenet", 44_726), ("model1", 2_642_442), ("model2", 80_086), ("model3", 1_724_938)],
)
def test_counts_of_the_other_reports(name: str, count: int) -> None:
    assert make_model(name).num_parameters == count


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("resnet20", {}, 269_722),
        ("resnet56", {}, 853_018),
        ("resnet18", {}, 11_689_512),
        ("mobilenet_v2", {}, 3_504_872),
        ("mobilenet_v2", {"width": 0.5, "input_size": 64}, 1_968_680),
        ("airbench94", {}, 1_971_640),
    ],
)
def test_what_learns_in_networks_of_today_has_the_known_counts(name: str, arguments: dict, count: int) -> None:
    assert make_model(name, **arguments).num_trainable == count


def test_options_of_airbench94() -> None:
    layers = names(make_model("airbench94", activation="relu", widths=(8, 12, 16)).layers)
    assert layers.count("ReLU") == 7 and "GELU" not in layers and layers.count("BatchNorm") == 6
    with pytest.raises(UserError, match="widths are three"):
        make_model("airbench94", widths=(8, 12))
    with pytest.raises(UserError, match="unknown activation 'glu'; did you mean 'gelu'"):
        make_model("airbench94", activation="glu")


def test_vgg19_has_the_convolutions_of_the_paper() -> None:
    net = vgg19()
    convolutions = [name for name, layer in net.layers.items() if isinstance(layer, Conv2D)]
    counts = {key: array.size for key, array in net.parameters().items()}
    assert len(convolutions) == 16
    assert sum(counts[f"{name}.{what}"] for name in convolutions for what in ("weights", "bias")) == 20_024_384
    assert net.num_parameters == pytest.approx(24.2e6, rel=0.005)


def test_running_statistics_count_but_do_not_train() -> None:
    net = scene_cnn(**SCENE_LOG[11])
    assert net.num_parameters - net.num_trainable == 2 * (4 * 256 + 2 * 1024)


def test_options_of_vgg3() -> None:
    plain = names(vgg3().layers)
    assert plain.count("Conv2D") == 6 and plain.count("MaxPool2D") == 3 and "Dropout" not in plain
    both = names(vgg3(batch_norm=True, dropout=0.2).layers)
    assert both[2] == both[5] == "BatchNorm" and both[7] == "Dropout" and both[-4:-2] == ["BatchNorm", "Dropout"]
    swapped = names(vgg3(batch_norm=True, dropout=0.2, order="swapped").layers)
    assert swapped[2] == swapped[5] == "Dropout" and swapped[7] == "BatchNorm"
    four = vgg3(dropout=(0.2, 0.3, 0.4, 0.5)).layers.values()
    assert [layer.rate for layer in four if isinstance(layer, Dropout)] == [0.2, 0.3, 0.4, 0.5]
    with pytest.raises(UserError, match="one rate or four"):
        vgg3(dropout=(0.1, 0.2))
    with pytest.raises(UserError, match="unknown order 'reversed'"):
        vgg3(order="reversed")


def test_the_experimental_midas_head() -> None:
    layers = list(midas_cnn(dense_units=500, dropout=0.7, classes=10).layers.values())
    assert str(layers[-5]) == "Linear(1152, 500)" and str(layers[-3]) == "Dropout(0.7)"


SMALL = {
    "scene_cnn": {"filters": 8, "input_size": 16},
    "vgg19": {"input_size": 32},
    "resnet56": {"input_size": 8},
    "resnet18": {"input_size": 32, "classes": 10},
    "mobilenet_v2": {"width": 0.25, "input_size": 32, "classes": 10},
}
MAPS = ("unet",)  # a score for every pixel
RUN = [name for name in MODELS if name not in ("model1", *MAPS) and not name.startswith("scene_")] + ["scene_cnn"]


@pytest.mark.parametrize("name", RUN)
def test_every_network_trains_and_predicts(name: str) -> None:
    net = make_model(name, **SMALL.get(name, {}))
    x = np.random.default_rng(0).normal(size=(2, *net.input_shape)).astype(np.float32)
    loss = net.training_session(CrossEntropy(), SGD(lr=0.001), 2).step(x, np.array([0, 1]), 0.001, 0, 0)
    assert np.isfinite(loss)
    assert net.predict(x).sum(1) == pytest.approx([1, 1], abs=1e-5)


def test_a_unet_learns_where_something_is() -> None:
    random = np.random.default_rng(0)
    labels = np.zeros((24, 16, 16), np.int64)
    for one in labels:
        top, left = random.integers(0, 10, 2)
        one[top : top + 6, left : left + 6] = 1
    images = (labels + random.normal(0.0, 0.5, labels.shape)).astype(np.float32)[:, None]
    net = make_model("unet", width=8, input_size=16)
    session = net.training_session(PixelCrossEntropy(), Adam(lr=0.01), 8)
    for step in range(24):
        part = slice(step % 3 * 8, step % 3 * 8 + 8)
        session.step(images[part], labels[part], 0.01, step, 0)
    found = net.predict(images).argmax(axis=1)
    both, either = np.sum(found & labels), np.sum(found | labels)
    assert net.output_shape == (2, 16, 16) and both / either > 0.8
    with pytest.raises(UserError, match="input_size 18 is no multiple of 4"):
        make_model("unet", input_size=18)


def test_batch_norm_of_the_scene_networks_is_folded() -> None:
    net = scene_cnn(filters=8, input_size=16, batch_norm=True, max_pool=True, dropout=0.2)
    assert len(net.plan().folds) == 5
    assert any(isinstance(layer, BatchNorm) for layer in net.layers.values())


def test_every_model_is_described_in_a_line() -> None:
    for name in MODELS:
        assert describe(name).endswith(".") and "\n" not in describe(name)


def test_unknown_names_point_at_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown model 'mnist-cnn'; did you mean 'mnist_cnn'"):
        make_model("mnist-cnn")
    with pytest.raises(UserError, match="unknown argument of model 'lenet': 'class'; did you mean 'classes'"):
        make_model("lenet", **{"class": 3})


@pytest.mark.parametrize(
    "wrong",
    [{"dropout": "abc"}, {"dropout": 1.5}, {"input_size": "abc"}, {"conv_layers": "a"}, {"conv_layers": -1}],
)
def test_wrong_arguments_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))}.*(expected|must be)"):
        make_model("scene_3", **wrong)
    if "conv_layers" not in wrong:
        with pytest.raises(UserError, match=next(iter(wrong))):
            make_model("vgg3", **wrong)


def test_a_seed_changes_the_weights() -> None:
    assert not np.array_equal(lenet(seed=1).parameters()["0.weights"], lenet(seed=2).parameters()["0.weights"])
