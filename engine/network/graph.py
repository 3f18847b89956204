"""The two ways to write a network: a list of layers (Sequential) or a graph of them (Graph)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.arguments import checked_seed
from engine.errors import UserError
from engine.layers import Layer
from engine.layers.topology import INPUT, Node, checked_input_shape, checked_name, checked_topology, make_node
from engine.network.execution import Execution
from engine.network.init import checked_initializer
from engine.network.network import Network
from engine.plan.table import preformatted
from engine.program.shapes import Shape


class Sequential(Network):
    """Layers one after the other, named "0", "1", ...

    layers       a sequence of layers, or a mapping from name to layer
    input_shape  (C, H, W), or (K,) for vectors
    seed         of the first weights
    initializer  a name of engine.network.init, or one per layer kind
    """

    def __init__(
        self,
        layers: Sequence[Layer] | Mapping[str, Layer],
        input_shape: Shape,
        seed: int = 0,
        initializer: str | Mapping[str, str] = "he_normal",
    ):
        named = layers if isinstance(layers, Mapping) else {str(i): layer for i, layer in enumerate(layers)}
        shape = checked_input_shape(input_shape)
        nodes: list[Node] = []
        source, source_shape = INPUT, shape
        for name, layer in named.items():
            checked_name(name, ())
            nodes.append(make_node(name, layer, [source], [source_shape]))
            source, source_shape = name, nodes[-1].shape
        super().__init__(checked_topology(shape, nodes, source), seed=seed, initializer=initializer)


class Graph(Network):
    """A directed acyclic graph, built layer by layer; it becomes a network when its output is set.

        graph = Graph(input_shape=(3, 32, 32))
        a = graph.add(Conv2D(3, 16, 3, padding=1), graph.input, name="a")
        b = graph.add(ReLU(), a)
        graph.output = graph.add(Add(), a, b)

    input_shape  (C, H, W), or (K,) for vectors
    seed         of the first weights
    initializer  a name of engine.network.init, or one per layer kind
    """

    def __init__(self, input_shape: Shape, seed: int = 0, initializer: str | Mapping[str, str] = "he_normal"):
        self.seed = checked_seed("Graph", seed)
        self.initializer = checked_initializer(initializer)
        self._shape = checked_input_shape(input_shape)
        self._nodes: list[Node] = []
        self._built = False

    def __repr__(self) -> str:
        if self._built:
            return super().__repr__()
        return f"Graph({len(self._nodes)} layer{'' if len(self._nodes) == 1 else 's'}, no output yet)"

    def _repr_html_(self) -> str:
        return super()._repr_html_() if self._built else preformatted(repr(self))

    @property
    def input(self) -> str:
        """What a layer reads that stands first."""
        return INPUT

    def add(self, layer: Layer, *inputs: str, name: str | None = None) -> str:
        """Add a layer that reads `inputs` (what `add` gave, or `graph.input`); returns its name.

        Without a name it gets its number. UserError where the shapes do not fit.
        """
        if self._built:
            raise UserError("the graph has its output already: no layer can be added")
        shapes = {INPUT: self._shape, **{node.name: node.shape for node in self._nodes}}
        name = checked_name(str(len(self._nodes)) if name is None else name, tuple(shapes))
        unknown = [source for source in inputs if source not in shapes]
        if unknown:
            raise UserError(f"layer {name!r} reads {unknown[0]!r}, which is not a layer of this graph")
        self._nodes.append(make_node(name, layer, inputs, [shapes[source] for source in inputs]))
        return name

    @property
    def output(self) -> str:
        """Name of the layer that gives the network's output."""
        return self.topology.output

    @output.setter
    def output(self, name: str) -> None:
        if self._built:
            raise UserError("the graph has its output already")
        if name not in {node.name for node in self._nodes}:
            raise UserError(f"the output {name!r} is not a layer of this graph")
        topology = checked_topology(self._shape, self._nodes, name)
        self._built = True
        self._setup(topology)

    @property
    def execution(self) -> Execution:
        if not self._built:
            raise UserError("the graph has no output yet: set graph.output to the name of its last layer")
        return super().execution
