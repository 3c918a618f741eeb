"""ScoreLog: appends what watches saw, in bounded space."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from edge_sim.deciding import Memory, Settings, learned
from edge_sim.domain import Match, State
from edge_sim.errors import DataError
from edge_sim.events import EventOrigin, state_changed, utc_text
from edge_sim.pipeline import Outcome
from edge_sim.private_file import ends_mid_line, private_opener
from edge_sim.protocols import Decider
from edge_sim.score_log.lines import SCHEMA, DeciderLine, ScoreLine, score_line
from edge_sim.version import __version__

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
