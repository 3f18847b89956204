"""A network: a graph of layers, its parameters, and the compiled plans that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engine.arguments import checked_seed
from engine.layers import Layer
from engine.layers.topology import Topology
from engine.losses import Loss
from engine.network import checkpoint
from engine.network.execution import Execution
from engine.network.init import checked_initializer, draw
from engine.network.inputs import checked_class_names, single_value_norm, warn_of_nameless
from engine.network.parameters import Array, Arrays, ParameterStore
from engine.network.programs import Programs
from engine.network.session import TrainingSession
from engine.network.summary import BATCH, Summary, brief, render, summarize
from engine.optim import Optimizer
from engine.plan import Algorithm, Choices
from engine.plan.plan import Plan
from engine.plan.request import USUAL
from engine.plan.table import preformatted
from engine.program.shapes import Shape
from engine.program.slots import Slot


class _Answers:
    """What the outputs of a network stand for.

    trained_by  the loss that it was trained by last, where they are no scores of classes (see Loss.of_classes), or None
    """

    trained_by: str | None = None
    _class_names: Sequence[str] = ()

    @property
    def output_shape(self) -> Shape:
        raise NotImplementedError

    @property
    def class_names(self) -> Sequence[str]:
        """By label, or empty; fewer than outputs, with a warning, where some stand for no class. UserError for what is
        no such list."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Any) -> None:
        self.name_classes(names)
        warn_of_nameless("class_names: the network has", self._class_names, self.output_shape[0])

    def name_classes(self, names: Any) -> None:
        """Set `class_names` where somebody else tells of outputs without one."""
        self._class_names = checked_class_names(names, self.output_shape[0])


_WAYS: Mapping[str, str] = {"quantize": "engine.quantize.build", "to_onnx": "engine.export.onnx.model"}
"""Method → the module above that has a function of the same name, which is loaded when it is used: no import points
up, and tests/test_import_order.py knows this table."""


class WaysOut:
    """What rooms that stand above it make of a network; its checkpoint is `Network.save`."""

    def quantize(self, calibration: Any, **settings: Any) -> Any:
        """The engine.QuantizedNetwork that `engine.quantize` makes of it, with the same arguments."""
        return import_module(_WAYS["quantize"]).quantize(self, calibration, **settings)

    def to_onnx(self, path: Path | str, options: Any = None) -> None:
        """Write an ONNX model, as `engine.to_onnx` does; options: an engine.OnnxOptions, or None."""
        import_module(_WAYS["to_onnx"]).to_onnx(self, path, options)


class Network(_Answers, WaysOut):
    """Base of Sequential and Graph; also what `engine.network.load.from_config` and `engine.load` give.

    topology      the graph; seed and initializer decide the first weights (see engine.network.init)
    arrays        parameters and running statistics to begin with, by name, in place of drawn ones
    preprocess    how a photograph becomes an input (engine.data.preprocess, as a dict), or None: a checkpoint's
    class_names   by label, or empty: a checkpoint's
    """

    preprocess: dict[str, Any] | None = None

    def __init__(
        self,
        topology: Topology,
        *,
        seed: int = 0,
        initializer: str | Mapping[str, str] = "he_normal",
        arrays: Arrays | None = None,
    ):
        self.seed = checked_seed("network", seed)
        self.initializer = checked_initializer(initializer)
        self._setup(topology, arrays)

    def _setup(self, topology: Topology, arrays: Arrays | None = None) -> None:
        self._execution = Execution(Programs(topology, ParameterStore(topology, arrays)))
        if arrays is None:
            self.initialize(self.seed)
        else:
            self.load_parameters(arrays[0])
            self.load_buffers(arrays[1])

    @property
    def execution(self) -> Execution:
        """What runs the network; Graph has none until it is built."""
        return self._execution

    @property
    def programs(self) -> Programs:
        """The compiled plans."""
        return self.execution.programs

    @property
    def topology(self) -> Topology:
        return self.programs.topology

    @property
    def store(self) -> ParameterStore:
        """The packed parameters; plans and sessions share it."""
        return self.programs.store

    @property
    def input_shape(self) -> Shape:
        """Per sample: (C, H, W) or (K,)."""
        return self.topology.input_shape

    @property
    def output_shape(self) -> Shape:
        """Per sample, in the public order."""
        return self.topology.output_shape

    @property
    def layers(self) -> dict[str, Layer]:
        """Name → layer, in the order in which they run."""
        return {node.name: node.layer for node in self.topology.nodes}

    @property
    def num_trainable(self) -> int:
        return self.store.num_trainable

    @property
    def num_parameters(self) -> int:
        """Trainable parameters and running statistics, as Keras counts."""
        return self.store.num_parameters

    @property
    def needs_two_samples(self) -> str | None:
        """Name of a BatchNorm with one value per channel and sample: training cannot have a batch of one sample."""
        return single_value_norm(self.topology)

    def to_config(self) -> dict[str, Any]:
        """JSON-able description of graph, shapes and arguments (not of the weights)."""
        return {**self.topology.to_config(), "seed": self.seed, "initializer": self.initializer}

    def summary(self) -> str:
        """A table of the layers with shapes and parameters, and totals with FLOPs and memory."""
        return render(self.summarize())

    def summarize(self, batch: int = BATCH) -> Summary:
        """What `summary` shows, as numbers; memory for batches of so many samples."""
        return summarize(self.topology, self.store, self.plan(batch), self.plan(batch, training=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.layers)} layers, {self.num_parameters:,} parameters)"

    def _repr_html_(self) -> str:
        return preformatted(repr(self), "", *brief(self.topology))

    def initialize(self, seed: int) -> None:
        """Draw all weights anew from `seed`; biases 0, BatchNorm weights 1, running statistics 0 and 1."""
        index = {node.name: position for position, node in enumerate(self.topology.nodes)}

        def drawn(slots: Mapping[str, Slot]) -> dict[str, Array]:
            return {
                key: draw(self.initializer, slot.kind, slot.spec, seed, index[slot.layer])
                for key, slot in slots.items()
            }

        self.store.write_parameters(drawn(self.store.slots), strict=True)
        self.store.write_buffers(drawn(self.store.buffer_slots), strict=True)
        self.store.fresh = dict.fromkeys(self.store.buffer_slots, self.store.steps)

    def parameters(self) -> dict[str, Array]:
        """Copies of the trainable parameters in the public layouts: conv OIHW, linear (out, in), vectors (C,)."""
        return self.store.read_parameters()

    def buffers(self) -> dict[str, Array]:
        """Copies of the running statistics."""
        return self.store.read_buffers()

    def load_parameters(self, mapping: Mapping[str, Any], strict: bool = True) -> None:
        """Store parameters by name; `strict` refuses unknown and missing names. Nothing is stored on an error."""
        self.store.write_parameters(mapping, strict=strict)

    def load_buffers(self, mapping: Mapping[str, Any], strict: bool = True) -> None:
        """Store running statistics by name, as load_parameters does."""
        self.store.write_buffers(mapping, strict=strict)

    def save(self, path: Path | str) -> None:
        """Write a checkpoint of graph and weights, which `engine.load` reads."""
        checkpoint.save(self, path)

    def predict(self, x: Array, batch_size: int = 256, algorithm: Algorithm = "auto") -> Array:
        """What the last layer gives for float32 images (n, C, H, W): float32 (n, *output_shape). Algorithms: `plan`."""
        return self.execution.predict(x, batch_size, algorithm)

    def evaluate(
        self, x: Array, y: NDArray[Any], loss: Loss, batch_size: int = 256, algorithm: Algorithm = "auto"
    ) -> tuple[float, Array]:
        """Mean loss over all samples, in inference mode, and the outputs as `predict` gives them."""
        return self.execution.evaluate(x, y, loss, batch_size, algorithm)

    def loss_and_gradients(
        self, x: Array, y: NDArray[Any], loss: Loss, seed: int = 0, step: int = 0, algorithm: Algorithm = "auto"
    ) -> tuple[float, dict[str, Array]]:
        """Mean loss over the batch and its gradient by every parameter, in training mode.

        Dropout draws by (seed, step); batch normalisation uses the batch's statistics and updates the running ones.
        """
        return self.execution.loss_and_gradients(x, y, loss, seed, step, algorithm)

    def training_session(
        self,
        loss: Loss,
        optimizer: Optimizer,
        batch: int,
        max_norm: float | None = None,
        algorithm: Algorithm = "auto",
        freeze: Sequence[str | int] | None = None,
        learning_rates: Mapping[Any, float] | None = None,
        average: str | None = None,
        parts: int = 1,
        memory: str = USUAL,
    ) -> TrainingSession:
        """A compiled training step, from checks to update, for up to `batch` samples; arguments: TrainingSession."""
        return TrainingSession(
            self.programs, loss, optimizer, batch, max_norm, algorithm, freeze, learning_rates, average, parts, memory
        )

    def plan(
        self,
        batch: int = 64,
        training: bool = False,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        max_norm: float | None = None,
        algorithm: Algorithm = "auto",
        tune: bool = False,
        freeze: Sequence[str | int] | None = None,
        learning_rates: Mapping[Any, float] | None = None,
        memory: str = USUAL,
    ) -> Plan:
        """The plan for batches of up to `batch` samples; `print` it to see it.

        Training plans take CrossEntropy (or MeanSquaredError, where the output is a map) unless a loss is given,
        and end with the gradients unless an optimizer is given.

        algorithm   of the convolutions: "auto" takes what the cost model finds fastest, "direct" the exact form
                    everywhere; `plan.choices["convolutions"]` of another plan repeats that plan's
        tune        measure on this machine, which may choose otherwise in every run: keep `plan.choices`
        freeze, learning_rates, memory   of a training plan, as in engine.training.trainer.Trainer
        """
        return self.programs.plan_for(
            batch, training, loss, optimizer, max_norm, algorithm, tune, freeze, learning_rates, memory
        )

    def tuned_choices(
        self, loss: Loss, optimizer: Optimizer, batch: int, freeze: Sequence[str | int] | None = None
    ) -> Choices:
        """The algorithms that are the fastest in a training step of `batch` samples, measured just now."""
        return self.plan(batch, True, loss, optimizer, tune=True, freeze=freeze).choices["convolutions"]
