"""What bytes come to before a network sees them: the same in training, evaluation and the checkpoint."""

import warnings

import numpy as np
import pytest

import engine
from engine.data.dataset import Dataset
from engine.data.preprocess import Preprocess
from engine.errors import EngineWarning, UserError
from engine.inference.calibrate import calibrate
from engine.inference.evaluation import EvaluationViews
from tests.engine.small import CLASSES, small_dataset, small_images, small_net

IMAGES, LABELS = small_images(48)
IMAGES = IMAGES[:, None]
PAIR = IMAGES, LABELS
WIDE = Preprocess(scale="-1..1")
SET = Dataset("wide", IMAGES, LABELS, CLASSES, WIDE)
FLOATS = WIDE.normalise(IMAGES)


def trainer(net=None, out=None):
    return engine.Trainer(net or small_net(), engine.SGD(lr=0.05), batch_size=16, progress="none", out=out)


def test_bytes_without_a_preprocess_leave_a_network_that_says_how_it_was_trained(tmp_path):
    net = small_net()
    before = Preprocess(steps=("reverse",), size=(10, 10), scale="-1..1", mean=(0.1,), std=(0.5,))
    net.preprocess = before.to_dict()
    with pytest.warns(EngineWarning, match=r"trained on as 0\.\.1, but the network came with scale '-1\.\.1', mean"):
        trainer(net).fit(PAIR, epochs=1)
    net.save(tmp_path / "net.safetensors")
    stored = engine.load(tmp_path / "net.safetensors").preprocess
    assert Preprocess.from_dict(stored) == Preprocess(steps=("reverse",), size=(10, 10))
    # The training itself is that of bytes as it always was.
    plain = small_net()
    trainer(plain).fit(PAIR, epochs=1)
    assert plain.preprocess is None
    assert all(np.array_equal(array, plain.parameters()[key]) for key, array in net.parameters().items())


@pytest.mark.parametrize("train", [PAIR, (FLOATS, LABELS)], ids=["bytes to 0..1", "floats"])
def test_a_preprocess_that_agrees_or_cannot_be_held_against_the_images_stays(train):
    net = small_net()
    net.preprocess = before = (Preprocess(steps=("reverse",)) if train is PAIR else WIDE).to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(net).fit(train, train, epochs=1)
    assert net.preprocess == before


def test_validation_bytes_are_scaled_as_those_of_training():
    told, pair, floats = trainer(), trainer(), trainer()
    expected = told.fit(SET, SET, epochs=2)["val_loss"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pair.fit(SET, PAIR, epochs=2)["val_loss"] == expected
    assert pair.evaluate(PAIR) == told.evaluate(SET) == told.evaluate((FLOATS, LABELS))
    with pytest.warns(EngineWarning, match="its images are uint8, and those of data float32"):
        floats.fit((FLOATS, LABELS), PAIR, epochs=1)
    other = SET.with_preprocess(Preprocess(scale="none"))
    with pytest.warns(EngineWarning, match=r"normalised by scale 'none', but those of wide by scale '-1\.\.1'"):
        trainer().fit(SET, other, epochs=1)


def test_what_measures_a_network_on_bytes_scales_them_as_it_says():
    bare = Dataset("bare", IMAGES, LABELS)
    net, other = small_net(), small_net()
    net.preprocess = WIDE.to_dict()
    views = EvaluationViews("flip")
    assert np.array_equal(views.scores(net, bare), views.scores(other, SET))
    calibrate(net, bare)
    calibrate(other, SET)
    assert all(np.array_equal(array, other.buffers()[key]) for key, array in net.buffers().items())
    net.preprocess = Preprocess(colour=True, mean=(0.1, 0.2, 0.3)).to_dict()
    with pytest.raises(UserError, match=r"images have shape \(1, 10, 10\), but .* 3 channels"):
        trainer(net).evaluate(PAIR)


@pytest.mark.parametrize(("first", "then"), [(SET, PAIR), (PAIR, SET)], ids=["no longer said", "now said"])
def test_a_run_does_not_go_on_with_bytes_of_another_scale(tmp_path, first, then):
    trainer(out=tmp_path).fit(first, epochs=1)
    with pytest.raises(UserError, match="images that were normalised by scale .*, now it is by scale"):
        trainer(out=tmp_path).fit(then, epochs=2, resume=True)


def test_a_run_goes_on_where_the_scale_is_said_only_now(tmp_path):
    trainer(out=tmp_path).fit(PAIR, epochs=1)
    said = small_dataset(1).preprocess
    trainer(out=tmp_path).fit(Dataset("said", IMAGES, LABELS, preprocess=said), epochs=2, resume=True)
    assert engine.load(tmp_path / "last.safetensors").preprocess is not None
