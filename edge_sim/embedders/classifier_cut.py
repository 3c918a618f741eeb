"""An embedder made of a classifier: its graph without the last layer, on the flatbuffer itself.

The values that the last layer of a classifier decides on describe the picture. The cut keeps the
operators that lead to them and to the last map of cells, and only their weights.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_sim.embedders.flatbuffer import FlatTable, root
from edge_sim.embedders.model_file import IDENTIFIER, ModelFile, operator_code
from edge_sim.errors import ModelError

CONV_2D, FULLY_CONNECTED = 3, 9
_AFTER_LOGITS = frozenset({6, 14, 22, 25, 43, 45, 50, 77, 83, 114})
"""Operators that may follow the last layer: dequantize, sigmoid, reshape, softmax, squeeze,
strided slice, log-softmax, shape, pack, quantize. Anything else, such as an activation, says that
the last layer is no decision."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator: its place in the graph, its code, and the tensors that are there."""

    place: int
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Graph:
    """The only graph of a model."""

    path: Path
    tensors: tuple[FlatTable, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[_Step, ...]


def is_classifier(model: ModelFile) -> bool:
    """Return whether `embedder_bytes` can make an embedder of a model."""
    try:
        _find_features(_read_graph(model))
    except ModelError:
        return False
    return True


def embedder_bytes(model: ModelFile) -> bytes:
    """Return a .tflite file whose outputs are `global` and `spatial` of a classifier.

    `global` is the input of the last convolution or fully connected layer, `spatial` the last map
    (1, H, W, C) of cells before it, if there is one. An open batch dimension becomes 1.

    Raises:
        ModelError: The graph is no image classifier, or of a form that cannot be cut, or
            ai-edge-litert is not installed.
    """
    graph = _read_graph(model)
    vector, spatial = _find_features(graph)
    wanted = {vector: "global"} | ({} if spatial is None else {spatial: "spatial"})
    steps = _ancestors(graph, set(wanted))
    try:
        return _rebuilt(model, [step.place for step in steps], wanted)
    except (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{model.path}: its graph cannot be rebuilt ({error})") from error


def _read_graph(model: ModelFile) -> _Graph:
    """Return the graph of a checked model.

    Raises:
        ModelError: There are several, or parts of it lie outside the FlatBuffer.
    """
    table = root(model.data, IDENTIFIER)
    graphs, codes = table.tables(2), table.tables(1)
    if len(graphs) != 1:
        raise ModelError(f"{model.path}: a graph with branches or loops cannot be cut")
    steps = []
    for place, operator in enumerate(graphs[0].tables(3)):
        # Intermediates, 64-bit options: recurrent networks and files above 2 GB.
        if operator.numbers(8, "i") or operator.scalar(9, "Q") or operator.scalar(11, "B"):
            raise ModelError(f"{model.path}: an operator of the graph cannot be taken over")
        code = operator_code(codes[operator.scalar(0, "I")])
        inputs = tuple(index for index in operator.numbers(1, "i") if index >= 0)
        steps.append(_Step(place, code, inputs, operator.numbers(2, "i")))
    if any(buffer.scalar(1, "Q") > 1 for buffer in table.tables(4)):
        raise ModelError(f"{model.path}: weights outside the FlatBuffer cannot be taken over")
    graph = graphs[0]
    inputs, outputs = graph.numbers(1, "i"), graph.numbers(2, "i")
    return _Graph(model.path, graph.tables(0), inputs, outputs, tuple(steps))


def _find_features(graph: _Graph) -> tuple[int, int | None]:
    """Return the tensor that the last layer decides on, and the last map of cells up to it."""
    path = _from_picture(graph, _ancestors(graph, set(graph.outputs)))
    layers = [step for step in path if step.code in (CONV_2D, FULLY_CONNECTED)]
    behind = path[path.index(layers[-1]) + 1 :] if layers else []
    vector = layers[-1].inputs[0] if layers else -1
    is_decided = (
        len(graph.outputs) == 1
        and vector >= 0
        and all(step.code in _AFTER_LOGITS for step in behind)
        and not _is_map(graph, vector)
    )
    if not is_decided:
        raise ModelError(
            f"{graph.path}: not a classifier (one output, decided by a last layer on pooled "
            f"values); a file that is an embedder is used as it is"
        )
    before = _from_picture(graph, _ancestors(graph, {vector}))
    maps = [index for step in before for index in step.outputs if _is_map(graph, index)]
    return vector, maps[-1] if maps else None


def _is_map(graph: _Graph, index: int) -> bool:
    shape = graph.tensors[index].numbers(0, "i")
    return len(shape) == 4 and shape[0] in (1, -1) and shape[1] * shape[2] > 1


def _ancestors(graph: _Graph, wanted: set[int]) -> tuple[_Step, ...]:
    """Return the operators that the tensors `wanted` need, in order."""
    needed = set(wanted)
    kept = []
    for step in reversed(graph.steps):
        if needed.intersection(step.outputs):
            needed.update(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))


def _from_picture(graph: _Graph, steps: Sequence[_Step]) -> list[_Step]:
    """Return the operators whose result depends on the input; weights are unpacked by others."""
    live = set(graph.inputs)
    found = []
    for step in steps:
        if live.intersection(step.inputs):
            live.update(step.outputs)
            found.append(step)
    return found


def _rebuilt(model: ModelFile, kept: Sequence[int], wanted: dict[int, str]) -> bytes:
    """Return the file with these operators, and only the tensors and weights that they use.

    Args:
        model: Checked.
        kept: Places of the operators in the graph, in order.
        wanted: Output tensor -> its name.
    """
    try:
        from ai_edge_litert.tools import flatbuffer_utils
    except ImportError as error:
        raise ModelError(
            f"{model.path}: cutting a classifier needs ai-edge-litert, which is not installed: "
            f"import the model on a PC with ai-edge-litert and copy the .tflite and .json here"
        ) from error
    whole = flatbuffer_utils.convert_bytearray_to_object(model.data)
    (graph,) = whole.subgraphs
    graph.operators = [graph.operators[place] for place in kept]
    touched = [index for each in graph.operators for index in (*each.inputs, *each.outputs)]
    used = sorted({*map(int, touched), *map(int, graph.inputs)} - {-1})
    place_of = {index: place for place, index in enumerate(used)} | {-1: -1}
    for operator in graph.operators:
        operator.inputs = [place_of[index] for index in operator.inputs]
        operator.outputs = [place_of[index] for index in operator.outputs]
    for index, name in wanted.items():
        graph.tensors[index].name = name
    graph.tensors = [graph.tensors[index] for index in used]
    for tensor in graph.tensors:
        _close_batch(tensor)
    graph.inputs = [place_of[index] for index in graph.inputs]
    graph.outputs = [place_of[index] for index in wanted]
    _drop_unused(whole)
    whole.description = "cut from a classifier by edge_sim"
    whole.signatureDefs = whole.metadata = whole.metadataBuffer = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(whole))


def _close_batch(tensor: Any) -> None:
    """Make the first size of a tensor 1 where the file leaves it open."""
    signature = [] if tensor.shapeSignature is None else list(tensor.shapeSignature)
    if signature and signature[0] == -1:
        tensor.shape = [1, *tensor.shape[1:]]
        tensor.shapeSignature = [1, *signature[1:]] if -1 in signature[1:] else None


def _drop_unused(whole: Any) -> None:
    """Keep only the buffers and operator codes that the graph uses."""
    (graph,) = whole.subgraphs
    # By convention the first buffer is empty: no constant.
    buffers = sorted({0, *(tensor.buffer for tensor in graph.tensors)})
    codes = sorted({operator.opcodeIndex for operator in graph.operators})
    for tensor in graph.tensors:
        tensor.buffer = buffers.index(tensor.buffer)
    for operator in graph.operators:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)
    whole.buffers = [whole.buffers[number] for number in buffers]
    whole.operatorCodes = [whole.operatorCodes[number] for number in codes]
