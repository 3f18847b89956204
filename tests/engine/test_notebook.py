"""What a notebook shows of an object that a cell ends with: little of plans and networks, and figures as pictures."""

from __future__ import annotations

import html
import pickle

import cv2
import numpy as np
import pytest

import engine
from engine.models import make_model
from engine.training.history import History
from tests.engine.small import small_dataset, small_layers, small_net

SHORT = 2000  # characters


def graph() -> engine.Graph:
    net = engine.Graph((1, 10, 10))
    net.output = net.add(engine.Linear(100, 3), net.add(engine.Flatten(), net.input))
    return net


def history(epochs: int = 1000) -> History:
    records = [{"epoch": n, "train_loss": 1 / n, "val_loss": 2 / n, "val_accuracy": 0.5} for n in range(1, epochs + 1)]
    return History("val_loss", records, epochs, 2 / epochs)


def large_plan() -> object:
    return make_model("vgg19").plan(training=True)


@pytest.mark.parametrize("make", [small_net, graph, history, large_plan, lambda: make_model("vgg19")])
def test_an_object_shows_itself_short(make):
    """`repr`, a line, is what a console shows; `_repr_html_` is what a notebook takes."""
    thing = make()
    shown = thing._repr_html_()
    assert len(repr(thing)) < 200 and "\n" not in repr(thing)
    assert len(shown) < SHORT and shown.startswith("<pre>") and shown.endswith("</pre>")
    assert html.escape(repr(thing)) in shown


def test_a_plan_says_what_it_is_and_print_shows_it_whole():
    plan = small_net().plan(batch=8, training=True, optimizer=engine.Adam())
    assert repr(plan).startswith(f"Plan(training, batch up to 8, {len(plan.instructions)} instructions, ")
    whole = str(plan)
    assert "conv2d_forward" in whole and len(whole.splitlines()) > len(plan.instructions)
    shown = plan._repr_html_()
    assert "print(plan)" in shown and "loss: CrossEntropy" in shown and "conv2d_forward" not in shown


def test_a_network_shows_its_first_and_last_layers():
    shown = make_model("vgg19")._repr_html_()
    last = list(make_model("vgg19").layers)[-1]
    assert "\n0 " in shown and f"\n{last} " in shown and "more layers" in shown and "summary()" in shown
    assert "more layers" not in graph()._repr_html_()


def test_an_unfinished_graph_shows_itself():
    unfinished = engine.Graph((1, 10, 10))
    unfinished.add(engine.Flatten(), unfinished.input)
    assert repr(unfinished) == "Graph(1 layer, no output yet)" and repr(unfinished) in unfinished._repr_html_()


def test_names_of_layers_are_text_not_markup():
    net = engine.Sequential({"<b>bold</b>": engine.Flatten(), "out": engine.Linear(4, 2)}, input_shape=(1, 2, 2))
    assert "<b>" not in net._repr_html_() and "&lt;b&gt;" in net._repr_html_()


def test_a_history_shows_its_best_and_last_epochs():
    shown = history()._repr_html_()
    assert repr(history()) == "History(1000 epochs, best 1000: val_loss 0.002)"
    assert "\n 1000  " in shown and "more epochs" in shown
    assert repr(History("val_loss")) == "History(0 epochs)" and "<pre>" in History("val_loss")._repr_html_()
    trainer = engine.Trainer(engine.Sequential(small_layers(), (1, 10, 10)), engine.SGD(lr=0.1), progress="none")
    real = trainer.fit(small_dataset(), small_dataset(seed=1), epochs=6)
    assert "more epochs" not in real._repr_html_() and "val_macro_f1" in real._repr_html_()
    assert real == History(**real.__dict__)  # still a plain dataclass


def test_a_figure_is_a_picture_in_a_notebook():
    """A notebook asks an object for `_repr_png_`: matplotlib's own hook needs pyplot's figure manager."""
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from engine.plots import canvas, confusion
    from engine.plots.curves import Log, draw_curves

    log = Log("run", np.arange(1, 4), {"train_loss": np.ones(3), "val_loss": np.ones(3)})
    for figure in (draw_curves([log]), confusion.draw_confusion(np.eye(3, dtype=np.int64), ("a", "b", "c"), "three")):
        png = figure._repr_png_()
        width, height = (int(each + 0.01) for each in figure.get_size_inches() * canvas.DPI)
        assert png.startswith(b"\x89PNG") and len(repr(figure)) < 200
        assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape == (height, width, 3)


def test_a_figure_is_one_of_matplotlibs():
    """With `%matplotlib inline` a notebook shows figures by that type."""
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from matplotlib.figure import Figure

    from engine.plots.canvas import new_figure

    figure = new_figure(2, 1)
    assert isinstance(figure, Figure)
    assert pickle.loads(pickle.dumps(figure))._repr_png_() == figure._repr_png_()
