"""Reading a FlatBuffer with every offset checked before it is followed.

The C++ runtimes trust the file: tflite-runtime 2.14 ends in a segmentation fault on a truncated
one. What this module has walked without an error has no offset that leaves the file.
Format: https://flatbuffers.dev/internals (little endian; a table starts with the signed distance
back to its vtable, which holds its own size, the table's size and one offset per field slot).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")


class FlatbufferError(ValueError):
    """The bytes are not a sound FlatBuffer."""


@dataclass(frozen=True, slots=True)
class FlatTable:
    """One table of a FlatBuffer: fields by slot number, None or the default where absent."""

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
        """Return where the bytes in the vector of `slot` start, and how many they are."""
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
