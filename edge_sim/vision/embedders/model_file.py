"""Contents of a .tflite file, read without a runtime and with every offset checked.

The C++ runtimes trust the file: tflite-runtime 2.14 ends in a segmentation fault on a truncated
one. A file that passes here has no offset that leaves the file.
Format: https://flatbuffers.dev/internals (little endian; a table starts with the signed distance
back to its vtable, which holds its own size, the table's size and one offset per field slot).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_sim.core.files import read_bounded
from edge_sim.errors import ModelError

_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")


class FlatbufferError(ValueError):
    """The bytes are not a valid FlatBuffer."""


@dataclass(frozen=True, slots=True)
class FlatTable:
    """Table of a FlatBuffer: fields by slot number, None or the default where absent."""

    data: bytes
    start: int
    vtable: int
    slots: int
    size: int

    def scalar(self, slot: int, code: str, default: int = 0) -> int:
        """Return the integer in `slot`; `code` is its `struct` letter."""
        position = self._field(slot, struct.calcsize(code))
        return (
            default
            if position is None
            else int(struct.unpack_from("<" + code, self.data, position)[0])
        )

    def table(self, slot: int) -> FlatTable | None:
        """Return the table that `slot` points to."""
        position = self._field(slot, 4)
        return None if position is None else table_at(self.data, _follow(self.data, position))

    def tables(self, slot: int) -> tuple[FlatTable, ...]:
        """Return the tables in the vector of `slot`."""
        first, count = self._vector(slot, 4)
        return tuple(
            table_at(self.data, _follow(self.data, first + 4 * item)) for item in range(count)
        )

    def numbers(self, slot: int, code: str) -> tuple[Any, ...]:
        """Return the numbers in the vector of `slot`; `code` is their `struct` letter."""
        first, count = self._vector(slot, struct.calcsize(code))
        return struct.unpack_from(f"<{count}{code}", self.data, first)

    def text(self, slot: int) -> str:
        """Return the string in `slot`; bytes that are not UTF-8 are replaced."""
        first, count = self._vector(slot, 1)
        return self.data[first : first + count].decode("utf-8", "replace")

    def span(self, slot: int) -> tuple[int, int]:
        """Return the offset and the length of the bytes in the vector of `slot`."""
        return self._vector(slot, 1)

    def _field(self, slot: int, width: int) -> int | None:
        if slot >= self.slots:
            return None
        offset = _U16.unpack_from(self.data, self.vtable + 4 + 2 * slot)[0]
        if offset == 0:
            return None
        if offset < 4 or offset + width > self.size:
            raise FlatbufferError(f"field {slot} of the table at byte {self.start} leaves it")
        return int(self.start + offset)

    def _vector(self, slot: int, width: int) -> tuple[int, int]:
        position = self._field(slot, 4)
        if position is None:
            return 0, 0
        start = _follow(self.data, position)
        count = _U32.unpack_from(self.data, start)[0]
        if start + 4 + count * width > len(self.data):
            raise FlatbufferError(f"the vector at byte {start} is longer than the file")
        return start + 4, count


def root(data: bytes, identifier: bytes) -> FlatTable:
    """Return the root table of `data`.

    Raises:
        FlatbufferError: Too short, another identifier, or an offset leaves the file.
    """
    if len(data) < 16:
        raise FlatbufferError(f"only {len(data)} bytes")
    if data[4:8] != identifier:
        raise FlatbufferError(f"no {identifier.decode()} mark at byte 4")
    return table_at(data, _follow(data, 0))


def table_at(data: bytes, start: int) -> FlatTable:
    """Return the table that starts at byte `start`.

    Raises:
        FlatbufferError: Its vtable or its end lies outside the file.
    """
    if not 0 <= start <= len(data) - 4:
        raise FlatbufferError(f"a table at byte {start} lies outside the file")
    vtable = start - _I32.unpack_from(data, start)[0]
    if not 0 <= vtable <= len(data) - 4:
        raise FlatbufferError(f"the table at byte {start} has its vtable outside the file")
    vtable_size = _U16.unpack_from(data, vtable)[0]
    size = _U16.unpack_from(data, vtable + 2)[0]
    if vtable_size < 4 or vtable_size % 2 or vtable + vtable_size > len(data):
        raise FlatbufferError(f"the table at byte {start} has a broken vtable")
    if size < 4 or start + size > len(data):
        raise FlatbufferError(f"the table at byte {start} leaves the file")
    return FlatTable(data, start, vtable, (vtable_size - 4) // 2, size)


def _follow(data: bytes, position: int) -> int:
    target = position + _U32.unpack_from(data, position)[0]
    if target > len(data) - 4:
        raise FlatbufferError(f"the offset at byte {position} leaves the file")
    return int(target)


IDENTIFIER = b"TFL3"
CUSTOM = 32
"""BuiltinOperator_CUSTOM of the TFLite schema."""
MAX_FILE_BYTES = 512 * 2**20
"""Larger files are rejected: no model for a small device comes near."""

# TensorType of the TFLite schema; the others cannot be pictures or embeddings.
_DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 7: "int16", 9: "int8"}

_OPTIONS_WITH_VECTOR = frozenset({17, 30})
"""ReshapeOptions and SqueezeOptions: the options of image models that point to something."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Input or output of a model.

    Args:
        index: Number of the tensor in the runtime.
        name: Name in the file; may be empty.
        shape: Sizes; -1 where the file leaves one open.
        dtype: `uint8`, `int8`, `float32` ...
        scale: real = scale * (stored - zero_point); 0 if the tensor is not quantized.
        zero_point: Stored value of zero.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def __str__(self) -> str:
        quantized = f" scale {self.scale:.6g} zero {self.zero_point}" if self.scale else ""
        return f"{self.dtype} {self.shape}{quantized}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Checked .tflite file.

    Args:
        path: Path of the file.
        data: Its bytes; the runtime gets these and does not read the file again.
        sha256: SHA-256 of the bytes, 64 hexadecimal digits.
        inputs: Inputs of the first subgraph.
        outputs: Outputs of the first subgraph.
        operators: Builtin operator number -> number of its uses.
        custom_operators: Names of operators that no runtime has by itself.
    """

    path: Path
    data: bytes = field(repr=False)
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: Mapping[int, int]
    custom_operators: tuple[str, ...]

    @property
    def model_name(self) -> str:
        """Stem and the first 12 digits of the hash."""
        return f"{self.path.stem}@{self.sha256[:12]}"


def read_model_file(path: Path) -> ModelFile:
    """Return the checked contents of a .tflite file.

    Raises:
        ModelError: It is missing, unreadable, empty, cut off, or not a TFLite model.
    """
    data = _read(path)
    try:
        model = root(data, IDENTIFIER)
        _check_buffers(model)
        _check_signatures(model)
        graph = _first_graph(model)
        codes = model.tables(1)
        counts = _count_operators(graph, codes)
        return ModelFile(
            path=path,
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            inputs=_specs(graph, 1),
            outputs=_specs(graph, 2),
            operators=counts,
            custom_operators=tuple(code.text(1) for code in codes if operator_code(code) == CUSTOM),
        )
    except FlatbufferError as error:
        raise ModelError(
            f"{path}: not a whole TFLite model ({error}); copy or download the .tflite file again"
        ) from error


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(
                f"{path}: {size} bytes is no model for a small device; give a .tflite file below "
                f"{MAX_FILE_BYTES // 2**20} MiB"
            )
        data = read_bounded(path, MAX_FILE_BYTES)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(
            f"{path}: cannot read the model file ({reason}); give the path of a .tflite file"
        ) from error
    if not data:
        raise ModelError(f"{path}: the model file is empty; copy or download it again")
    return data


def _first_graph(model: FlatTable) -> FlatTable:
    version = model.scalar(0, "I")
    if version != 3:
        raise FlatbufferError(f"schema version {version}, not 3")
    graphs = model.tables(2)
    if not graphs:
        raise FlatbufferError("no graph inside")
    buffers = len(model.tables(4))
    codes = len(model.tables(1))
    for graph in graphs:
        _check_graph(graph, buffers, codes)
    return graphs[0]


def _check_buffers(model: FlatTable) -> None:
    for buffer in model.tables(4):
        buffer.span(0)
        # Weights of files above 2 GB lie behind the FlatBuffer, by absolute offset.
        offset, size = buffer.scalar(1, "Q"), buffer.scalar(2, "Q")
        if offset > 1 and offset + size > len(model.data):
            raise FlatbufferError("weights lie outside the file")


def _check_signatures(model: FlatTable) -> None:
    for metadata in model.tables(6):
        metadata.text(0)
    for signature in model.tables(7):
        signature.text(2)
        for tensor_map in (*signature.tables(0), *signature.tables(1)):
            tensor_map.text(0)


def _check_graph(graph: FlatTable, buffers: int, codes: int) -> None:
    tensors = graph.tables(0)
    for tensor in tensors:
        if tensor.scalar(2, "I") >= buffers:
            raise FlatbufferError("a tensor names a buffer that is not there")
        tensor.text(3)
        tensor.numbers(0, "i")
        tensor.numbers(7, "i")
        quantization = tensor.table(4)
        if quantization is not None:
            quantization.numbers(2, "f")
            quantization.numbers(3, "q")
    indices = [*graph.numbers(1, "i"), *graph.numbers(2, "i")]
    for operator in graph.tables(3):
        if operator.scalar(0, "I") >= codes:
            raise FlatbufferError("an operator has a code that is not there")
        options = operator.table(4)
        if options is not None and operator.scalar(3, "B") in _OPTIONS_WITH_VECTOR:
            options.numbers(0, "i")
        operator.span(5)
        # -1 stands for an optional input that is left out.
        indices += [index for index in operator.numbers(1, "i") if index != -1]
        indices += operator.numbers(2, "i")
    if any(not 0 <= index < len(tensors) for index in indices):
        raise FlatbufferError("the graph names a tensor that is not there")


def operator_code(code: FlatTable) -> int:
    """Return the number of a builtin operator."""
    # Numbers above 127 did not fit the old field; the larger of the two counts.
    return max(code.scalar(0, "b"), code.scalar(3, "i"))


def _count_operators(graph: FlatTable, codes: tuple[FlatTable, ...]) -> dict[int, int]:
    counts = Counter(operator_code(codes[operator.scalar(0, "I")]) for operator in graph.tables(3))
    return dict(sorted(counts.items()))


def _specs(graph: FlatTable, slot: int) -> tuple[TensorSpec, ...]:
    tensors = graph.tables(0)
    return tuple(_spec(index, tensors[index]) for index in graph.numbers(slot, "i"))


def _spec(index: int, tensor: FlatTable) -> TensorSpec:
    number = tensor.scalar(1, "b")
    quantization = tensor.table(4)
    scales = quantization.numbers(2, "f") if quantization else ()
    zeros = quantization.numbers(3, "q") if quantization else ()
    scale = float(scales[0]) if len(scales) == 1 and math.isfinite(scales[0]) else 0.0
    return TensorSpec(
        index=index,
        name=tensor.text(3),
        # The signature has -1 where the size is open; it is absent when nothing is.
        shape=tensor.numbers(7, "i") or tensor.numbers(0, "i"),
        dtype=_DTYPES.get(number, f"type {number}"),
        scale=scale,
        zero_point=int(zeros[0]) if len(zeros) == 1 else 0,
    )
