"""Writing a FlatBuffer, parents before children, so that every offset points forward as it must."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_ALIGNMENT = 16
"""Alignment of vectors, as kernels need it for weights."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number inside a table; `code` is its `struct` letter."""

    code: str
    value: float


@dataclass(frozen=True, slots=True)
class Vector:
    """Numbers; `code` is their `struct` letter."""

    code: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Node:
    """A table: slot number -> field."""

    fields: Mapping[int, Field]


@dataclass(frozen=True, slots=True)
class Nodes:
    """A vector of tables."""

    items: Sequence[Node]


Field = Scalar | Vector | Node | Nodes | bytes | str
"""bytes: a vector of bytes. str: a string, kept with its terminating zero."""


def serialise(root: Node, identifier: bytes) -> bytes:
    """Return a FlatBuffer file with `root` as its root table."""
    writer = _Writer(bytearray(4) + identifier)
    writer.point(0, writer.put(root))
    writer.align(_ALIGNMENT)
    return bytes(writer.out)


@dataclass(slots=True)
class _Writer:
    out: bytearray = field(default_factory=bytearray)

    def align(self, size: int, ahead: int = 0) -> None:
        """Pad so that what comes after `ahead` more bytes is aligned."""
        self.out += bytes(-(len(self.out) + ahead) % size)

    def point(self, position: int, target: int) -> None:
        struct.pack_into("<I", self.out, position, target - position)

    def put(self, value: Field) -> int:
        """Append a value that is no scalar and return where it starts."""
        if isinstance(value, Node):
            return self._node(value)
        if isinstance(value, Nodes):
            return self._nodes(value.items)
        if isinstance(value, bytes):
            return self._counted(len(value), value)
        if isinstance(value, str):
            text = value.encode()
            return self._counted(len(text), text + b"\0")
        if isinstance(value, Vector):
            packed = struct.pack(f"<{len(value.values)}{value.code}", *value.values)
            return self._counted(len(value.values), packed)
        raise TypeError(f"a scalar has no place of its own: {value}")

    def _counted(self, count: int, packed: bytes) -> int:
        self.align(_ALIGNMENT, ahead=4)
        start = len(self.out)
        self.out += struct.pack("<I", count) + packed
        return start

    def _nodes(self, items: Sequence[Node]) -> int:
        start = self._counted(len(items), bytes(4 * len(items)))
        for number, item in enumerate(items):
            self.point(start + 4 + 4 * number, self.put(item))
        return start

    def _node(self, node: Node) -> int:
        offsets, size = _layout(node)
        self.align(8, ahead=4 + 2 * len(offsets))
        self.out += struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), size, *offsets)
        start = len(self.out)
        self.out += struct.pack("<i", 4 + 2 * len(offsets)) + bytes(size - 4)
        for slot, value in node.fields.items():
            position = start + offsets[slot]
            if isinstance(value, Scalar):
                struct.pack_into("<" + value.code, self.out, position, value.value)
            else:
                self.point(position, self.put(value))
        return start


def _layout(node: Node) -> tuple[list[int], int]:
    """Return the offset of each slot's field in the table, 0 where absent, and the table's size."""
    offsets, size = [0] * (max(node.fields, default=-1) + 1), 4
    for slot, value in node.fields.items():
        width = struct.calcsize("<" + value.code) if isinstance(value, Scalar) else 4
        size += -size % width
        offsets[slot] = size
        size += width
    return offsets, size
