"""Reading score logs and event files, whatever happened to them in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from edge_sim.errors import DataError
from edge_sim.score_log.lines import BadLine, Line

_MAX_LINE_BYTES = 1_000_000
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def read_lines(paths: Iterable[Path]) -> Iterator[Line | BadLine]:
    """Yield the lines of logs, file by file; for each file its rotated parts first.

    Lines that are none are told, not skipped in silence; one cut short by a power failure is one.

    Raises:
        DataError: A file cannot be read.
    """
    parts = [part for path in paths for part in (*_rotated(path), path)]
    for part in dict.fromkeys(parts):
        yield from _lines(part)


def _lines(path: Path) -> Iterator[Line | BadLine]:
    number = 0
    try:
        with path.open("rb") as file:
            while raw := file.readline(_MAX_LINE_BYTES):
                number += 1
                if raw.strip():
                    yield _line(raw, f"{path}:{number}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _line(raw: bytes, place: str) -> Line | BadLine:
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return BadLine(place, str(error))


def _rotated(path: Path) -> list[Path]:
    """Return `<name>.N` beside a file, the oldest first."""
    parts: list[Path] = []
    number = 1
    if not path.name:
        return parts  # `.` or a root: no file, which reading it will say
    while (part := path.with_name(f"{path.name}.{number}")).is_file():
        parts.append(part)
        number += 1
    return parts[::-1]
