"""The score log: now and then one line per watch with what it saw, for `edge-sim stats`.

JSON lines, `type` is `score`; an event file beside it has the same form, and both are read alike.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from edge_sim.errors import DataError
from edge_sim.events import SourceLost, SourceRestored, StateChanged, utc_text
from edge_sim.pipeline import Outcome

EVERY_S = 60.0
"""Between two lines of a watch: half a megabyte a day and watch, no two of the same moment."""
_MAX_LINE_BYTES = 1_000_000


class ScoreLine(msgspec.Struct, frozen=True, tag="score", tag_field="type"):
    """One look of one watch.

    `state` is what the watch says; `best` is the most probable state of this very look, and
    `combined` its score. Both are null where there is no gallery.
    """

    at: str
    watch: str
    state: str
    reason: str | None
    condition: str
    best: str | None
    combined: float | None
    probability: float | None
    gallery_revision: int
    schema: int = 1


Line: TypeAlias = ScoreLine | StateChanged | SourceLost | SourceRestored
SourceLines: TypeAlias = SourceLost | SourceRestored
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(
    ScoreLine | StateChanged | SourceLost | SourceRestored
)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a log that is none: `place` is file and line number."""

    place: str
    fault: str


def score_line(outcome: Outcome, gallery_revision: int) -> ScoreLine:
    """Return a look as a line of the score log."""
    look, state = outcome.observation, outcome.state
    best = None if look.match is None else look.match.best
    return ScoreLine(
        at=utc_text(look.unix_time_s),
        watch=outcome.watch,
        state=state.name,
        reason=state.reason.value if state.reason else None,
        condition=look.condition,
        best=None if best is None else best.state,
        combined=None if best is None else round(best.score.combined, 4),
        probability=None if best is None else round(best.probability, 4),
        gallery_revision=gallery_revision,
    )


class ScoreLog:
    """Appends a line per watch and interval; the old file goes to `<name>.1` when it is full.

    Args:
        path: Of the file; its folder must exist.
        every_s: Seconds of frame time between two lines of a watch.
        max_mb: Of one file, so that two of them are kept at most.
    """

    def __init__(self, path: Path, *, every_s: float = EVERY_S, max_mb: float = 20.0) -> None:
        self._path = path
        self._every_s = every_s
        self._max_bytes = int(max_mb * 1e6)
        self._last_s: dict[str, float] = {}
        self._stream = _opened(path)

    def note(self, outcome: Outcome, gallery_revision: int) -> None:
        """Write a line if one is due for the watch.

        Raises:
            DataError: The disk is full or gone.
        """
        at_s = outcome.observation.captured_at_s
        last_s = self._last_s.get(outcome.watch)
        # Time that ran backwards counts as due.
        if last_s is not None and 0.0 <= at_s - last_s < self._every_s:
            return
        self._last_s[outcome.watch] = at_s
        line = msgspec.json.encode(score_line(outcome, gallery_revision)) + b"\n"
        try:
            if self._stream.tell() + len(line) > self._max_bytes:
                self._rotate()
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            raise DataError(f"{self._path}: cannot append ({error.strerror})") from error

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._stream.close()

    def _rotate(self) -> None:
        self._stream.close()
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._stream = _opened(self._path)


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


def _opened(path: Path) -> io.BufferedWriter:
    try:
        stream = path.open("ab")
        if stream.tell() and path.read_bytes()[-1:] != b"\n":
            stream.write(b"\n")  # cut short by a power failure: it must spoil no other line
    except OSError as error:
        raise DataError(f"{path}: cannot append ({error.strerror})") from error
    return stream
