"""ExplanationFile: the explanations of a device, in bounded space; and finding one again."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

import msgspec

from edge_sim.errors import DataError
from edge_sim.explaining.records import Explanation, checked
from edge_sim.files import exists
from edge_sim.private_file import private_opener, write_private

LATEST = "last"
"""Asks for the newest event instead of one with an id."""
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Explanation)
_ID = re.compile(rb'"type":"state_changed","id":"([^"]*)"')
_LEAST_PREFIX = 4
_NAMED_IDS = 3


class ExplanationFile:
    """Appends one JSON line per event; the old file goes to `<name>.1` when it is full.

    The file is opened for each line: events are rare, and nothing stays open for months. A line
    cut short by a power failure is closed by the next one, and spoils no other.

    Args:
        path: Of the file; its folder must exist.
        max_mb: Of one file, so that two of them are kept at most.
    """

    def __init__(self, path: Path, *, max_mb: float = 8.0) -> None:
        self._path = path
        self._max_bytes = int(max_mb * 1e6)

    def append(self, explanation: Explanation) -> None:
        """Write one explanation.

        Raises:
            DataError: The disk is full or gone.
        """
        line = _ENCODER.encode(explanation) + b"\n"
        try:
            if self._fits(line):
                return
            self._path.replace(_older(self._path))
            write_private(self._path, line)
        except OSError as error:
            raise DataError(f"{self._path}: cannot append ({error.strerror})") from error

    def _fits(self, line: bytes) -> bool:
        """Append a line if there is room for it; whole, or not at all."""
        with open(self._path, "ab", buffering=0, opener=private_opener) as stream:
            end = stream.seek(0, os.SEEK_END)
            if end and end + len(line) > self._max_bytes:
                return False
            content = _closing(self._path, end) + line
            try:
                if stream.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    stream.truncate(end)
                raise
        return True


def find_explanation(paths: Iterable[Path], wanted: str) -> Explanation:
    """Return the explanation of an event.

    Args:
        paths: Files written by `ExplanationFile`; for each the older part is read first.
        wanted: An id, its first digits (at least four) if they tell it apart, or `last`.

    Raises:
        DataError: A file cannot be read, or there is no such event; ids that are near are named.
    """
    names = [str(path) for path in paths]
    found: dict[str, bytes] = {}
    for path in map(Path, names):
        for line in _stored_lines(path):
            match = _ID.search(line)
            if match is not None:
                event_id = match[1].decode("utf-8", "replace")
                found.pop(event_id, None)  # told again after a power cut: the last counts
                found[event_id] = line
    chosen = choose(list(found), wanted, " or ".join(names))
    try:
        return checked(_DECODER.decode(found[chosen]))
    except (msgspec.DecodeError, ValueError) as error:
        raise DataError(f"{names[0]}: what is kept of {chosen} cannot be read ({error})") from error


def choose(ids: Sequence[str], wanted: str, place: str) -> str:
    """Return the id that `wanted` means.

    Args:
        ids: That there are, the newest last.
        wanted: An id, its first digits if they tell it apart, or `last`.
        place: Where they come from, for the error.

    Raises:
        DataError: There is none, or several begin so.
    """
    if not ids:
        raise DataError(f"{place}: no event of a change of state is kept there")
    if wanted == LATEST:
        return ids[-1]
    if wanted in ids:
        return wanted
    begun = (
        [item for item in ids if item.startswith(wanted)] if len(wanted) >= _LEAST_PREFIX else []
    )
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise DataError(f"{place}: {wanted} may be {', '.join(begun[:_NAMED_IDS])}; say which")
    near = get_close_matches(wanted, ids, _NAMED_IDS) or list(ids[-_NAMED_IDS:][::-1])
    raise DataError(
        f"{place}: there is no event {wanted[:64]!r} among {len(ids)}; nearest: {', '.join(near)}"
    )


def _stored_lines(path: Path) -> Iterator[bytes]:
    older = _older(path)
    if not exists(path) and not exists(older):
        raise DataError(
            f"{path}: nothing is kept there yet; `edge-sim run` and `edge-sim daemon` write "
            f"an explanation with every change of state"
        )
    for part in (older, path):
        if not exists(part):
            continue
        try:
            with part.open("rb") as stream:
                yield from stream
        except OSError as error:
            raise DataError(f"{part}: cannot be read ({error.strerror})") from error


def _closing(path: Path, end: int) -> bytes:
    """Return what ends a line that was cut short; nothing if the last one is whole."""
    if not end:
        return b""
    with path.open("rb") as stream:
        stream.seek(end - 1)
        return b"" if stream.read(1) == b"\n" else b"\n"


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
