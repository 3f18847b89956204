"""The page as a file: what is in it, and which networks are refused before anything is written."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.export.page.command import write
from engine.export.page.document import LONGEST_TITLE, document, embedded, part, title_of
from engine.inference.ensemble import member_of
from engine.layers import Flatten, Layer, Linear

ROOT = Path(__file__).resolve().parents[4]
REPORT = ROOT / "experiments" / "report" / "page" / "report.css"


@dataclass
class Options:
    source: str | None = "net.safetensors"
    foreign: Path | None = None
    title: str | None = None
    paper: str | None = None


def small(shape=(1, 4, 4), outputs=3, **preprocess):
    net = engine.Sequential([Flatten(), Linear(int(np.prod(shape)), outputs)], shape)
    net.preprocess = Preprocess(colour=shape[0] == 3, size=shape[1:], **preprocess).to_dict()
    return net


def network_in(page):
    return json.loads(re.search(r'<script type="application/json" id="network">(.*?)</script>', page, re.S)[1])


def test_it_is_one_small_file_that_names_no_other(digits, tmp_path):
    path = tmp_path / "page.html"
    write(engine.load(digits.path), path, Options(str(digits.path)))
    page = path.read_text("utf-8")
    assert path.stat().st_size < 3_000_000 and "<h1>digits</h1>" in page and "93,322 parameters" in page
    assert re.findall(r"https?://|src=|url\(|@import|\{\{|fetch\(|XMLHttpRequest|WebSocket", page) == []
    assert re.findall(r'href="(?!data:,|#content)', page) == []
    assert "default-src 'none'" in page


def test_a_quantised_network_takes_a_third_of_it(digits, tmp_path):
    net = engine.load(digits.path)
    values = Preprocess.from_dict(net.preprocess).normalise(digits.images[:32, None])
    sizes = []
    for each in (net, engine.quantize(net, values)):
        write(each, tmp_path / "page.html", Options(str(digits.path)))
        sizes.append((tmp_path / "page.html").stat().st_size)
    weights = 4 * net.num_parameters * 4 / 3  # as base64
    assert sizes[0] - sizes[1] > 0.7 * weights
    assert "bytes of integers" in (tmp_path / "page.html").read_text("utf-8")


def test_its_colours_are_the_reports():
    ours, theirs = (text[: text.index("* { box-sizing")] for text in (part("page.css"), REPORT.read_text("utf-8")))
    assert ours == theirs


def test_names_end_no_script_and_no_title():
    net = small()
    net.class_names = ["</script><script>alert(1)</script>", "<!--", "{{core}}"]
    page = document(member_of("net", net), "<b>&{{style}}")
    assert network_in(page)["classes"] == net.class_names and page.count("</script>") == 3
    assert "<title>&lt;b&gt;&amp;{{style}}</title>" in page
    with pytest.raises(ValueError):
        embedded(float("nan"))


@pytest.mark.parametrize(
    "settings, paper",
    [({}, "black"), ({"steps": ("reverse",)}, "white"), ({"shape": (3, 4, 4)}, "white")],
    ids=["grey", "reversed", "colour"],
)
def test_the_paper_is_what_the_network_knows(settings, paper):
    member = member_of("net", small(**settings))
    assert network_in(document(member, "t"))["paper"] == paper
    assert network_in(document(member, "t", "white"))["paper"] == "white"


class Doubled(Layer):
    """A layer of a user's own."""

    def output_shape(self, *shapes):
        return shapes[0]

    def lower(self, builder, inputs):
        return inputs[0]


def own_layer():
    net = engine.Sequential([Flatten(), Doubled(), Linear(16, 3)], (1, 4, 4))
    net.preprocess = small().preprocess
    return net


def huge():
    return small((1, 28, 28), 32_000)


def unprepared():
    net = small()
    net.preprocess = None
    return net


def of_numbers():
    net = engine.Sequential([Linear(4, 3)], (4,))
    net.preprocess = {}
    return net


def with_nan():
    net = small()
    net.load_parameters({"1.weights": np.full((3, 16), np.nan, np.float32)}, strict=False)
    return net


def unfitted():
    return small(standardise="set")


def of_maps():
    net = engine.Sequential([engine.Conv2D(1, 3, 1)], (1, 4, 4))
    net.preprocess = small().preprocess
    return net


def another_size():
    net = small()
    net.preprocess = small((1, 5, 5)).preprocess
    return net


@pytest.mark.parametrize(
    "make, words",
    [
        (huge, "has 100 MB of weights, and a page holds 50 MB"),
        (own_layer, "layer '1', Doubled, is none that a page can run"),
        (unprepared, "saved without its preprocessing"),
        (of_numbers, "takes 4 numbers and no image"),
        (with_nan, "1.weights holds NaN or infinite values"),
        (unfitted, "standardise: set needs the training images"),
        (of_maps, "is no classifier, its output has shape (3, 4, 4)"),
        (another_size, "gives images of shape (1, 5, 5), but its network takes (1, 4, 4)"),
    ],
    ids=lambda each: getattr(each, "__name__", "words"),
)
def test_what_a_page_cannot_run_is_refused_before_anything_is_written(make, words, tmp_path):
    with pytest.raises(UserError) as caught:
        write(make(), tmp_path / "page.html", Options())
    assert words in str(caught.value) and list(tmp_path.iterdir()) == []
    if make is not unfitted:
        assert "net.safetensors" in str(caught.value)


@pytest.mark.parametrize("title", [" ", "x" * (LONGEST_TITLE + 1)], ids=["blank", "long"])
def test_a_title_is_a_line(title):
    with pytest.raises(UserError, match="--title: expected 1 to"):
        document(member_of("net", small()), title)


@pytest.mark.parametrize(
    "source, title",
    [
        ("runs/birds", "birds"),
        ("runs/birds/best.safetensors", "birds"),
        ("best.safetensors", "best"),
        ("a.b.onnx", "a.b"),
    ],
    ids=str,
)
def test_a_network_is_called_by_its_file_or_run(source, title):
    assert title_of(Path(source)) == title


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "engine.export", *map(str, words)], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_the_command_writes_a_page(digits, tmp_path):
    path = tmp_path / "page.html"
    done = command(digits.path, path, "--title", "Which digit?", "--paper", "white")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"written: {path} (0.6 MB)\n"
    page = path.read_text("utf-8")
    assert "<h1>Which digit?</h1>" in page and network_in(page)["paper"] == "white"


def test_the_command_ends_with_one_line_and_status_2(tmp_path):
    path = tmp_path / "page.html"
    done = command("mnist_cnn", path)
    assert done.returncode == 2 and not path.exists()
    assert (
        done.stderr
        == "error: mnist_cnn: the network was saved without its preprocessing, so images cannot be prepared\n"
    )
