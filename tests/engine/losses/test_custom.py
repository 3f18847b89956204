"""Losses that a user writes with NumPy: trained as the core's own, checked, refused where they are wrong."""

import pickle
import re

import cnncore
import numpy as np
import pytest

import engine
from engine import CrossEntropy, CustomLoss, MeanSquaredError, Softmax, Tanh, Trainer
from engine.data.dataset import Dataset
from engine.errors import DivergedError, UserError
from engine.network.checkpoint import weights_hash
from engine.plan import GRADIENTS, TRAINING, Request
from engine.training.average import Average
from tests.engine.small import CLASSES, SIDE, small_dataset, small_layers

TRAIN, VALIDATION = small_dataset(96), small_dataset(48, seed=1)
IMAGES, LABELS = TRAIN.normalise(TRAIN.images[:24]), TRAIN.labels[:24]
ROWS = np.random.default_rng(5).standard_normal((24, len(CLASSES))).astype(np.float32)


def small_net(*last, seed=0):
    """The small network without its softmax, so that the scores are logits, and with other layers behind it."""
    return engine.Sequential([*small_layers()[:-1], *last], input_shape=(1, SIDE, SIDE), seed=seed)


def plain_net():
    """Without a layer to which a batch is more than its samples."""
    layers = [engine.Flatten(), engine.Linear(SIDE * SIDE, 8), Tanh(), engine.Linear(8, len(CLASSES))]
    return engine.Sequential(layers, input_shape=(1, SIDE, SIDE))


def entropy(scores, labels):
    """The cross-entropy, in the scores' own precision."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(scores))
    gradient = exponentials / sums
    gradient[rows, labels] -= 1
    return np.mean(np.log(sums[:, 0]) - shifted[rows, labels]), gradient / len(scores)


def squares(scores, targets):
    difference = scores - targets
    return np.mean(difference**2), 2 * difference / difference.size


def entropy_in_float32(scores, labels):
    return entropy(scores.astype(np.float32), labels)


def doubled(scores, labels):
    value, gradient = entropy(scores, labels)
    return value, 2 * gradient


def shuffled(scores, labels):
    value, gradient = entropy(scores, labels)
    return value, gradient[::-1]


def make_trainer(loss, **options):
    net = options.pop("net", None) or small_net()
    return Trainer(net, engine.SGD(lr=0.05, momentum=0.9), loss, batch_size=16, progress="none", **options)


@pytest.mark.parametrize(
    ("own", "core", "targets"),
    [
        (entropy, CrossEntropy(), LABELS),
        (entropy_in_float32, CrossEntropy(), LABELS),
        (squares, MeanSquaredError(), ROWS),
    ],
    ids=["cross-entropy", "in float32", "squares"],
)
def test_loss_and_gradients_are_those_of_the_core(own, core, targets):
    value, gradients = small_net().loss_and_gradients(IMAGES, targets, CustomLoss(own))
    expected, right = small_net().loss_and_gradients(IMAGES, targets, core)
    assert value == pytest.approx(expected, rel=1e-5)
    for key, gradient in right.items():
        assert np.abs(gradients[key] - gradient).max() <= 1e-5 * np.abs(gradient).max() + 1e-6, key


@pytest.mark.parametrize("last", [[Tanh()], [Softmax()], [engine.ReLU()], [engine.BatchNorm(len(CLASSES))]], ids=str)
def test_whatever_the_last_layer_is_the_gradient_goes_through_it(last):
    _, gradients = small_net(*last, seed=2).loss_and_gradients(IMAGES, ROWS, CustomLoss(squares))
    _, right = small_net(*last, seed=2).loss_and_gradients(IMAGES, ROWS, MeanSquaredError())
    for key, gradient in right.items():
        assert np.abs(gradients[key] - gradient).max() <= 1e-5 * np.abs(gradient).max() + 1e-6, key


def test_maps_come_in_the_public_order():
    layers = [engine.Conv2D(1, 3, 3, padding=1), engine.ReLU(), engine.Conv2D(3, 2, 3, padding=1)]
    net = engine.Sequential(layers, input_shape=(1, SIDE, SIDE))
    targets = np.random.default_rng(0).standard_normal((24, 2, SIDE, SIDE)).astype(np.float32)
    seen = []

    def watched(scores, targets):
        seen.append(scores.copy())
        return squares(scores, targets)

    value, gradients = net.loss_and_gradients(IMAGES, targets, CustomLoss(watched, check=False))
    expected, right = net.loss_and_gradients(IMAGES, targets, MeanSquaredError())
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.allclose(seen[0], net.predict(IMAGES), atol=1e-5)
    for key, gradient in right.items():
        assert np.abs(gradients[key] - gradient).max() <= 1e-5 * np.abs(gradient).max(), key


def test_training_follows_the_core():
    own, core = make_trainer(CustomLoss(entropy)), make_trainer(CrossEntropy())
    first = own.fit(TRAIN, VALIDATION, epochs=3)
    second = core.fit(TRAIN, VALIDATION, epochs=3)
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert first[name] == pytest.approx(second[name], rel=1e-3), name
    assert first["train_loss"][-1] < first["train_loss"][0]


def test_a_function_may_write_into_its_arrays():
    def careless(scores, labels):
        value, gradient = entropy(scores, labels)
        scores[:] = 7.0
        return value, gradient

    own, core = make_trainer(CustomLoss(careless)), make_trainer(CustomLoss(entropy))
    own.fit(TRAIN, VALIDATION, epochs=1)
    core.fit(TRAIN, VALIDATION, epochs=1)
    assert weights_hash(own.net) == weights_hash(core.net)
    assert own.evaluate(VALIDATION) == core.evaluate(VALIDATION)


def test_bits_do_not_depend_on_threads():
    hashes = set()
    before = engine.get_num_threads()
    for threads in (1, 2, 3):
        engine.set_num_threads(threads)
        trainer = make_trainer(CustomLoss(entropy))
        trainer.fit(TRAIN, epochs=2)
        hashes.add(weights_hash(trainer.net))
    engine.set_num_threads(before)
    assert len(hashes) == 1


def test_a_resumed_run_has_the_bits_of_an_undisturbed_one(tmp_path):
    options = {"average": Average(decay=0.9), "accumulate": 2}
    whole = make_trainer(CustomLoss(entropy), out=tmp_path / "whole", **options)
    whole.fit(TRAIN, VALIDATION, epochs=3)
    make_trainer(CustomLoss(entropy), out=tmp_path / "cut", **options).fit(TRAIN, VALIDATION, epochs=1)
    resumed = make_trainer(CustomLoss(entropy), out=tmp_path / "cut", **options)
    resumed.fit(TRAIN, VALIDATION, epochs=3, resume=True)
    assert weights_hash(resumed.net) == weights_hash(whole.net)
    assert "function: entropy" in (tmp_path / "cut" / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"loss.function = entropy, now it is squares"):
        make_trainer(CustomLoss(squares), out=tmp_path / "cut", **options).fit(TRAIN, VALIDATION, epochs=3, resume=True)


def test_passes_of_a_step_add_up():
    """A mean over the samples has the gradient of the whole batch, up to roundings."""
    calls = []

    def counted(scores, labels):
        calls.append(len(scores))
        return entropy(scores, labels)

    once, thrice = make_trainer(CustomLoss(entropy), net=plain_net()), plain_net()
    value = once.step(IMAGES, LABELS)
    stepped = make_trainer(CustomLoss(counted, check=False), net=thrice, accumulate=3)
    assert stepped.step(IMAGES, LABELS) == pytest.approx(value, rel=1e-6)
    assert calls == [8, 8, 8]
    for key, weights in once.net.parameters().items():
        assert np.allclose(thrice.parameters()[key], weights, atol=1e-6), key


@pytest.mark.parametrize("wrong", [doubled, shuffled])
def test_a_wrong_gradient_is_refused_on_the_first_batch(wrong):
    net = small_net()
    before = weights_hash(net)
    with pytest.raises(
        UserError, match=rf"CustomLoss\({wrong.__name__}\): the gradient is not that of the value"
    ) as info:
        make_trainer(CustomLoss(wrong), net=net).fit(TRAIN, epochs=1)
    told, found = (float(each) for each in re.findall(r"says (\S+), .* is (\S+) \(", str(info.value))[0])
    assert abs(told - found) > 0.01 * abs(found)
    assert weights_hash(net) == before
    make_trainer(CustomLoss(wrong, check=False), net=net).fit(TRAIN, epochs=1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, t: 1.0, "must give .value, gradient by the scores., not 1.0"),
        (lambda s, t: ("1", s), "the value must be a real number, not '1'"),
        (lambda s, t: (s, s), "the value must be a real number"),
        (lambda s, t: (1.0, s[:1]), r"scores' shape \(24, 3\), got float32 \(1, 3\)"),
        (lambda s, t: (1.0, list(s)), r"scores' shape \(24, 3\), got"),
        (lambda s, t: (1.0, s > 0), r"scores' shape \(24, 3\), got bool"),
    ],
)
def test_what_is_no_value_with_its_gradient_is_refused(function, message):
    with pytest.raises(UserError, match=message):
        small_net().loss_and_gradients(IMAGES, LABELS, CustomLoss(function, check=False))


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda s, t: (np.nan, s), "the loss is NaN"),
        (lambda s, t: (1.0, s * np.inf), "gradient of CustomLoss.* by the scores is NaN"),
        (lambda s, t: (1.0, s.astype(np.float64) * 1e300), "gradient of CustomLoss.* by the scores is NaN"),
    ],
)
def test_what_is_not_finite_stops_before_anything_is_updated(function, what):
    net = small_net()
    before = weights_hash(net)
    with pytest.raises(DivergedError, match=what):
        make_trainer(CustomLoss(function, check=False), net=net).step(IMAGES, LABELS)
    assert weights_hash(net) == before


def test_an_error_of_the_function_is_the_users_and_leaves_the_network_as_it_was():
    net = small_net()
    before = weights_hash(net)
    loss = CustomLoss(lambda scores, targets: (scores[99], scores))
    with pytest.raises(IndexError, match="99"):
        make_trainer(loss, net=net).step(IMAGES, LABELS)
    with pytest.raises(IndexError, match="99"):
        net.loss_and_gradients(IMAGES, LABELS, loss)
    assert weights_hash(net) == before


def test_scores_that_are_not_finite_name_their_layer():
    net = small_net()
    parameters = net.parameters()
    key = next(key for key in parameters if key.endswith("bias"))
    net.load_parameters({**parameters, key: np.full_like(parameters[key], 3e38)})
    own, core = (make_trainer(loss, net=net) for loss in (CustomLoss(entropy), CrossEntropy()))
    layers = []
    for trainer in (own, core):
        with pytest.raises(DivergedError) as info:
            for _ in range(3):
                trainer.step(IMAGES * np.float32(1e38), LABELS)
        layers.append(info.value.layer)
    assert layers[0] == layers[1] is not None


def test_targets_may_have_any_shape():
    targets = np.zeros((24, 5, 2), np.float32)
    seen = []

    def shaped(scores, targets):
        seen.append((targets.dtype, targets.shape))
        return squares(scores, targets[:, :1, 0])

    trainer = make_trainer(CustomLoss(shaped))
    trainer.step(IMAGES, targets)
    trainer.step(IMAGES, np.ones((24, 4, 4), np.int32))
    assert seen[0] == (np.float32, (24, 5, 2))
    assert seen[-1] == (np.int64, (24, 4, 4))
    with pytest.raises(UserError, match=r"targets have shape \(23, 5, 2\)"):
        trainer.step(IMAGES, targets[1:])
    targets[7, 0, 0] = np.nan
    with pytest.raises(UserError, match="the targets of sample 7 holds nan"):
        trainer.step(IMAGES, targets)


def test_functions_of_one_name_are_two():
    first, second = (CustomLoss(lambda s, t, f=f: (f * np.sum(s), np.full_like(s, f))) for f in (1.0, 2.0))
    net = small_net()
    values = [net.loss_and_gradients(IMAGES, LABELS, loss)[0] for loss in (first, second, first)]
    assert values[1] == pytest.approx(2 * values[0], rel=1e-4)
    assert values[2] == pytest.approx(values[0], rel=1e-4)
    assert first == CustomLoss(first.function) != second


def test_it_is_no_part_of_a_configuration():
    from engine.losses import LOSSES

    assert "CustomLoss" not in LOSSES
    with pytest.raises(UserError, match="function must be a function"):
        CustomLoss(3)


def test_accuracy_is_measured_where_labels_are_classes():
    trainer = make_trainer(CustomLoss(entropy))
    assert {"loss", "accuracy", "macro_f1"} <= trainer.evaluate(VALIDATION).keys()
    other = Dataset("counts", VALIDATION.images, VALIDATION.labels + 10)
    counting = make_trainer(CustomLoss(lambda s, t: squares(s, t[:, None].astype(s.dtype))))
    assert counting.evaluate(other).keys() == {"loss"}
    assert counting.fit(other, other, epochs=1).epochs[-1].keys() >= {"val_loss"}


def test_the_plan_shows_where_python_comes_in():
    net = small_net()
    request = Request(TRAINING, 8, CustomLoss(entropy), optimizer=engine.SGD(lr=0.1))
    plan = net.programs.plan(request)
    assert plan.instructions[plan.handover - 1].layer == "loss"
    assert "CustomLoss(entropy)" in str(plan)
    assert net.programs.plan(Request(GRADIENTS, 8, CrossEntropy())).handover is None


def test_a_session_with_one_can_be_copied():
    session = small_net().training_session(CustomLoss(entropy), engine.SGD(lr=0.1), 24)
    session.step(IMAGES, LABELS, 0.1, 0, 0)
    again = pickle.loads(pickle.dumps(session))
    assert session.step(IMAGES, LABELS, 0.1, 1, 0) == again.step(IMAGES, LABELS, 0.1, 1, 0)


def test_a_run_of_some_instructions_goes_on_from_what_others_left():
    compiled = small_net().programs.compile(Request(GRADIENTS, 24, CrossEntropy()))
    program, count = compiled.program, compiled.program.instruction_count
    whole = program.run(24, (IMAGES, LABELS))
    for cut in range(1, count):
        parts = program.run(24, (IMAGES, LABELS), until=cut), program.run(24, (IMAGES, LABELS), first=cut)
        assert sum(parts) == whole
    for first, until in ((-1, 0), (3, 2), (0, count + 1), (count + 1, 0)):
        with pytest.raises(cnncore.CoreError, match="does not fit the registry"):
            program.run(24, (IMAGES, LABELS), first=first, until=until)
