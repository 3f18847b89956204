"""The cross-entropy of every pixel: against its definition, in training and evaluation, and what it refuses."""

import numpy as np
import pytest

import engine
from engine import CrossEntropy, PixelCrossEntropy, Trainer
from engine.data.augment_config import AugmentConfig, Cutout
from engine.data.dataset import Dataset, RawDataset
from engine.data.loader import Loader, Mixup
from engine.errors import UserError
from engine.training import metrics
from engine.training.average import Average

RNG = np.random.default_rng(3)
IMAGES = RNG.standard_normal((10, 1, 6, 5)).astype(np.float32)
MAPS = np.where(IMAGES[:, 0] > 0.5, 2, np.where(IMAGES[:, 0] > -0.5, 1, 0)).astype(np.int64)
IGNORED = MAPS.copy()
IGNORED[RNG.random(MAPS.shape) < 0.3] = 255


def network(*last):
    layers = [engine.Conv2D(1, 6, 3, padding=1), engine.ReLU(), engine.Conv2D(6, 3, 1), *last]
    return engine.Sequential(layers, input_shape=(1, 6, 5))


def expected(logits, labels, ignored=None, smoothing=0.0):
    """Loss of logits (n, classes, H, W) in float64, pixel by pixel."""
    total = count = 0.0
    for logit, label in zip(logits.astype(np.float64), labels, strict=True):
        for place in np.ndindex(label.shape):
            if label[place] == ignored:
                continue
            row = logit[(slice(None), *place)]
            log_probabilities = row - np.log(np.exp(row).sum())
            total -= (1 - smoothing) * log_probabilities[label[place]] + smoothing * log_probabilities.mean()
            count += 1
    return total / count


@pytest.mark.parametrize("last", [[], [engine.Softmax()]], ids=["logits", "softmax"])
@pytest.mark.parametrize(("labels", "ignored"), [(MAPS, None), (IGNORED, 255)], ids=["all", "ignored"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_its_definition(last, labels, ignored, smoothing):
    loss = PixelCrossEntropy(ignored, smoothing)
    net = network(*last)
    logits = network().predict(IMAGES)
    right = expected(logits, labels, ignored, smoothing)
    assert net.loss_and_gradients(IMAGES, labels, loss)[0] == pytest.approx(right, rel=1e-5)
    value, outputs = net.evaluate(IMAGES, labels, loss, batch_size=4)
    assert value == pytest.approx(right, rel=1e-5)
    assert np.array_equal(outputs, net.predict(IMAGES))


def test_its_gradients_are_differences_of_the_loss():
    net, loss = network(), PixelCrossEntropy(255, 0.1)
    _, gradients = net.loss_and_gradients(IMAGES, IGNORED, loss)
    start = net.parameters()
    for key, gradient in gradients.items():
        step = 1e-2 * gradient / np.linalg.norm(gradient)
        ends = []
        for sign in (1, -1):
            net.load_parameters({**start, key: start[key] + sign * step})
            ends.append(expected(net.predict(IMAGES), IGNORED, 255, 0.1))
        assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(np.linalg.norm(gradient), rel=1e-2), key


def test_a_map_of_one_pixel_is_a_sample():
    layers = [engine.Conv2D(1, 4, (6, 5))]
    maps = engine.Sequential(layers, input_shape=(1, 6, 5))
    rows = engine.Sequential([*layers, engine.Flatten()], input_shape=(1, 6, 5))
    labels = np.arange(10) % 4
    first = maps.loss_and_gradients(IMAGES, labels[:, None, None], PixelCrossEntropy())
    second = rows.loss_and_gradients(IMAGES, labels, CrossEntropy())
    assert first[0] == pytest.approx(second[0], rel=1e-6)
    for key, gradient in second[1].items():
        assert np.allclose(first[1][key], gradient, atol=1e-7), key


def test_it_trains_and_measures_pixels(tmp_path):
    net = network()
    trainer = Trainer(
        net, engine.Adam(lr=0.02), PixelCrossEntropy(255), batch_size=4, progress="none", out=tmp_path,
        metric="val_mean_iou", average=Average(decay=0.5), accumulate=2,
    )  # fmt: skip
    data = IMAGES, IGNORED.astype(np.uint8)
    history = trainer.fit(data, data, epochs=30, train_metrics=True)
    assert history["val_pixel_accuracy"][-1] > 0.9 > history["val_pixel_accuracy"][0]
    assert history.best_value == max(history["val_mean_iou"]) > 0.8
    measured = trainer.evaluate(data)
    predicted = net.predict(IMAGES).argmax(axis=1)
    counts = IGNORED != 255
    assert measured["pixel_accuracy"] == pytest.approx(np.mean(predicted[counts] == IGNORED[counts]))
    shares = []
    for label in range(3):
        true, said = (each[counts] == label for each in (IGNORED, predicted))
        shares.append((true & said).sum() / (true | said).sum())
    assert measured["mean_iou"] == pytest.approx(np.mean(shares))
    assert measured["loss"] == pytest.approx(expected(net.predict(IMAGES), IGNORED, 255), rel=1e-5)


def test_bits_do_not_depend_on_threads_or_a_resume(tmp_path):
    from engine.network.checkpoint import weights_hash

    def trained(out, epochs, **options):
        trainer = Trainer(network(), engine.SGD(lr=0.1), PixelCrossEntropy(255), batch_size=4, progress="none", out=out)
        trainer.fit((IMAGES, IGNORED), epochs=epochs, **options)
        return weights_hash(trainer.net)

    before = engine.get_num_threads()
    hashes = set()
    for threads in (1, 2, 3):
        engine.set_num_threads(threads)
        hashes.add(trained(tmp_path / str(threads), 2))
    engine.set_num_threads(before)
    trained(tmp_path / "cut", 1)
    assert hashes == {trained(tmp_path / "cut", 2, resume=True)}


def test_where_no_pixel_counts_the_loss_is_zero():
    nothing = np.full_like(MAPS, 255)
    value, gradients = network().loss_and_gradients(IMAGES, nothing, PixelCrossEntropy(255))
    assert value == 0 and not any(each.any() for each in gradients.values())
    trainer = Trainer(network(), engine.SGD(lr=0.1), PixelCrossEntropy(255), progress="none")
    with pytest.raises(UserError, match="data: no pixel counts: all have the label 255"):
        trainer.fit((IMAGES, nothing), epochs=1)


def changed(place, label):
    maps = IGNORED.copy()
    maps[place] = label
    return maps


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            changed((7, 2, 1), 3),
            r"sample 7 has label 3 at \(2, 1\), but labels run from 0 to 2, and 255 does",
        ),
        (changed((2, 0, 4), -1), r"sample 2 has label -1 at \(0, 4\)"),
    ],
)
def test_a_label_that_is_none_is_named(labels, message):
    trainer = Trainer(network(), engine.SGD(lr=0.1), PixelCrossEntropy(255), batch_size=4, progress="none")
    with pytest.raises(UserError, match=f"data: {message}"):
        trainer.fit((IMAGES, labels), epochs=1)
    with pytest.raises(UserError, match=message):
        trainer.step(IMAGES, labels)
    with pytest.raises(UserError, match=message):
        network().evaluate(IMAGES, labels, PixelCrossEntropy(255), batch_size=3)


def test_what_does_not_fit_is_refused():
    flat = engine.Sequential([engine.Flatten(), engine.Linear(30, 3)], input_shape=(1, 6, 5))
    with pytest.raises(UserError, match=r"needs outputs of shape \(classes, H, W\)"):
        flat.loss_and_gradients(IMAGES, MAPS, PixelCrossEntropy())
    with pytest.raises(UserError, match=r"shape \(10,\), but \(10, 6, 5\) is needed"):
        network().loss_and_gradients(IMAGES, MAPS[:, 0, 0], PixelCrossEntropy())
    with pytest.raises(UserError, match=r"takes maps of integer labels \(n, 6, 5\)"):
        network().loss_and_gradients(IMAGES, MAPS.astype(np.float32), PixelCrossEntropy())
    with pytest.raises(UserError, match="ignore_index must be"):
        PixelCrossEntropy(1.5)
    with pytest.raises(UserError, match="label_smoothing must be"):
        PixelCrossEntropy(label_smoothing=1.0)


def test_maps_of_labels_are_refused_where_images_have_one_each():
    bytes_ = RNG.integers(0, 256, (10, 1, 6, 5), np.uint8)
    data = Dataset("maps", bytes_, MAPS)
    with pytest.raises(UserError, match="CrossEntropy needs outputs of shape"):
        Trainer(network(), engine.SGD(lr=0.1), progress="none").fit(data, epochs=1)
    flat = engine.Sequential([engine.Flatten(), engine.Linear(30, 3)], input_shape=(1, 6, 5))
    with pytest.raises(UserError, match=r"targets have shape"):
        Trainer(flat, engine.SGD(lr=0.1), progress="none").fit(data, epochs=1)
    with pytest.raises(UserError, match="augment.cutout changes what an image shows"):
        Loader(data, 4, augment=AugmentConfig(cutout=Cutout()))
    with pytest.raises(UserError, match="sample_transforms change the images alone"):
        Loader(data, 4, sample_transforms=[lambda image, rng: image[..., ::-1]])
    with pytest.raises(UserError, match="mixup mixes labels of images"):
        next(Loader(data, 4, batch_transform=Mixup(0.2, 3), prefetch=0).epoch(0))
    with pytest.raises(UserError, match="labels must be whole numbers"):
        RawDataset("maps", bytes_[:, 0], MAPS, ("a", "b", "c"))
    with pytest.raises(UserError, match="need the loss CrossEntropy"):
        weighted = Dataset("maps", bytes_, MAPS, sample_weights=np.ones(10, np.float32))
        Trainer(network(), engine.SGD(lr=0.1), PixelCrossEntropy(), progress="none").fit(weighted, epochs=1)
    with pytest.raises(UserError, match="cannot be numbered anew"):
        Dataset("maps", bytes_, MAPS, class_names=("a", "b", "c")).with_classes(("c", "b", "a"))


def test_metrics_of_a_matrix():
    matrix = np.array([[3, 1, 0], [1, 5, 0], [0, 0, 0]])
    assert metrics.pixel_accuracy(matrix) == 0.8
    assert metrics.mean_iou(matrix) == pytest.approx((3 / 5 + 5 / 7) / 2)
    assert np.isnan(metrics.mean_iou(0 * matrix)) and np.isnan(metrics.pixel_accuracy(0 * matrix))
