"""Focal, Dice, Huber and distillation: against their formulas, by differences, at the ends of their range."""

import math

import numpy as np
import pytest

import engine
from engine import CrossEntropy, Dice, Distillation, Focal, Huber, MeanSquaredError, PixelCrossEntropy, Trainer
from engine.errors import UserError
from engine.losses import LOSSES

RNG = np.random.default_rng(11)
SCORES = 2 * RNG.standard_normal((7, 4))
LABELS = RNG.integers(0, 4, 7)
TEACHER = (3 * RNG.standard_normal((7, 4))).astype(np.float32)
MAPS = 2 * RNG.standard_normal((3, 4, 5, 2))
PIXELS = RNG.integers(0, 4, (3, 5, 2))
IGNORED = np.where(RNG.random(PIXELS.shape) < 0.3, 255, PIXELS)
BOTH = np.column_stack((TEACHER, LABELS)).astype(np.float32)


def softmax(scores):
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def focal(scores, labels, gamma=2.0):
    terms = []
    for row, label in zip(softmax(scores), labels, strict=True):
        terms.append(-((1 - row[label]) ** gamma) * math.log(row[label]))
    return np.mean(terms)


def dice(scores, labels, smooth=1.0):
    terms = []
    for p, label in zip(softmax(scores), labels, strict=True):
        for c in range(scores.shape[1]):
            counts = label != 255
            g = (label == c)[counts]
            terms.append((2 * (p[c][counts] * g).sum() + smooth) / ((p[c][counts] ** 2).sum() + g.sum() + smooth))
    return 1 - np.mean(terms)


def huber(scores, targets, delta=1.0):
    terms = [d * d / 2 if abs(d) <= delta else delta * (abs(d) - delta / 2) for d in (scores - targets).reshape(-1)]
    return np.mean(terms)


def distillation(scores, targets, temperature=4.0, weight=0.0):
    classes = scores.shape[1]
    p, q = softmax(scores / temperature), softmax(targets[:, :classes].astype(np.float64) / temperature)
    soft = temperature**2 * (q * np.log(q / p)).sum(axis=1).mean()
    if not weight:
        return soft
    hard = -np.log(softmax(scores)[np.arange(len(scores)), targets[:, -1].astype(int)]).mean()
    return (1 - weight) * soft + weight * hard


CASES = {
    "focal": (Focal(), SCORES, LABELS, focal),
    "focal 0.5": (Focal(0.5), SCORES, LABELS, lambda s, t: focal(s, t, 0.5)),
    "focal 0": (Focal(0), SCORES, LABELS, lambda s, t: focal(s, t, 0)),
    "focal of maps": (
        Focal(),
        MAPS,
        PIXELS,
        lambda s, t: focal(s.transpose(0, 2, 3, 1).reshape(-1, 4), t.reshape(-1)),
    ),
    "focal, some ignored": (
        Focal(ignore_index=255),
        MAPS,
        IGNORED,
        lambda s, t: focal(s.transpose(0, 2, 3, 1)[t != 255], t[t != 255]),
    ),
    "dice": (Dice(), MAPS, PIXELS, dice),
    "dice, some ignored": (Dice(0.1, 255), MAPS, IGNORED, lambda s, t: dice(s, t, 0.1)),
    "huber": (Huber(), SCORES, TEACHER, huber),
    "huber 0.3": (Huber(0.3), SCORES, TEACHER, lambda s, t: huber(s, t, 0.3)),
    "distillation": (Distillation(), SCORES, TEACHER, distillation),
    "distillation 1": (Distillation(1.0), SCORES, TEACHER, lambda s, t: distillation(s, t, 1.0)),
    "distillation with labels": (Distillation(3.0, 0.3), SCORES, BOTH, lambda s, t: distillation(s, t, 3.0, 0.3)),
}


@pytest.mark.parametrize(("loss", "scores", "targets", "formula"), CASES.values(), ids=CASES)
def test_value_and_gradient(loss, scores, targets, formula):
    value, gradient = loss.compute(scores, targets)
    assert value == pytest.approx(formula(scores, targets), rel=1e-12)
    for place in np.ndindex(scores.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = scores.copy()
            moved[place] += step
            ends.append(formula(moved, targets))
        assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7), place


EXTREMES = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 1e4]])


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_focal_of_what_is_sure(gamma):
    value, gradient = Focal(gamma).compute(EXTREMES[:2], np.array([0, 0]))
    assert value == pytest.approx(1e4) and np.isfinite(gradient).all()  # the second is as wrong as can be
    assert not gradient[0].any() and gradient[1] == pytest.approx([-0.5, 0.5, 0.0], abs=1e-12)


def test_extreme_scores_stay_finite():
    for loss, scores, targets in [
        (Dice(), EXTREMES[:, :, None, None], np.array([0, 0, 0])[:, None, None]),
        (Distillation(0.1), EXTREMES, EXTREMES[::-1].astype(np.float32)),
        (Huber(), EXTREMES, EXTREMES[::-1].astype(np.float32)),
    ]:
        value, gradient = loss.compute(scores, targets)
        assert math.isfinite(value) and np.isfinite(gradient).all()
    assert Distillation().compute(SCORES, SCORES)[0] == 0


def pixel_net():
    layers = [engine.Conv2D(1, 6, 3, padding=1), engine.ReLU(), engine.Conv2D(6, 3, 1)]
    return engine.Sequential(layers, input_shape=(1, 6, 5))


IMAGES = RNG.standard_normal((12, 1, 6, 5)).astype(np.float32)
TRUTH = np.where(IMAGES[:, 0] > 0.5, 2, np.where(IMAGES[:, 0] > -0.5, 1, 0))


def flat_net(*last):
    return engine.Sequential([engine.Flatten(), engine.Linear(30, 4), *last], input_shape=(1, 6, 5))


def test_where_they_are_another_loss_they_train_as_it_does():
    labels, rows = np.arange(12) % 4, RNG.standard_normal((12, 4)).astype(np.float32)
    pairs = [
        (flat_net(engine.Softmax()), labels, Focal(0.0), CrossEntropy(), 1),
        (flat_net(), 0.01 * rows, Huber(1e3), MeanSquaredError(), 2),
        (pixel_net(), TRUTH, Focal(0.0), PixelCrossEntropy(), 1),
    ]
    for net, targets, own, core, factor in pairs:
        value, gradients = net.loss_and_gradients(IMAGES, targets, own)
        expected, right = net.loss_and_gradients(IMAGES, targets, core)
        assert factor * value == pytest.approx(expected, rel=1e-5)
        assert net.evaluate(IMAGES, targets, own, batch_size=5)[0] == pytest.approx(value, rel=1e-5)
        for key, gradient in right.items():
            assert np.allclose(factor * gradients[key], gradient, atol=1e-6), key


@pytest.mark.parametrize("loss", [Dice(ignore_index=255), Focal(ignore_index=255)], ids=str)
def test_segmenters_learn_with_them(loss):
    trainer = Trainer(pixel_net(), engine.Adam(lr=0.02), loss, batch_size=4, progress="none")
    maps = np.where(RNG.random(TRUTH.shape) < 0.2, 255, TRUTH).astype(np.uint8)
    history = trainer.fit((IMAGES, maps), (IMAGES, maps), epochs=30)
    assert history["val_mean_iou"][-1] > 0.7 > history["val_mean_iou"][0]


def test_a_student_comes_near_its_teacher(tmp_path):
    teacher = flat_net()
    scores = teacher.predict(IMAGES)
    targets = np.column_stack((scores, scores.argmax(axis=1))).astype(np.float32)
    student = engine.Sequential([engine.Flatten(), engine.Linear(30, 4), engine.Softmax()], (1, 6, 5), seed=9)
    loss = Distillation(2.0, 0.2)
    trainer = Trainer(student, engine.Adam(lr=0.02), loss, batch_size=4, progress="none", out=tmp_path)
    history = trainer.fit((IMAGES, targets), (IMAGES, targets), epochs=60)
    assert history["val_loss"][-1] < 0.3 * history["val_loss"][0]
    assert (student.predict(IMAGES).argmax(axis=1) == scores.argmax(axis=1)).all()
    targets[7, -1] = 1.5
    with pytest.raises(UserError, match=r"data: the targets of sample 7 has label 1.5 in its last column"):
        Trainer(student, engine.Adam(), loss, progress="none").fit((IMAGES, targets), epochs=1)
    with pytest.raises(UserError, match=r"sample 7 has label 1.5"):
        Trainer(student, engine.Adam(), loss, progress="none").step(IMAGES, targets)


def test_focal_measures_classes_and_refuses_bad_labels():
    labels = np.arange(12) % 4
    trainer = Trainer(flat_net(), engine.SGD(lr=0.1), Focal(), batch_size=4, progress="none")
    assert trainer.fit((IMAGES, labels), (IMAGES, labels), epochs=1).epochs[0].keys() >= {
        "val_accuracy",
        "val_macro_f1",
    }
    labels[5] = 4
    with pytest.raises(UserError, match="sample 5 has label 4, but labels run from 0 to 3"):
        trainer.step(IMAGES, labels)
    maps = TRUTH.copy()
    maps[3, 2, 1] = 9
    for loss in (Focal(), Dice()):
        with pytest.raises(UserError, match=r"sample 3 has label 9 at \(2, 1\)"):
            pixel_net().loss_and_gradients(IMAGES, maps, loss)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Focal(-1), "gamma must be"),
        (lambda: Focal(ignore_index=0.5), "Focal: ignore_index must be"),
        (lambda: Dice(0), "smooth must be"),
        (lambda: Huber(0), "delta must be"),
        (lambda: Distillation(0), "temperature must be"),
        (lambda: Distillation(label_weight=1.5), "label_weight must be"),
        (lambda: flat_net().loss_and_gradients(IMAGES, TRUTH, Dice()), "Dice needs outputs of shape"),
        (
            lambda: pixel_net().loss_and_gradients(IMAGES, TEACHER, Distillation()),
            "Distillation needs outputs of shape",
        ),
        (lambda: flat_net().loss_and_gradients(IMAGES, TRUTH[:, 0, 0], Huber()), "Huber takes float32 targets"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_configuration_can_name_those_of_its_data_sets():
    assert {"Focal", "Huber", "Dice", "PixelCrossEntropy"} <= LOSSES.keys() and "Distillation" not in LOSSES
