"""A browser, the scripts of the page alone in it, and a network that has learned the digits a little."""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.data.digits import CLASSES, digits5k
from engine.data.preprocess import Preprocess
from engine.export.page.document import CORE, part
from engine.models.mnist import mnist_cnn
from tests.browser import launched


@pytest.fixture(scope="module")
def chromium():
    with launched("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream") as browser:
        yield browser


@pytest.fixture(scope="module")
def core(chromium):
    """A page with the scripts that do the work, and nothing to see."""
    page = chromium.new_page()
    page.add_script_tag(content="\n".join(map(part, CORE)))
    page.add_script_tag(
        content="""const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
        const textOf = (array) => btoa(Array.from(
          new Uint8Array(array.buffer, array.byteOffset, array.byteLength), (b) => String.fromCharCode(b)).join(""));"""
    )
    yield page
    page.close()


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def decoded(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


@dataclass(frozen=True)
class Digits:
    """A checkpoint, and images and labels that its network has not seen."""

    path: Path
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="package")
def digits(tmp_path_factory):
    """The MNIST report's network after an epoch of 1,500 digits."""
    images, labels = digits5k()
    order = np.random.default_rng(0).permutation(len(images))
    known, others = order[:1500], order[1500:1700]
    preprocess = Preprocess(size=(28, 28))
    net = mnist_cnn()
    data = preprocess.normalise(images[known][:, None])
    trainer = engine.Trainer(net, engine.Adam(0.002), engine.CrossEntropy(), progress="none")
    trainer.fit((data, labels[known]), epochs=2)
    net.preprocess, net.class_names = preprocess.to_dict(), list(CLASSES)
    path = tmp_path_factory.mktemp("digits") / "digits.safetensors"
    net.save(path)
    return Digits(path, images[others], labels[others])
