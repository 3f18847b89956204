"""What a custom layer or op forgets is said when the plan is made: no gradient gets lost, no cost is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from engine import Add, Conv2D, CrossEntropy, Flatten, Graph, LeakyReLU, Linear, Sequential
from engine.errors import UserError
from engine.layers import Layer, Shape
from engine.losses import LABELS, TARGETS
from engine.network.network import Network
from engine.optim import SGD
from engine.plan import gradients
from engine.plan.cost import counts, rates
from engine.program.code import Builder, Tensor
from engine.program.slots import ParameterSpec

IMAGES = np.random.default_rng(0).standard_normal((6, 1, 6, 6), np.float32)
CLASSES = np.arange(6) % 3
WHOLE = {"count": 72, "slope": 0.0}  # the geometry of an op on all elements of the map


@dataclass(frozen=True)
class Scaled(Layer):
    """x + scale, as a layer would be written whose author forgets one thing or another."""

    forget: str

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return (ParameterSpec("scale", (72,), "bias"),)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        output = builder.tensor(inputs[0].shape)
        if self.forget == "parameter":
            builder.emit("leaky_relu_forward", WHOLE, dst=output, src=inputs[0])
        elif self.forget == "input":  # the output is never written
            builder.parameter("scale")
        else:
            builder.emit("add", WHOLE, dst=output, a=inputs[0], b=builder.parameter("scale"))
        return output


def with_leaky_relu() -> Network:
    return Sequential([Conv2D(1, 2, 1), LeakyReLU(), Flatten(), Linear(72, 3)], input_shape=(1, 6, 6))


def beside_leaky_relu() -> Network:
    """The convolution gets a gradient on another way too: half of it would get lost."""
    graph = Graph((1, 6, 6))
    conv = graph.add(Conv2D(1, 2, 1), graph.input)
    both = graph.add(Add(), conv, graph.add(LeakyReLU(), conv, name="1"))
    graph.output = graph.add(Linear(72, 3), graph.add(Flatten(), both))
    return graph


def with_scaled(forget: str) -> Network:
    return Sequential([Conv2D(1, 2, 1), Scaled(forget), Flatten(), Linear(72, 3)], input_shape=(1, 6, 6))


def train(net: Network) -> None:
    net.training_session(CrossEntropy(), SGD(lr=0.1), 6)


def plan(net: Network) -> None:
    net.plan(training=True)


def differentiate(net: Network) -> None:
    net.loss_and_gradients(IMAGES, CLASSES, CrossEntropy())


WAYS = (train, plan, differentiate)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [with_leaky_relu, beside_leaky_relu])
def test_an_op_without_a_gradient_rule_is_refused(make, way, monkeypatch):
    monkeypatch.delitem(gradients.RULES, "leaky_relu_forward")
    with pytest.raises(UserError, match=r"'leaky_relu_forward' of layer '1' has no rule for its gradient \(RULES\)"):
        way(make())
    assert np.isfinite(make().predict(IMAGES)).all()  # a prediction needs no gradient
    if make is with_leaky_relu:  # nothing before the op learns
        make().training_session(CrossEntropy(), SGD(lr=0.1), 6, freeze=["0"])


@pytest.mark.parametrize(
    ("op", "operand"), [("leaky_relu_forward", "src"), ("linear_forward", "weights"), ("add", "b")]
)
def test_a_rule_that_forgets_an_operand_is_refused(op, operand, monkeypatch):
    whole = gradients.RULES[op]

    def forgetful(tape, forward, diff):
        """The rule, with the operand's gradient taken back."""
        value = forward.operands[operand]
        before = list(tape.contributions.get(value, ()))
        given = tape.given[value]
        whole(tape, forward, diff)
        tape.contributions[value], tape.given[value] = before, given

    monkeypatch.setitem(gradients.RULES, op, forgetful)
    with pytest.raises(UserError, match=rf"{op!r} of layer '\d' has a rule that gives no gradient to {operand!r}"):
        plan(beside_leaky_relu())


@pytest.mark.parametrize("kind", [LABELS, TARGETS])
def test_a_loss_that_cannot_be_differentiated_is_refused(kind, monkeypatch):
    monkeypatch.delitem(gradients.LOSS_SOURCES, CrossEntropy.ops[kind])
    y = CLASSES if kind == LABELS else np.eye(3, dtype=np.float32)[CLASSES]
    with pytest.raises(UserError, match=rf"{CrossEntropy.ops[kind]!r} of layer 'loss' is no loss"):
        with_leaky_relu().loss_and_gradients(IMAGES, y, CrossEntropy())


@pytest.mark.parametrize("way", WAYS)
def test_a_parameter_that_no_op_reads_is_refused(way):
    with pytest.raises(UserError, match=r"parameter '1\.scale' gets no gradient"):
        way(with_scaled("parameter"))


@pytest.mark.parametrize("way", [*WAYS, lambda net: net.predict(IMAGES), lambda net: net.plan()])
def test_an_output_that_no_op_writes_is_refused(way):
    with pytest.raises(UserError, match="layer '3' reads a value that no op before it writes"):
        way(with_scaled("input"))


def test_a_parameter_that_two_ops_read_is_refused():
    @dataclass(frozen=True)
    class Twice(Linear):
        def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
            outputs = [Linear.lower(self, builder, inputs) for _ in range(2)]
            output = builder.tensor(outputs[0].shape)
            builder.emit("add", {"count": 3, "slope": 0.0}, dst=output, a=outputs[0], b=outputs[1])
            return output

    net = Sequential([Flatten(), Twice(36, 3)], input_shape=(1, 6, 6))
    with pytest.raises(UserError, match=r"parameter '1\.weights' is read by 2 ops"):
        plan(net)


@pytest.mark.parametrize("way", [*WAYS, lambda net: net.predict(IMAGES), lambda net: net.summary()])
def test_an_op_without_a_cost_is_refused(way, monkeypatch):
    monkeypatch.delitem(counts.PER_SAMPLE, "leaky_relu_forward")
    with pytest.raises(UserError, match=r"'leaky_relu_forward' of layer '1' has no cost: .* PER_SAMPLE"):
        way(with_leaky_relu())


def test_work_without_rates_is_refused(monkeypatch):
    for known in rates.RATES.values():
        monkeypatch.delitem(known, "stream", raising=False)
    with pytest.raises(UserError, match="has no cost: .* no rates for work of the kind 'stream'"):
        with_leaky_relu().plan()


@pytest.mark.parametrize(
    ("op", "geometry", "operands", "message"),
    [
        (
            "leaky_relu_forwards",
            WHOLE,
            ("dst", "src"),
            "unknown op 'leaky_relu_forwards'; did you mean 'leaky_relu_forward'",
        ),
        ("leaky_relu_forward", WHOLE, ("dst", "source"), "of layer '1': operands dst, source; expected dst, src"),
        ("leaky_relu_forward", WHOLE, ("dst",), "operands dst; expected dst, src"),
        ("leaky_relu_forward", {"counts": 72}, ("dst", "src"), "geometry counts; expected count, slope"),
    ],
)
def test_a_call_that_the_core_does_not_know_is_refused(op, geometry, operands, message):
    @dataclass(frozen=True)
    class Wrong(Layer):
        def output_shape(self, *shapes: Shape) -> Shape:
            return shapes[0]

        def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
            output = builder.tensor(inputs[0].shape)
            given = {name: output if name == "dst" else inputs[0] for name in operands}
            builder.emit(op, geometry, **given)
            return output

    net = Sequential([Conv2D(1, 2, 1), Wrong(), Flatten(), Linear(72, 3)], input_shape=(1, 6, 6))
    with pytest.raises(UserError, match=re.escape(message)):
        net.predict(IMAGES)


def test_an_output_of_another_shape_than_announced_is_refused():
    @dataclass(frozen=True)
    class Narrow(LeakyReLU):
        def output_shape(self, *shapes: Shape) -> Shape:
            return (1, 6, 6)

    with pytest.raises(
        UserError, match=r"layer '1': `lower` gives an output of shape \(2, 6, 6\), .* says \(1, 6, 6\)"
    ):
        Sequential([Conv2D(1, 2, 1), Narrow()], input_shape=(1, 6, 6)).plan()


def test_a_result_over_its_own_source_is_refused():
    @dataclass(frozen=True)
    class Inside(Layer):
        def output_shape(self, *shapes: Shape) -> Shape:
            return shapes[0]

        def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
            builder.emit("leaky_relu_forward", WHOLE, dst=inputs[0], src=inputs[0])
            return inputs[0]

    with pytest.raises(UserError, match=r"layer '1' writes over a value that was read"):
        Sequential([Conv2D(1, 2, 1), Inside()], input_shape=(1, 6, 6)).plan()


@dataclass(frozen=True)
class Doubled(Layer):
    """x + x, by an op that is told of another number of elements."""

    count: int

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        output = builder.tensor(inputs[0].shape)
        builder.emit("add", {"count": self.count, "slope": 0.0}, dst=output, a=inputs[0], b=inputs[0])
        return output


@pytest.mark.parametrize("count", [1, 35, 37, 360])
def test_an_op_on_more_or_fewer_elements_than_its_values_have(count: int) -> None:
    net = Sequential([Doubled(count), Flatten(), Linear(36, 3)], input_shape=(1, 6, 6))
    with pytest.raises(UserError, match=r"op 'add' of layer '0': by its geometry '\w+' has \d+ bytes"):
        net.predict(IMAGES)
    assert np.isfinite(Sequential([Doubled(36)], input_shape=(1, 6, 6)).predict(IMAGES)).all()
