"""Score log: JSON lines with the scores of each watch, for `edge-sim stats` and `edge-sim replay`.

By default one line per watch and interval. With every observation written, a log also holds all
that the decisions were made from, so that they can be replayed without pictures. An event file has
the same form, and both are read alike.
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
    IndexReady,
    SourceLost,
    SourceRestored,
    state_changed,
    utc_text,
)
from edge_sim.core.files import ends_mid_line, is_file, private_opener, reading_opener
from edge_sim.core.protocols import Decider
from edge_sim.core.types import Match, Observation, State
from edge_sim.decision.pipeline import Outcome
from edge_sim.decision.thresholds import LearnedDrift, Level, Memory, Settings, drifts_of, learned
from edge_sim.errors import DataError
from edge_sim.version import __version__

_LAST_SECOND_S = 253_402_300_799.0  # of the year 9999
SCHEMA = 2
"""Schema of lines that hold whole observations; 1 is the summary alone, which every schema has."""


class ScoreLine(msgspec.Struct, frozen=True, tag="score", tag_field="type", omit_defaults=True):
    """One observation of one watch.

    `state` is the state of the watch; `best` is the most probable state of this observation, and
    `combined` its score. Both are null where there is no gallery.

    Where every observation is written, `number` counts those of the watch from 1, `observation` is
    all that the decision was made from, in full precision, and `event` is the id of the event that
    it gave. With `repeated`, the match is that of the previous observation and is left out.
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
    number: int = msgspec.field(name="look", default=0)
    observation: Observation | None = None
    repeated: bool = False
    event: str | None = None
    schema: int = 1


class DeciderLine(msgspec.Struct, frozen=True, tag="decider", tag_field="type"):
    """Settings and state of the decider of a watch before the observation `number`.

    With `begun` the decider is new; otherwise it also has votes and evidence that this line does
    not hold.
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
    number: int = msgspec.field(name="look")
    edge_sim: str
    schema: int = SCHEMA


Line: TypeAlias = ScoreLine | DeciderLine | Event
SourceLines: TypeAlias = SourceLost | SourceRestored | IndexReady


@dataclass(frozen=True, slots=True)
class BadLine:
    """Invalid line of a log; `place` is file and line number."""

    place: str
    fault: str


def fault_of(observation: Observation, levels: Mapping[str, Level]) -> str:
    """Return why an observation cannot belong to a decider with these levels; empty if it can."""
    if not 0.0 <= observation.unix_time_s <= _LAST_SECOND_S:
        return f"there is no time {observation.unix_time_s}"
    for item in () if observation.match is None else observation.match.states:
        if item.state not in levels:
            return f"its decider knows no state {item.state!r}"
        if not 0.0 <= item.probability <= 1.0:
            return f"{item.probability} is no probability"
    return ""


def score_line(outcome: Outcome, gallery_revision: int) -> ScoreLine:
    """Return the summary of an observation as a line of the score log."""
    observation, state = outcome.observation, outcome.state
    best = None if observation.match is None else observation.match.best
    return ScoreLine(
        at=utc_text(observation.unix_time_s),
        watch=outcome.watch,
        state=state.name,
        reason=state.reason.value if state.reason else None,
        condition=observation.condition,
        best=None if best is None else best.state,
        combined=None if best is None else round(best.score.combined, 4),
        probability=None if best is None else round(best.probability, 4),
        gallery_revision=gallery_revision,
    )


def memory_of(line: DeciderLine) -> Memory:
    """Return the learned state of a decider at its line."""
    return Memory(line.state, line.reason, drifts_of(line.drifts))


_MAX_LINE_BYTES = 1_000_000
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def read_lines(paths: Iterable[Path]) -> Iterator[Line | BadLine]:
    """Yield the lines of logs, file by file; for each file its rotated parts first.

    Invalid lines, such as one cut short by a power failure, are yielded as `BadLine`.

    Raises:
        DataError: A file cannot be read.
    """
    for part in dict.fromkeys(part for path in paths for part in parts_of(path)):
        yield from _lines(part)


def _lines(path: Path) -> Iterator[Line | BadLine]:
    number = 0
    try:
        with open(path, "rb", opener=reading_opener) as file:
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


def parts_of(path: Path) -> list[Path]:
    """Return the files of a log, the oldest first: `<name>.N` beside it, and itself."""
    parts: list[Path] = []
    number = 1
    if not path.name:
        return [path]  # `.` or a root: no file; reading it raises
    while is_file(part := path.with_name(f"{path.name}.{number}")):
        parts.append(part)
        number += 1
    return [*parts[::-1], path]


EVERY_S = 60.0
"""Interval between two lines of a watch, seconds: half a megabyte a day and watch."""


@runtime_checkable
class Repeatable(Protocol):
    """Decider whose decisions can be replayed from its settings and memory."""

    @property
    def settings(self) -> Settings:
        """Settings of the decider."""

    def snapshot(self) -> Memory:
        """Return state and learned thresholds."""


@dataclass(frozen=True, slots=True, eq=False)
class DecisionOrigin:
    """Device, source and decider of an observation."""

    device: str
    source: str
    decider: Decider


@dataclass(slots=True, eq=False)
class _Row:
    """State of the log for one watch."""

    origin: DecisionOrigin
    decider: Repeatable
    model: str
    gallery_revision: int
    count: int = 0
    last_match: Match | None = None
    is_current: bool = True


class ScoreLog:
    """Writer of a score log in bounded space; the full file is renamed to `<name>.1`.

    With an interval of 0 every observation is written whole, if the caller gives its origin: such
    a log can be replayed. About 700 bytes per observation with two states, 450 where the gate was
    shut; a new decider, after another gallery or a restart, is written before its first
    observation.

    Args:
        path: Path of the file; its folder must exist.
        every_s: Interval between two lines of a watch, seconds of frame time; 0 writes all.
        max_mb: Size of one file, megabytes; at most two of them are kept.
    """

    def __init__(self, path: Path, *, every_s: float = EVERY_S, max_mb: float = 20.0) -> None:
        self._path = path
        self._every_s = every_s
        self._max_bytes = int(max_mb * 1e6)
        self._last_s: dict[str, float] = {}
        self._rows: dict[str, _Row] = {}
        self._stream = _opened(path)

    def note(
        self, outcome: Outcome, gallery_revision: int, origin: DecisionOrigin | None = None
    ) -> None:
        """Write a line if one is due for the watch.

        Args:
            outcome: Result of the observation.
            gallery_revision: Revision of the gallery that it was compared with.
            origin: Device, source and decider; None writes a summary only.

        Raises:
            DataError: The disk is full or gone.
        """
        if not self._is_due(outcome):
            return
        decider = None if origin is None else origin.decider
        if self._every_s > 0.0 or origin is None or not isinstance(decider, Repeatable):
            summary = _encoded(score_line(outcome, gallery_revision))
            self._follow()
            if self._size() + len(summary) > self._max_bytes:
                self._rotate()
            self._append(summary)
            return
        try:
            self._note_whole(outcome, gallery_revision, origin, decider)
        except DataError:
            # This decision is missing: the next observation is written with its decider again.
            self._rows.pop(outcome.watch, None)
            raise

    def restart(self, watch: str) -> None:
        """Write the decider of a watch before its next observation, as after a lost view."""
        row = self._rows.get(watch)
        if row is not None:
            row.is_current = False

    def close(self) -> None:
        """Close the file; a disk that is full or gone is no error. Safe to call twice."""
        with suppress(OSError):
            self._stream.close()

    def _note_whole(
        self, outcome: Outcome, gallery_revision: int, origin: DecisionOrigin, decider: Repeatable
    ) -> None:
        if self._follow():
            self._append_deciders(outcome)
        row = self._rows.get(outcome.watch)
        if row is None or row.decider is not decider or not row.is_current:
            count, model = row.count if row else 0, outcome.probe.embedding.model_id
            row = _Row(origin, decider, model, gallery_revision, count)
            self._rows[outcome.watch] = row
            self._append(_encoded(_first_decider_line(row, outcome)))
        row.count += 1
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
        """Yield the decider of every watch, so that a log whose beginning is gone can be read."""
        at = utc_text(outcome.observation.unix_time_s)
        for watch, row in self._rows.items():
            row.last_match = None
            yield _decider_line(row, watch, at)

    def _rotate(self) -> None:
        """Rename the full file; while that fails the old one stays open, and nothing is added."""
        try:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        except OSError as error:
            raise DataError(f"{self._path}: cannot be renamed ({error.strerror})") from error
        self._reopen()

    def _follow(self) -> bool:
        """Open a new file if the old one was moved away; return whether it was."""
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
        self.close()
        self._stream = fresh


def _first_decider_line(row: _Row, outcome: Outcome) -> DeciderLine:
    """Return the line of a decider before its first observation, that of `outcome`.

    One observation teaches it nothing yet: only its state may have changed.
    """
    line = _decider_line(row, outcome.watch, utc_text(outcome.observation.unix_time_s))
    state: State | None = None
    if outcome.change is not None:
        state = outcome.change.before
    elif line.state is not None:
        state = outcome.state
    return msgspec.structs.replace(
        line,
        state=None if state is None else state.name,
        reason=state.reason.value if state and state.reason else None,
        begun=True,
    )


def _decider_line(row: _Row, watch: str, at: str) -> DeciderLine:
    origin = row.origin
    memory = row.decider.snapshot()
    return DeciderLine(
        at=at,
        device=origin.device,
        source=origin.source,
        watch=watch,
        model=row.model,
        gallery_revision=row.gallery_revision,
        settings=row.decider.settings,
        state=memory.state,
        reason=memory.reason,
        drifts=learned(memory.drifts),
        begun=False,
        number=row.count + 1,
        edge_sim=__version__,
    )


def _whole_line(row: _Row, outcome: Outcome) -> ScoreLine:
    observation = outcome.observation
    repeated = observation.match is not None and observation.match is row.last_match
    row.last_match = observation.match
    event = None
    if outcome.change is not None:
        device, source = row.origin.device, row.origin.source
        origin = EventOrigin(device, source, outcome.watch, row.model, row.gallery_revision)
        event = state_changed(outcome.change, origin).id
    return msgspec.structs.replace(
        score_line(outcome, row.gallery_revision),
        number=row.count,
        observation=replace(observation, match=None) if repeated else observation,
        repeated=repeated,
        event=event,
        schema=SCHEMA,
    )


def _encoded(line: ScoreLine | DeciderLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _opened(path: Path) -> io.FileIO:
    try:
        # Unbuffered: a line that a full disk rejects must not be written later.
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
