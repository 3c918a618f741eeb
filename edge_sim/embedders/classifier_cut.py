"""Making an embedder of a classifier: its graph without the last layer, on the flatbuffer itself.

What a classifier knows about a picture is in the values that its last layer decides on. The cut
keeps the operators that lead to them and to the last map of cells, and only their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_sim.embedders.flatbuffer_writer import serialise
from edge_sim.embedders.graph import Graph, Step, read_graph, rebuilt
from edge_sim.embedders.model_file import IDENTIFIER, ModelFile
from edge_sim.errors import ModelError

CONV_2D, FULLY_CONNECTED = 3, 9
_AFTER_LOGITS = frozenset({6, 14, 22, 25, 43, 50, 114})
"""What may follow the last layer: dequantize, sigmoid, reshape, softmax, squeeze, log-softmax,
quantize. Anything else, an activation for one, says that the last layer is not a decision."""


def embedder_bytes(model: ModelFile) -> bytes:
    """Return a .tflite file whose outputs are `global` and `spatial` of a classifier.

    `global` is the input of the last convolution or fully connected layer, `spatial` the last map
    (1, H, W, C) of cells before it, if there is one.

    Raises:
        ModelError: The graph is no image classifier, or of a form that cannot be cut.
    """
    graph = read_graph(model)
    vector, spatial = _find_features(graph)
    wanted = {vector: "global"}
    if spatial is not None:
        wanted[spatial] = "spatial"
    steps = _ancestors(graph, set(wanted))
    model_table = rebuilt(graph, steps, wanted, "cut from a classifier by edge_sim")
    return serialise(model_table, IDENTIFIER)


def _find_features(graph: Graph) -> tuple[int, int | None]:
    """Return the tensor that the last layer decides on, and the last map of cells up to it."""
    outputs = graph.graph.numbers(2, "i")
    path = _from_picture(graph, _ancestors(graph, set(outputs)))
    layers = [step for step in path if step.code in (CONV_2D, FULLY_CONNECTED)]
    behind = path[path.index(layers[-1]) + 1 :] if layers else []
    vector = layers[-1].inputs[0] if layers else -1
    is_classifier = (
        len(outputs) == 1
        and vector >= 0
        and all(step.code in _AFTER_LOGITS for step in behind)
        and not _is_map(graph, vector)
    )
    if not is_classifier:
        raise ModelError(
            f"{graph.path}: not a classifier (one output, decided by a last layer on pooled "
            f"values); a file that is an embedder is used as it is"
        )
    before = _from_picture(graph, _ancestors(graph, {vector}))
    maps = [index for step in before for index in step.outputs if _is_map(graph, index)]
    return vector, maps[-1] if maps else None


def _is_map(graph: Graph, index: int) -> bool:
    shape = graph.tensors[index].numbers(0, "i")
    return len(shape) == 4 and shape[0] == 1 and shape[1] * shape[2] > 1


def _ancestors(graph: Graph, wanted: set[int]) -> tuple[Step, ...]:
    """Return the operators that the tensors `wanted` need, in order."""
    needed = set(wanted)
    kept = []
    for step in reversed(graph.steps):
        if needed.intersection(step.outputs):
            needed.update(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))


def _from_picture(graph: Graph, steps: Sequence[Step]) -> list[Step]:
    """Return the operators whose result depends on the input; weights are unpacked by others."""
    live = set(graph.inputs)
    found = []
    for step in steps:
        if live.intersection(step.inputs):
            live.update(step.outputs)
            found.append(step)
    return found
