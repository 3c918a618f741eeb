"""TFLite files of a few hundred bytes, written byte by byte: no TensorFlow, no flatbuffers package.

The network is an average pooling and a reshape, so what it must answer is known in closed form:
the colour means of a grid of cells, as `spatial` (1, G, G, 3) and flattened as `global` (1, 3*G*G).
"""

from __future__ import annotations

import importlib.util
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.vision.embedders.flatbuffer_writer import Field, Node, Nodes, Scalar, Vector, serialise

AVERAGE_POOL_2D, CONV_2D, RESHAPE, SOFTMAX, CUSTOM, SHAPE = 1, 3, 22, 25, 32, 77
needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="classifiers are cut by the tools of ai-edge-litert",
)
TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int8": 9}


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    signature: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()

    def table(self, buffer: int) -> Node:
        fields: dict[int, Field] = {
            0: Vector("i", self.shape),
            1: Scalar("b", TYPES[self.dtype]),
            3: self.name,
        }
        if buffer:
            fields[2] = Scalar("I", buffer)
        if self.scale:
            zero = Vector("q", [self.zero_point])
            fields[4] = Node({2: Vector("f", [self.scale]), 3: zero})
        if self.signature:
            fields[7] = Vector("i", self.signature)
        return Node(fields)


@dataclass(frozen=True)
class Operator:
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int = 0
    options: Node = field(default_factory=lambda: Node({}))
    custom_name: str = ""

    def code_table(self) -> Node:
        fields: dict[int, Field] = {0: Scalar("b", self.code), 2: Scalar("i", 1)}
        if self.custom_name:
            fields[1] = self.custom_name
        return Node({**fields, 3: Scalar("i", self.code)})

    def table(self, opcode_index: int) -> Node:
        return Node(
            {
                0: Scalar("I", opcode_index),
                1: Vector("i", self.inputs),
                2: Vector("i", self.outputs),
                3: Scalar("B", self.options_type),
                4: self.options,
            }
        )


def model_bytes(
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    *,
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> bytes:
    """Return a .tflite file with one graph; every float32 tensor with weights is a constant."""
    constants = [tensor for tensor in tensors if tensor.weights]
    places = {id(tensor): number for number, tensor in enumerate(constants, start=1)}
    weights = [
        Node({0: struct.pack(f"<{len(constant.weights)}f", *constant.weights)})
        for constant in constants
    ]
    graph = Node(
        {
            0: Nodes([tensor.table(places.get(id(tensor), 0)) for tensor in tensors]),
            1: Vector("i", inputs),
            2: Vector("i", outputs),
            3: Nodes([operator.table(number) for number, operator in enumerate(operators)]),
        }
    )
    codes = [operator.code_table() for operator in operators]
    buffers = Nodes([Node({}), *weights])
    root = Node({0: Scalar("I", 3), 1: Nodes(codes), 2: Nodes([graph]), 4: buffers})
    return serialise(root, b"TFL3")


def pooling(inputs: int, output: int, *, window: int) -> Operator:
    """Return an average pooling over windows that do not overlap."""
    sizes: dict[int, Field] = {slot: Scalar("i", window) for slot in (1, 2, 3, 4)}
    return Operator(AVERAGE_POOL_2D, (inputs,), (output,), 5, Node({0: Scalar("b", 1), **sizes}))


def grid_model(
    dtype: str = "uint8",
    *,
    side: int = 16,
    cells: int = 4,
    wide: int = 1,
    outputs: tuple[int, ...] = (2, 1),
    quantization: tuple[float, int] | None = None,
) -> bytes:
    """Return the network of the module's docstring; `wide` times as wide as high.

    `outputs` are tensor numbers: 2 is `global`, 1 is `spatial`. Default quantization: [-1, 1].
    """
    default = {"uint8": (1 / 127.5, 128), "int8": (1 / 127.5, 0), "float32": (0.0, 0)}
    scale, zero = quantization or default[dtype]
    shapes = {"input": (1, side, wide * side, 3), "spatial": (1, cells, wide * cells, 3)}
    flat = (1, 3 * wide * cells * cells)
    tensors = [Tensor(name, shape, dtype, scale, zero) for name, shape in shapes.items()]
    tensors.append(Tensor("global", flat, dtype, scale, zero))
    flatten = Operator(RESHAPE, (1,), (2,), 17, Node({0: Vector("i", flat)}))
    operators = [pooling(0, 1, window=side // cells), flatten]
    return model_bytes(tensors, operators, inputs=[0], outputs=outputs)


def one_operator_model(
    *,
    inputs: Sequence[tuple[int, ...]] = ((1, 16, 16, 3),),
    dtype: str = "float32",
    custom_name: str = "",
    signature: tuple[int, ...] = (),
) -> bytes:
    """Return a model of one operator: a pooling of the first input, or a custom operator."""
    tensors = [
        Tensor(f"input{number}", shape, dtype, signature=signature)
        for number, shape in enumerate(inputs)
    ]
    output = len(tensors)
    tensors.append(Tensor("output", (1, 4, 4, 3), dtype))
    operator = (
        Operator(CUSTOM, (0,), (output,), custom_name=custom_name)
        if custom_name
        else pooling(0, output, window=4)
    )
    return model_bytes(tensors, [operator], inputs=range(len(inputs)), outputs=[output])


def classifier_model(*, signature: tuple[int, ...] = (), open_batch: bool = False) -> bytes:
    """Return a classifier: cells (1, 4, 4, 3), their mean, a last layer of 5 classes, softmax.

    With an open batch, as converters write it, the first size of every tensor is left open and a
    reshape to the shape of the logits stands before the softmax.
    """
    rng = random.Random(0)
    kernel = tuple(rng.uniform(-1, 1) for _ in range(15))

    def described(name: str, shape: tuple[int, ...]) -> Tensor:
        left_open = (-1, *shape[1:]) if open_batch else ()
        return Tensor(name, shape, "float32", signature=left_open)

    tensors = [
        described("input", (1, 16, 16, 3)),
        described("cells", (1, 4, 4, 3)),
        described("pooled", (1, 1, 1, 3)),
        Tensor("kernel", (5, 1, 1, 3), "float32", weights=kernel),
        Tensor("bias", (5,), "float32", weights=(0.1, 0.2, 0.3, 0.4, 0.5)),
        described("logits", (1, 1, 1, 5)),
        described("classes", (1, 1, 1, 5)),
    ]
    if signature:
        tensors[0] = replace(tensors[0], signature=signature)
    ones: dict[int, Field] = {slot: Scalar("i", 1) for slot in (1, 2, 4, 5)}
    last = Operator(CONV_2D, (2, 3, 4), (5,), 1, Node({0: Scalar("b", 1), **ones}))
    operators = [pooling(0, 1, window=4), pooling(1, 2, window=4), last]
    logits = 5
    if open_batch:
        tensors += [Tensor("shape", (4,), "int32"), described("reshaped", (1, 1, 1, 5))]
        operators.append(Operator(SHAPE, (5,), (7,), 55, Node({0: Scalar("b", TYPES["int32"])})))
        operators.append(Operator(RESHAPE, (5, 7), (8,), 17, Node({0: Vector("i", [])})))
        logits = 8
    operators.append(Operator(SOFTMAX, (logits,), (6,), 9, Node({0: Scalar("f", 1.0)})))
    return model_bytes(tensors, operators, inputs=[0], outputs=[6])
