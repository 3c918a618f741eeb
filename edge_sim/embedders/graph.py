"""Taking the graph of a .tflite file apart and putting operators of it together anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_sim.embedders.flatbuffer import FlatTable, root
from edge_sim.embedders.flatbuffer_writer import Field, Inline, Node, Nodes, Scalar, Vector
from edge_sim.embedders.model_file import IDENTIFIER, ModelFile
from edge_sim.errors import ModelError

_RESHAPE, _SQUEEZE = 17, 30
"""Options that hold one vector; the options of every other operator of an image model hold
numbers only and are taken over as they are."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operator: its code, inputs that are there, and outputs."""

    table: FlatTable
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The first and only graph of a model."""

    path: Path
    model: FlatTable
    graph: FlatTable
    tensors: tuple[FlatTable, ...]
    steps: tuple[Step, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the tensors that go in."""
        return self.graph.numbers(1, "i")


def read_graph(model: ModelFile) -> Graph:
    """Return the graph of a model.

    Raises:
        ModelError: There are several, or operators that cannot be taken over.
    """
    table = root(model.data, IDENTIFIER)
    graphs, codes = table.tables(2), table.tables(1)
    if len(graphs) != 1:
        raise ModelError(f"{model.path}: a graph with branches or loops cannot be cut")
    steps = []
    for operator in graphs[0].tables(3):
        code = codes[operator.scalar(0, "I")]
        # Intermediates, 64-bit options: recurrent networks and files above 2 GB.
        if operator.numbers(8, "i") or operator.scalar(9, "Q") or operator.scalar(11, "B"):
            raise ModelError(f"{model.path}: an operator of the graph cannot be taken over")
        number = max(code.scalar(0, "b"), code.scalar(3, "i"))
        inputs = tuple(index for index in operator.numbers(1, "i") if index >= 0)
        steps.append(Step(operator, number, inputs, operator.numbers(2, "i")))
    return Graph(model.path, table, graphs[0], graphs[0].tables(0), tuple(steps))


def rebuilt(
    graph: Graph, steps: Sequence[Step], wanted: Mapping[int, str], description: str
) -> Node:
    """Return a model with these operators, and only the tensors and weights they use.

    Args:
        graph: Where they are from.
        steps: The operators, in order.
        wanted: Tensors to put out, and how to name them.
        description: Of the model, for people.

    Raises:
        ModelError: Weights are of a form that cannot be taken over.
    """
    used = {index for step in steps for index in (*step.inputs, *step.outputs)}
    order = sorted(used.union(graph.inputs))
    place = {index: number for number, index in enumerate(order)}
    place[-1] = -1
    buffers: list[Node] = [Node({})]  # By convention the first is empty: no constant.
    tensors = [_tensor(graph, index, wanted, buffers) for index in order]
    old_codes = sorted({step.table.scalar(0, "I") for step in steps})
    codes = graph.model.tables(1)
    operators = [_operator(step.table, place, old_codes) for step in steps]
    subgraph = Node(
        {
            0: Nodes(tensors),
            1: Vector("i", [place[index] for index in graph.inputs]),
            2: Vector("i", [place[index] for index in wanted]),
            3: Nodes(operators),
        }
    )
    return Node(
        {
            0: Scalar("I", 3),
            1: Nodes([_code(codes[number]) for number in old_codes]),
            2: Nodes([subgraph]),
            3: description,
            4: Nodes(buffers),
        }
    )


def _tensor(graph: Graph, index: int, wanted: Mapping[int, str], buffers: list[Node]) -> Node:
    """Return the tensor; its weights, if any, are added to `buffers`."""
    tensor = graph.tensors[index]
    if tensor.table(6) is not None or tensor.scalar(10, "I"):
        raise ModelError(f"{graph.path}: sparse or external weights cannot be taken over")
    buffer = graph.model.tables(4)[tensor.scalar(2, "I")]
    start, size = buffer.span(0)
    if buffer.scalar(1, "Q") > 1:
        raise ModelError(f"{graph.path}: weights outside the FlatBuffer cannot be taken over")
    if size:
        buffers.append(Node({0: graph.model.data[start : start + size]}))
    fields: dict[int, Field] = {
        0: Vector("i", tensor.numbers(0, "i")),
        1: Scalar("b", tensor.scalar(1, "b")),
        2: Scalar("I", len(buffers) - 1 if size else 0),
        3: wanted.get(index, tensor.text(3)),
        5: Scalar("B", tensor.scalar(5, "B")),
        7: Vector("i", tensor.numbers(7, "i")),
        8: Scalar("B", tensor.scalar(8, "B")),
    }
    quantization = tensor.table(4)
    if quantization is not None:
        fields[4] = _quantization(quantization)
    return Node(fields)


def _quantization(quantization: FlatTable) -> Node:
    return Node(
        {
            2: Vector("f", quantization.numbers(2, "f")),
            3: Vector("q", quantization.numbers(3, "q")),
            6: Scalar("i", quantization.scalar(6, "i")),
        }
    )


def _code(code: FlatTable) -> Node:
    fields: dict[int, Field] = {
        0: Scalar("b", code.scalar(0, "b")),
        2: Scalar("i", code.scalar(2, "i", default=1)),
        3: Scalar("i", code.scalar(3, "i")),
    }
    if code.text(1):
        fields[1] = code.text(1)
    return Node(fields)


def _operator(operator: FlatTable, place: Mapping[int, int], codes: Sequence[int]) -> Node:
    fields: dict[int, Field] = {
        0: Scalar("I", codes.index(operator.scalar(0, "I"))),
        1: Vector("i", [place[index] for index in operator.numbers(1, "i")]),
        2: Vector("i", [place[index] for index in operator.numbers(2, "i")]),
        3: Scalar("B", operator.scalar(3, "B")),
        6: Scalar("b", operator.scalar(6, "b")),
    }
    options = operator.table(4)
    if options is not None:
        fields[4] = _options(options, operator.scalar(3, "B"))
    start, size = operator.span(5)
    if size:
        fields[5] = operator.data[start : start + size]
    return Node(fields)


def _options(options: FlatTable, kind: int) -> Node | Inline:
    if kind in (_RESHAPE, _SQUEEZE):
        return Node({0: Vector("i", options.numbers(0, "i"))})
    return Inline(
        vtable=options.data[options.vtable : options.vtable + 4 + 2 * options.slots],
        body=options.data[options.start + 4 : options.start + options.size],
        phase=options.start % 8,
    )
