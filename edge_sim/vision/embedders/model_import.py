"""Import of a classifier as an embedder: its graph without the last layer, with a card.

The inputs of the last layer of a classifier describe the picture. The cut keeps the operators that
lead to them and to the last map of cells, and only their weights.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.card import SCHEMA as CARD_SCHEMA
from edge_sim.vision.embedders.card import CardInput, CardOutput, CardOutputs, ModelCard, card_path
from edge_sim.vision.embedders.model_file import (
    IDENTIFIER,
    FlatTable,
    ModelFile,
    operator_code,
    read_model_file,
    root,
)
from edge_sim.vision.embedders.model_trial import try_model
from edge_sim.vision.embedders.tflite import TfliteEmbedder, open_tflite, plan_tensors

CONV_2D, FULLY_CONNECTED = 3, 9
_AFTER_LOGITS = frozenset({6, 14, 22, 25, 43, 45, 50, 77, 83, 114})
"""Operators that may follow the last layer: dequantize, sigmoid, reshape, softmax, squeeze,
strided slice, log-softmax, shape, pack, quantize. Anything else, such as an activation, means that
the last layer is no decision."""


@dataclass(frozen=True, slots=True)
class _Step:
    """Operator: its place in the graph, its code, and its tensors."""

    place: int
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Graph:
    """Graph of a model that has only one."""

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
    """Return the input tensor of the last layer, and the last map of cells before it."""
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
            f"{graph.path}: not a classifier (one output, computed by a last layer from pooled "
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
        model: Checked model.
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


def red_to_blue_cosine(embedder: TfliteEmbedder) -> float:
    """Return the cosine, -1 to 1, of a red and a blue pattern after checking the embedder.

    Raises:
        ModelError: The model is not deterministic, or gives one output for every picture.
    """
    path = embedder.model.path
    levels = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
    red = np.zeros((96, 128, 3), np.uint8)
    red[:, :, 2] = levels
    first, again = embedder.embed(red), embedder.embed(red)
    if not np.array_equal(first.vector, again.vector):
        raise ModelError(f"{path}: the model gives different outputs for the same picture")
    blue = embedder.embed(np.ascontiguousarray(red[:, :, ::-1]))
    if np.array_equal(first.vector, blue.vector):
        raise ModelError(f"{path}: the model gives the same output for different pictures")
    return float(first.vector @ blue.vector)


def import_classifier(source: ModelFile, out: Path, *, license_name: str) -> TfliteEmbedder:
    """Cut a classifier, try the result in a process of its own, and write it with its card.

    Args:
        source: Checked classifier.
        out: Path of the new model, ending in .tflite; its folder exists.
        license_name: SPDX identifier of the weights, for the card.

    Raises:
        ModelError: Not a classifier, `out` or its card exists or cannot be written, or the result
            does not work; nothing is left behind.
    """
    if out.suffix != ".tflite":
        raise ModelError(f"{out}: the file to write must end in .tflite")
    for taken in (out, card_path(out)):
        if taken.exists():
            raise ModelError(f"{taken}: is there already; remove it or give another name")
    data = embedder_bytes(source)
    plan_tensors(source, None)  # Errors about the input picture name this file.
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=out.parent) as workspace:
            draft = Path(workspace) / out.name
            _write(draft, data)
            _write(card_path(draft), _card(source, read_model_file(draft), license_name))
            _try_out(draft, out)
            # The card first: a card without its model is ignored, a model without its card would
            # pass for one of unknown origin.
            card_path(draft).replace(card_path(out))
            draft.replace(out)
    except OSError as error:
        raise ModelError(f"{out}: cannot write ({error.strerror or error})") from error
    return open_tflite(out)


def _try_out(draft: Path, out: Path) -> None:
    try:
        try_model(draft)
    except ModelError as error:
        # The user knows the final name only.
        raise ModelError(str(error).replace(str(draft), str(out))) from error


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _card(source: ModelFile, cut: ModelFile, license_name: str) -> bytes:
    """Return the card of a cut classifier, as JSON."""
    picture = cut.inputs[0]
    outputs = [CardOutput(name=output.name, shape=output.shape) for output in cut.outputs]
    card = ModelCard(
        schema=CARD_SCHEMA,
        name=cut.path.stem,
        file=cut.path.name,
        sha256=cut.sha256,
        license=license_name,
        input=CardInput(
            size=picture.shape[1],
            dtype=picture.dtype,
            scale=picture.scale,
            zero_point=picture.zero_point,
        ),
        outputs=CardOutputs(vector=outputs[0], spatial=outputs[1] if outputs[1:] else None),
        training={"cut_from": source.path.name, "cut_from_sha256": source.sha256},
    )
    return msgspec.json.format(msgspec.json.encode(card), indent=2)
