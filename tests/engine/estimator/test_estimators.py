"""The estimators: images and rows, weights, networks, copies, pipelines and searches of scikit-learn."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="engine.estimator needs scikit-learn")

import cnncore
import joblib
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import engine
from engine.data.digits import digits5k
from engine.errors import UserError
from engine.estimator import CNNClassifier, CNNRegressor
from engine.layers import BatchNorm, Conv2D, Flatten, Linear, ReLU, Softmax

SHAPE = (1, 8, 8)


def bars(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 1, 8, 8) with a bar across or along, and which."""
    rng = np.random.default_rng(0)
    images = 0.3 * rng.random((count, *SHAPE), np.float32)
    labels = np.arange(count) % 2
    for image, label, place in zip(images, labels, rng.integers(0, 8, count)):
        image[(0, place) if label else (0, slice(None), place)] += 1.0
    return images, np.array(["across", "along"])[labels]


def quick(**more: object) -> CNNClassifier:
    return CNNClassifier(
        **{"filters": (6,), "hidden": (16,), "epochs": 6, "learning_rate": 0.01, "random_state": 3, **more}
    )


def test_images_and_their_rows_give_the_same_bits() -> None:
    images, names = bars()
    rows = images.reshape(len(images), -1)
    whole = quick().fit(images, names)
    flat = quick(image_shape=SHAPE).fit(rows, names)
    assert whole.score(images, names) > 0.95
    assert np.array_equal(whole.predict_proba(images), flat.predict_proba(rows))
    assert np.array_equal(whole.predict_proba(images), whole.predict_proba(rows))
    assert whole.n_features_in_ == 64 and whole.image_shape_ == SHAPE and list(whole.classes_) == ["across", "along"]
    assert whole.n_iter_ == 6 and len(whole.history_.epochs) == 6
    assert any(isinstance(layer, Conv2D) for layer in whole.network_.layers.values())
    vectors = quick().fit(rows, names)
    assert vectors.image_shape_ is None
    assert not any(isinstance(layer, Conv2D) for layer in vectors.network_.layers.values())


def test_a_sample_has_the_same_bits_in_any_company() -> None:
    """Also where the cost model would take another algorithm for one image than for many."""
    images = np.random.default_rng(1).random((300, 8, 16, 16), np.float32)
    found = quick(filters=(16, 32), epochs=1).fit(images[:40], np.arange(40) % 3)
    whole = found.predict_proba(images)
    assert all(np.array_equal(whole[i : i + 1], found.predict_proba(images[i : i + 1])) for i in (0, 7, 299))
    assert np.array_equal(whole[100:133], found.predict_proba(images[100:133]))


def test_the_same_number_gives_the_same_network_and_none_another() -> None:
    images, names = bars(40)
    one, two = (quick(epochs=1).fit(images, names).predict_proba(images) for _ in range(2))
    assert np.array_equal(one, two)
    other = quick(epochs=1, random_state=4).fit(images, names).predict_proba(images)
    assert not np.array_equal(one, other)
    drawn = [quick(epochs=1, random_state=None).fit(images, names).predict_proba(images) for _ in range(2)]
    assert not np.array_equal(*drawn)
    seeds = np.random.RandomState(0)
    assert quick(epochs=1, random_state=seeds).fit(images, names).n_iter_ == 1


def test_a_copy_by_pickle_predicts_the_same_and_a_clone_is_not_fitted() -> None:
    images, names = bars(40)
    found = quick(epochs=1, optimizer=engine.SGD(momentum=0.9), schedule=engine.Cosine(), verbose=False)
    found.fit(images, names)
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(found.predict_proba(images), again.predict_proba(images))
    fresh = clone(found)
    assert fresh.get_params()["optimizer"] == engine.SGD(momentum=0.9) and not hasattr(fresh, "network_")
    assert fresh.fit(images, names).network_ is not found.network_
    assert np.array_equal(found.predict_proba(images), fresh.predict_proba(images))


def test_weights_of_whole_numbers_are_repetitions_and_zero_leaves_out() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((15, 20)), rng.integers(0, 3, 15)
    weights = rng.integers(0, 3, 15)
    for each in (CNNClassifier(random_state=0), CNNRegressor(random_state=0)):
        repeated = clone(each).fit(x.repeat(weights, axis=0), y.repeat(weights))
        weighted = clone(each).fit(x, y, sample_weight=weights)
        scaled = clone(each).fit(x, y, sample_weight=17.0 * weights)
        method = "predict_proba" if hasattr(each, "predict_proba") else "predict"
        expected = getattr(repeated, method)(x)
        assert np.allclose(getattr(weighted, method)(x), expected, atol=1e-4)
        assert np.allclose(getattr(scaled, method)(x), expected, atol=1e-4)
        assert not np.allclose(getattr(clone(each).fit(x, y), method)(x), expected, atol=1e-3)


def test_class_weights_multiply_those_of_the_samples() -> None:
    images, names = bars(30)
    by_class = quick(class_weight={"across": 3.0}).fit(images, names)
    by_sample = quick().fit(images, names, sample_weight=np.where(names == "across", 3.0, 1.0))
    assert np.array_equal(by_class.predict_proba(images), by_sample.predict_proba(images))


@pytest.mark.parametrize("weights", [{"across": 0.0, "along": 0.0}, {"across": -1.0}, {"along": float("nan")}])
def test_class_weights_that_leave_nothing_or_are_none_are_refused(weights: dict[str, float]) -> None:
    images, names = bars(10)
    with pytest.raises(UserError, match="class_weight .*: expected finite numbers of at least 0"):
        quick(class_weight=weights).fit(images, names)


def own_network(shape: tuple[int, int, int], classes: int) -> engine.Network:
    layers = [
        Conv2D(shape[0], 4, 3),
        BatchNorm(4),
        ReLU(),
        Flatten(),
        Linear(4 * (shape[1] - 2) * (shape[2] - 2), classes),
    ]
    return engine.Sequential(layers, shape, seed=1)


def test_a_network_by_function_by_name_or_as_it_is() -> None:
    images, names = bars(40)
    by_function = quick(network=own_network).fit(images, names)
    assert not isinstance(list(by_function.network_.layers.values())[-1], Softmax)
    assert np.allclose(by_function.predict_proba(images).sum(axis=1), 1.0, atol=1e-6)
    net = own_network(SHAPE, 2)
    before = net.parameters()
    as_it_is = quick(network=net).fit(images, names)
    assert all(np.array_equal(before[key], value) for key, value in net.parameters().items())
    assert np.array_equal(as_it_is.predict_proba(images), by_function.predict_proba(images))
    digits = np.random.default_rng(0).random((20, 1, 28, 28), np.float32)
    named = quick(network="lenet", epochs=1).fit(digits, np.arange(20) % 4)
    assert named.network_.output_shape == (4,) and named.network_.input_shape == (1, 28, 28)


def test_a_regressor_takes_one_target_or_several() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((100, 1, 6, 6), np.float32)
    y = x.reshape(100, -1)[:, :2].astype(np.float64)
    settings = {"filters": (), "epochs": 60, "learning_rate": 0.01, "random_state": 0}
    both = CNNRegressor(**settings).fit(x, y)
    assert both.predict(x).shape == (100, 2) and both.predict(x).dtype == np.float64 and both.score(x, y) > 0.8
    assert CNNRegressor(**settings).fit(x, y[:, 0]).predict(x[:3]).shape == (3,)
    assert CNNRegressor(**settings).fit(x, y[:, :1]).predict(x[:3]).shape == (3, 1)


def test_a_pipeline_passes_frames_and_the_names_of_their_columns() -> None:
    images, names = bars(60)
    frame = pd.DataFrame(255 * images.reshape(60, -1), columns=[f"pixel{i}" for i in range(64)])
    pipeline = make_pipeline(MinMaxScaler(), quick(image_shape=SHAPE, epochs=3)).set_output(transform="pandas")
    pipeline.fit(frame, names)
    assert list(pipeline[-1].feature_names_in_) == list(frame.columns)
    assert pipeline.predict(frame).shape == (60,)
    scores = cross_val_score(quick(epochs=8), images, names, cv=3)
    assert scores.mean() > 0.8


def threads_used(estimator: CNNClassifier, x: np.ndarray, y: np.ndarray) -> float:
    """A score that tells how many threads the core would use in the process of the search."""
    return float(cnncore.get_num_threads())


def test_a_search_over_processes_divides_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """joblib tells its processes, by OMP_NUM_THREADS, how many threads each may have."""
    for name in ("CNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    images, names = bars(24)
    grid = {"learning_rate": [0.001, 0.01]}
    search = GridSearchCV(quick(epochs=1), grid, scoring=threads_used, cv=2, n_jobs=2, refit=False).fit(images, names)
    used = [search.cv_results_[f"split{fold}_test_score"] for fold in range(2)]
    assert np.max(used) == max(joblib.cpu_count() // 2, 1)


def test_a_search_finds_what_one_finds_by_hand() -> None:
    images, labels = digits5k()
    chosen = np.arange(0, 5000, 25)
    x, y = images[chosen].reshape(200, -1) / np.float32(255.0), labels[chosen]
    estimator = quick(image_shape=(1, 28, 28), filters=(4,), epochs=2)
    grid = {"learning_rate": [0.001, 0.01]}
    one, two = (GridSearchCV(estimator, grid, cv=2, n_jobs=jobs).fit(x, y) for jobs in (1, 2))
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert np.array_equal(one.predict_proba(x), two.predict_proba(x))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image_shape": (1, 8, 9)}, "expected (channels, height, width) with as many elements as X has features, 64"),
        ({"image_shape": (64,)}, "expected (channels, height, width)"),
        ({"network": "lenet5"}, "unknown model 'lenet5'; did you mean 'lenet'?"),
        ({"network": 7}, "expected a model's name, a network or a function"),
        ({"network": lambda shape, classes: 7}, "the function gave 7"),
        ({"network": own_network((1, 8, 8), 3)}, "it takes inputs of shape (1, 8, 8), but those of X have (64, 1, 1)"),
        ({"hidden": (0,)}, "hidden must be a whole number of at least 1"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"learning_rate": -1.0}, "lr"),
        ({"optimizer": "Adam"}, "optimizer"),
    ],
    ids=["product", "vector", "unknown", "number", "function", "input", "hidden", "epochs", "rate", "optimizer"],
)
def test_what_does_not_fit_is_one_sentence(given: dict[str, object], words: str) -> None:
    images, names = bars(10)
    with pytest.raises(UserError) as found:
        quick(**given).fit(images.reshape(10, -1), names)
    assert words in str(found.value)


def test_a_wrong_shape_at_prediction_and_a_single_class_are_refused() -> None:
    images, names = bars(10)
    found = quick(epochs=1).fit(images, names)
    with pytest.raises(UserError, match=r"images of shape \(1, 4, 16\), but the network was trained on \(1, 8, 8\)"):
        found.predict(images.reshape(10, 1, 4, 16))
    with pytest.raises(UserError, match="one class: across"):
        quick().fit(images[::2], names[::2])
    with pytest.raises(UserError, match="gives outputs of shape"):
        quick(network=own_network(SHAPE, 3)).fit(images, names)
    with pytest.raises(ValueError, match="at least one non-zero number"):
        quick().fit(images, names, sample_weight=np.zeros(10))
    with pytest.raises(UserError, match="infinite as float32"):
        CNNRegressor().fit(images, np.full(10, 1e39))


def test_without_scikit_learn_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nimport engine.estimator"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'ImportError: engine.estimator needs scikit-learn: pip install "cnn-engine[sklearn]"'
    )


def test_the_network_says_of_its_outputs_what_the_estimator_does(tmp_path) -> None:
    images, names = bars(40)
    given = engine.Sequential([Flatten(), Linear(64, 2)], SHAPE)
    given.class_names, given.preprocess = ["along", "across"], {"scale": "-1..1"}
    fitted = quick(network=given).fit(images, names)
    assert fitted.network_.class_names == ["across", "along"] and fitted.network_.preprocess is None
    fitted.network_.save(tmp_path / "net.safetensors")
    stored = engine.load(tmp_path / "net.safetensors")
    assert np.array_equal(np.array(stored.class_names)[stored.predict(images).argmax(axis=1)], fitted.predict(images))
    assert given.class_names == ["along", "across"]
    numbers = quick(network=given, epochs=1).fit(images, np.where(names == "along", 7, -2))
    assert numbers.network_.class_names == ["-2", "7"]
    assert quick(epochs=1).fit(images, np.where(names == "along", "a" * 1001, "b")).network_.class_names == []
    regressor = CNNRegressor(network=given, epochs=1, random_state=0).fit(images, np.zeros((40, 2)))
    assert regressor.network_.class_names == [] and regressor.network_.preprocess is None


@pytest.mark.parametrize("last", [[], [engine.Sigmoid()], [Softmax()]], ids=["scores", "sigmoid", "softmax"])
def test_probabilities_are_a_distribution_whatever_the_network_ends_in(last) -> None:
    images, names = bars(40)
    fitted = quick(network=engine.Sequential([Flatten(), Linear(64, 2), *last], SHAPE)).fit(images, names)
    found = fitted.predict_proba(images)
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-6)
    # The mean logarithm is the loss of the training, which goes down to this.
    loss = -np.log(found[np.arange(40), (names == "along").astype(int)]).mean()
    labels = (names == "along").astype(np.int64)
    expected, _ = fitted.network_.loss_and_gradients(images, labels, engine.CrossEntropy())
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_last_batch_of_one_sample_is_met_with_what_the_estimator_has() -> None:
    net = engine.Sequential([Flatten(), Linear(64, 4), BatchNorm(4), Linear(4, 2)], SHAPE)
    images, names = bars(33)
    with pytest.raises(UserError, match=r"sees one value per channel; choose another batch_size$"):
        quick(network=net, batch_size=16).fit(images, names)
