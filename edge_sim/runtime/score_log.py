"""The lines of a score log.

Reading score logs and event files, whatever happened to them in between.

ScoreLog: appends what watches saw, in bounded space.

The score log: JSON lines with what each watch saw, for `edge-sim stats` and `edge-sim replay`.

Now and then a line per watch tells how its scores fare. With every look written, a log also holds
all that the decisions were made from, so that they can be made again: no picture is needed.
An event file has the same form, and both are read alike.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from edge_sim.core.events import (
    Event,
    EventOrigin,
    SourceLost,
    SourceRestored,
    state_changed,
    utc_text,
)
from edge_sim.core.files import ends_mid_line, private_opener
from edge_sim.core.protocols import Decider
from edge_sim.core.types import Match, Observation, State
from edge_sim.decision.pipeline import Outcome
from edge_sim.decision.thresholds import LearnedDrift, Level, Memory, Settings, drifts_of, learned
from edge_sim.errors import DataError
from edge_sim.version import __version__

_LAST_SECOND_S = 253_402_300_799.0  # of the year 9999
SCHEMA = 2
"""Of lines that hold whole looks; 1 is the summary alone, which every schema still has."""


class ScoreLine(msgspec.Struct, frozen=True, tag="score", tag_field="type", omit_defaults=True):
    """One look of one watch.

    `state` is what the watch says; `best` is the most probable state of this very look, and
    `combined` its score. Both are null where there is no gallery.

    Where every look is written, `look` numbers those of the watch from 1, `observation` is all
    that the decision was made from, in full precision, and `event` is the id of the event that it
    gave. With `repeated`, the match is that of the look before and was left out.
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
    look: int = 0
    observation: Observation | None = None
    repeated: bool = False
    event: str | None = None
    schema: int = 1


class DeciderLine(msgspec.Struct, frozen=True, tag="decider", tag_field="type"):
    """What the decider of a watch goes by from its next look on, and what it says before that.

    `begun` tells a decider that has seen nothing yet from one in the middle of its work, which
    knows more than this line holds: the last votes and the evidence so far.
    """

    at: str
    device: str
    source: str
    watch: str
    model: str
    gallery_revision: int
    settings: Settings
    state: str | None
    reason: str | None
    drifts: tuple[LearnedDrift, ...]
    begun: bool
    look: int
    edge_sim: str
    schema: int = SCHEMA


Line: TypeAlias = ScoreLine | DeciderLine | Event
SourceLines: TypeAlias = SourceLost | SourceRestored


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a log that is none: `place` is file and line number."""

    place: str
    fault: str


def fault_of(observation: Observation, levels: Mapping[str, Level]) -> str:
    """Return why no decider with these levels could have seen this; empty if one could."""
    if not 0.0 <= observation.unix_time_s <= _LAST_SECOND_S:
        return f"there is no time {observation.unix_time_s}"
    for item in () if observation.match is None else observation.match.states:
        if item.state not in levels:
            return f"its decider knows no state {item.state!r}"
        if not 0.0 <= item.probability <= 1.0:
            return f"{item.probability} is no probability"
    return ""


def score_line(outcome: Outcome, gallery_revision: int) -> ScoreLine:
    """Return the summary of a look as a line of the score log."""
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


def memory_of(line: DeciderLine) -> Memory:
    """Return what the decider of a line knew at that moment."""
    return Memory(line.state, line.reason, drifts_of(line.drifts))


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


EVERY_S = 60.0
"""Between two lines of a watch: half a megabyte a day and watch, no two of the same moment."""


@runtime_checkable
class Repeatable(Protocol):
    """A decider whose decisions can be made again from what it says of itself."""

    @property
    def settings(self) -> Settings:
        """What it goes by."""

    def snapshot(self) -> Memory:
        """Return what it says and has learned."""


@dataclass(frozen=True, slots=True, eq=False)
class Deciding:
    """Where a look was decided: what its event says of its origin, and by which decider."""

    device: str
    source: str
    decider: Decider


@dataclass(slots=True, eq=False)
class _Row:
    """What the log knows of one watch."""

    deciding: Deciding
    decider: Repeatable
    model: str
    gallery_revision: int
    looks: int = 0
    last_match: Match | None = None


class ScoreLog:
    """Appends a line per watch and interval; the old file goes to `<name>.1` when it is full.

    With an interval of 0 every look is written whole, if the caller says where it was decided:
    such a log can be replayed. About 700 bytes per look with two states, 450 where the gate was
    shut; a new decider, after another gallery or a restart, is written down before its first look.

    Args:
        path: Of the file; its folder must exist.
        every_s: Seconds of frame time between two lines of a watch; 0 for every look.
        max_mb: Of one file, so that two of them are kept at most.
    """

    def __init__(self, path: Path, *, every_s: float = EVERY_S, max_mb: float = 20.0) -> None:
        self._path = path
        self._every_s = every_s
        self._max_bytes = int(max_mb * 1e6)
        self._last_s: dict[str, float] = {}
        self._rows: dict[str, _Row] = {}
        self._stream = _opened(path)

    def note(
        self, outcome: Outcome, gallery_revision: int, deciding: Deciding | None = None
    ) -> None:
        """Write a line if one is due for the watch.

        Args:
            outcome: Of the look.
            gallery_revision: That it was compared with.
            deciding: Where it was decided; None writes a summary only.

        Raises:
            DataError: The disk is full or gone.
        """
        if not self._is_due(outcome):
            return
        decider = None if deciding is None else deciding.decider
        if self._every_s > 0.0 or deciding is None or not isinstance(decider, Repeatable):
            summary = _encoded(score_line(outcome, gallery_revision))
            self._follow()
            if self._size() + len(summary) > self._max_bytes:
                self._rotate()
            self._append(summary)
            return
        try:
            self._note_whole(outcome, gallery_revision, deciding, decider)
        except DataError:
            # What was decided here is missing: the next look begins with its decider again.
            self._rows.pop(outcome.watch, None)
            raise

    def close(self) -> None:
        """Close the file; a disk that is full or gone is no error. Safe to call twice."""
        with suppress(OSError):
            self._stream.close()

    def _note_whole(
        self, outcome: Outcome, gallery_revision: int, deciding: Deciding, decider: Repeatable
    ) -> None:
        if self._follow():
            self._append_deciders(outcome)
        row = self._rows.get(outcome.watch)
        if row is None or row.decider is not decider:
            looks, model = row.looks if row else 0, outcome.probe.embedding.model_id
            row = _Row(deciding, decider, model, gallery_revision, looks)
            self._rows[outcome.watch] = row
            self._append(_encoded(_first_decider_line(row, outcome)))
        row.looks += 1
        self._append(_encoded(_whole_line(row, outcome)))
        if self._size() > self._max_bytes:
            self._rotate()
            self._append_deciders(outcome)

    def _is_due(self, outcome: Outcome) -> bool:
        at_s = outcome.observation.captured_at_s
        last_s = self._last_s.get(outcome.watch)
        # Time that ran backwards counts as due.
        if last_s is not None and 0.0 <= at_s - last_s < self._every_s:
            return False
        self._last_s[outcome.watch] = at_s
        return True

    def _append(self, content: bytes) -> None:
        """Write whole lines or nothing."""
        end = self._size()
        try:
            if self._stream.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):  # a device cannot be cut back
                self._stream.truncate(end)
            raise DataError(f"{self._path}: cannot append ({error.strerror})") from error

    def _append_deciders(self, outcome: Outcome) -> None:
        for line in self._present_deciders(outcome):
            self._append(_encoded(line))

    def _size(self) -> int:
        try:
            return os.fstat(self._stream.fileno()).st_size
        except OSError as error:
            raise DataError(f"{self._path}: cannot append ({error.strerror})") from error

    def _present_deciders(self, outcome: Outcome) -> Iterator[DeciderLine]:
        """Yield where every watch stands, so that a log whose beginning is gone can be read."""
        at = utc_text(outcome.observation.unix_time_s)
        for watch, row in self._rows.items():
            row.last_match = None
            yield _decider_line(row, watch, at)

    def _rotate(self) -> None:
        """Put the file aside; while that fails the old one stays open, and nothing is added."""
        try:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        except OSError as error:
            raise DataError(f"{self._path}: cannot be put aside ({error.strerror})") from error
        self._reopen()

    def _follow(self) -> bool:
        """Go over to a new file if somebody moved the old one away; return whether it was."""
        try:
            if os.path.samestat(self._path.stat(), os.fstat(self._stream.fileno())):
                return False
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DataError(f"{self._path}: cannot append ({error.strerror})") from error
        self._reopen()
        return True

    def _reopen(self) -> None:
        fresh = _opened(self._path)
        with suppress(OSError):
            self._stream.close()
        self._stream = fresh


def _first_decider_line(row: _Row, outcome: Outcome) -> DeciderLine:
    """Return what a decider was before the look in `outcome`, its first.

    One look teaches it nothing yet, so all that may have changed is what it says.
    """
    line = _decider_line(row, outcome.watch, utc_text(outcome.observation.unix_time_s))
    said: State | None = None
    if outcome.change is not None:
        said = outcome.change.before
    elif line.state is not None:
        said = outcome.state
    return msgspec.structs.replace(
        line,
        state=None if said is None else said.name,
        reason=said.reason.value if said and said.reason else None,
        begun=True,
    )


def _decider_line(row: _Row, watch: str, at: str) -> DeciderLine:
    deciding = row.deciding
    memory = row.decider.snapshot()
    return DeciderLine(
        at=at,
        device=deciding.device,
        source=deciding.source,
        watch=watch,
        model=row.model,
        gallery_revision=row.gallery_revision,
        settings=row.decider.settings,
        state=memory.state,
        reason=memory.reason,
        drifts=learned(memory.drifts),
        begun=False,
        look=row.looks + 1,
        edge_sim=__version__,
    )


def _whole_line(row: _Row, outcome: Outcome) -> ScoreLine:
    look = outcome.observation
    repeated = look.match is not None and look.match is row.last_match
    row.last_match = look.match
    event = None
    if outcome.change is not None:
        deciding = row.deciding
        origin = EventOrigin(
            deciding.device, deciding.source, outcome.watch, row.model, row.gallery_revision
        )
        event = state_changed(outcome.change, origin).id
    return msgspec.structs.replace(
        score_line(outcome, row.gallery_revision),
        look=row.looks,
        observation=replace(look, match=None) if repeated else look,
        repeated=repeated,
        event=event,
        schema=SCHEMA,
    )


def _encoded(line: ScoreLine | DeciderLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _opened(path: Path) -> io.FileIO:
    try:
        # Unbuffered: what a full disk refuses must not wait in memory and come out later.
        stream = io.FileIO(path, "ab", opener=private_opener)
        try:
            if ends_mid_line(path):
                stream.write(b"\n")  # cut short by a power failure: it must spoil no other line
        except BaseException:
            with suppress(OSError):
                stream.close()
            raise
    except OSError as error:
        raise DataError(f"{path}: cannot append ({error.strerror})") from error
    return stream
