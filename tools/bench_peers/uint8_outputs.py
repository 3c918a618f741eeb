"""A model with uint8 outputs, for those who take no int8: each is requantized by one operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from edge_sim.embedders.flatbuffer_writer import Field, Node, Nodes, Scalar, Vector, serialise
from edge_sim.embedders.graph import Graph, read_graph, rebuilt
from edge_sim.embedders.model_file import IDENTIFIER, ModelFile

_UINT8, _INT8 = 3, 9
_QUANTIZE = 114
"""Of the TFLite schema. From int8 to uint8 with a zero point 128 higher it flips one bit."""


def with_uint8_outputs(model: ModelFile) -> bytes:
    """Return the .tflite file with every int8 output made uint8; the values stay the same."""
    graph = read_graph(model)
    outputs = graph.graph.numbers(2, "i")
    names = {index: graph.tensors[index].text(3) for index in outputs}
    table = rebuilt(graph, graph.steps, names, "outputs made uint8")
    (subgraph,) = _nodes(table.fields, 2)
    tensors, operators = _nodes(subgraph.fields, 0), _nodes(subgraph.fields, 3)
    codes = _nodes(table.fields, 1)
    ends = list(cast("Vector", subgraph.fields[2]).values)
    for at, index in enumerate(outputs):
        if graph.tensors[index].scalar(1, "b") != _INT8:
            continue
        operators.append(
            Node({0: Scalar("I", len(codes)), 1: Vector("i", [ends[at]]), 2: _one(len(tensors))})
        )
        ends[at] = len(tensors)
        tensors.append(_as_uint8(graph, index))
    codes.append(Node({0: Scalar("b", _QUANTIZE), 2: Scalar("i", 1), 3: Scalar("i", _QUANTIZE)}))
    graph_fields = {
        **subgraph.fields,
        0: Nodes(tensors),
        2: Vector("i", ends),
        3: Nodes(operators),
    }
    whole = {**table.fields, 1: Nodes(codes), 2: Nodes([Node(graph_fields)])}
    return serialise(Node(whole), IDENTIFIER)


def _as_uint8(graph: Graph, index: int) -> Node:
    tensor = graph.tensors[index]
    quantization = tensor.table(4)
    scales = () if quantization is None else quantization.numbers(2, "f")
    zeros = () if quantization is None else quantization.numbers(3, "q")
    return Node(
        {
            0: Vector("i", tensor.numbers(0, "i")),
            1: Scalar("b", _UINT8),
            3: f"{tensor.text(3)}_uint8",
            4: Node({2: Vector("f", scales), 3: Vector("q", [zero + 128 for zero in zeros])}),
        }
    )


def _nodes(fields: Mapping[int, Field], slot: int) -> list[Node]:
    return list(cast("Nodes", fields[slot]).items)


def _one(number: int) -> Vector:
    return Vector("i", [number])
