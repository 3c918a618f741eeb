"""API of the score log: scores over time, thinned out, and the log decided again."""

from __future__ import annotations

import os
import re
import threading
import time
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from starlette.exceptions import HTTPException
from starlette.routing import Route

from edge_sim.analysis.replay import Overrides, Reading, ReplayRun, as_replayed, compared
from edge_sim.analysis.replay_summary import log_state
from edge_sim.core.events import unix_time_s
from edge_sim.core.files import reading_opener
from edge_sim.core.types import UNKNOWN
from edge_sim.runtime.config import Config
from edge_sim.runtime.score_log import DeciderLine, ScoreLine, parts_of, read_lines
from edge_sim.web.answers import FIRST, LAST, ApiRequest, route, time_text
from edge_sim.web.callers import Role

DAY_S = 86_400.0
DEFAULT_POINTS = 1500
MOST_POINTS = 10_000
_MAX_LINE_BYTES = 1_000_000
_AT = re.compile(rb'"at":"([^"]{10,40})"')
_replaying = threading.Lock()


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/scores", scores),
        route("/api/replay", replay, method="POST", role=Role.VIEWER),
    ]


class _LoggedScore(msgspec.Struct):
    combined: float
    novelty: float | None = None


class _LoggedState(msgspec.Struct):
    state: str
    score: _LoggedScore
    probability: float


class _LoggedMatch(msgspec.Struct):
    states: tuple[_LoggedState, ...]


class _LoggedObservation(msgspec.Struct):
    match: _LoggedMatch | None = None


class _LoggedLine(msgspec.Struct, tag="score", tag_field="type"):
    """Part of a line of the score log that a chart needs."""

    at: str
    watch: str
    state: str
    condition: str
    reason: str | None = None
    best: str | None = None
    combined: float | None = None
    observation: _LoggedObservation | None = None
    repeated: bool = False


_DECODER = msgspec.json.Decoder(_LoggedLine)


def log_path(config: Config) -> Path:
    """Return the path of the score log.

    Raises:
        HTTPException: None is kept.
    """
    path = config.score_log.path
    if path is None or config.outbox.storage != "disk":
        raise HTTPException(
            404,
            "no score log is kept: set score_log: {path: scores.jsonl, every_s: 0} in the "
            "configuration",
        )
    return config.path(path)


def scores(asked: ApiRequest) -> Any:
    """Return the scores of a watch over time."""
    name = asked.query.get("watch") or ""
    asked.context.watch(name)
    until_s = asked.time("until") or time.time()
    since_s = asked.time("since")
    since_s = until_s - DAY_S if since_s is None else since_s
    points = int(min(max(asked.number("points", DEFAULT_POINTS) or 2, 2), MOST_POINTS))
    series = ScoreSeries()
    for line in lines_between(log_path(asked.context.config), name, since_s, until_s):
        series.add(line)
    view = series.view(points)
    status = next((item for item in asked.context.device.board.watches if item.name == name), None)
    levels = {} if status is None or status.outcome is None else status.outcome.thresholds
    return {
        **view,
        "watch": name,
        "since": since_s,
        "until": until_s,
        "thresholds": {
            state: {"enter": round(level.enter, 4), "leave": round(level.leave, 4)}
            for state, level in levels.items()
        },
    }


class ScoreSeries:
    """Scores of one watch over time, in 8 bytes a number."""

    def __init__(self) -> None:
        self._times = array("d")
        self._novelties = array("d")
        self._states: list[str] = []
        self._lights: list[str] = []
        self._scores: dict[str, array[float]] = {}
        self._last: _LoggedMatch | None = None

    def __len__(self) -> int:
        return len(self._times)

    def add(self, line: _LoggedLine) -> None:
        """Add one observation."""
        count = len(self._times)
        self._times.append(unix_time_s(line.at))
        self._states.append(f"{line.state}:{line.reason}" if line.reason else line.state)
        self._lights.append(line.condition)
        match = line.observation.match if line.observation is not None else None
        if line.repeated:
            match = self._last
        self._last = match
        novelty = float("nan")
        known: dict[str, float] = {}
        if match is not None:
            known = {item.state: item.score.combined for item in match.states}
            value = match.states[0].score.novelty if match.states else None
            novelty = novelty if value is None else value
        elif line.best is not None and line.combined is not None:
            known = {line.best: line.combined}
        self._novelties.append(novelty)
        for state in known.keys() - self._scores.keys():
            self._scores[state] = array("d", [float("nan")]) * count
        for state, values in self._scores.items():
            values.append(known.get(state, float("nan")))

    def view(self, points: int) -> dict[str, Any]:
        """Return the series with about so many points; extremes and changes of state are kept."""
        kept = self._kept(points)
        return {
            "t": [round(self._times[at], 3) for at in kept],
            "scores": {
                state: [_rounded(values[at]) for at in kept]
                for state, values in sorted(self._scores.items())
            },
            "novelty": [_rounded(self._novelties[at]) for at in kept],
            "state": [self._states[at].partition(":")[0] for at in kept],
            "reason": [self._states[at].partition(":")[2] or None for at in kept],
            "light": [self._lights[at] for at in kept],
            "observations": len(self),
        }

    def _kept(self, points: int) -> list[int]:
        count = len(self)
        if count <= points:
            return list(range(count))
        table = [np.frombuffer(values) for values in self._scores.values()]
        lead = np.nan_to_num(np.fmax.reduce(table)) if table else np.zeros(count)
        changes = [at for at, (a, b) in enumerate(pairwise(self._states), 1) if a != b]
        changes = changes[: points // 2]
        edges = np.linspace(0, count, max((points - len(changes)) // 2, 1) + 1).astype(int)
        kept = {0, count - 1, *changes, *(at - 1 for at in changes)}
        for begin, end in pairwise(edges.tolist()):
            if end > begin:
                kept.add(begin + int(lead[begin:end].argmin()))
                kept.add(begin + int(lead[begin:end].argmax()))
        return sorted(kept)


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 4)


def lines_between(path: Path, watch: str, since_s: float, until_s: float) -> Iterator[_LoggedLine]:
    """Yield the observations of a watch in a log whose lines are in the order of time."""
    wanted = b'"watch":' + msgspec.json.encode(watch)
    since, until = time_text(since_s, FIRST), time_text(until_s, LAST)
    for part in parts_of(path):
        try:
            with open(part, "rb", opener=reading_opener) as file:
                _seek(file, since.encode())
                while raw := file.readline(_MAX_LINE_BYTES):
                    if wanted not in raw:
                        continue
                    line = _decoded(raw)
                    if line is None or line.watch != watch or line.at < since:
                        continue
                    if line.at > until:
                        break
                    yield line
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HTTPException(404, f"the score log cannot be read ({error.strerror})") from error


def _decoded(raw: bytes) -> _LoggedLine | None:
    try:
        line = _DECODER.decode(raw)
        unix_time_s(line.at)
    except (msgspec.DecodeError, ValueError):
        return None  # a decider, an event, or a line cut short
    return line


def _seek(file: Any, since: bytes) -> None:
    """Set a file to a line that is before `since`, near to it, by halving."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > 2 * _MAX_LINE_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(_MAX_LINE_BYTES)
        found = _AT.search(file.readline(_MAX_LINE_BYTES))
        if found is not None and found[1] < since:
            low = middle
        else:
            high = middle
    file.seek(low)
    if low:
        file.readline(_MAX_LINE_BYTES)


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST api/replay`; times in seconds since 1970."""

    watch: str
    sensitivity: float
    since: float | None = None
    until: float | None = None


def replay(asked: ApiRequest) -> Any:
    """Return which events a watch would have given with another sensitivity."""
    request = asked.read(ReplayRequest)
    asked.context.watch(request.watch)
    if not 0.0 <= request.sensitivity <= 1.0:
        raise HTTPException(422, f"sensitivity must be 0 to 1, got {request.sensitivity:g}")
    if not _replaying.acquire(blocking=False):
        raise HTTPException(409, "another replay is running: try again in a moment")
    try:
        return replayed(log_path(asked.context.config), request)
    finally:
        _replaying.release()


def replayed(path: Path, request: ReplayRequest) -> dict[str, Any]:
    """Return the events of a log decided again, and how they differ from those of then.

    Raises:
        HTTPException: The log holds nothing that could be decided.
        DataError: It cannot be read.
    """
    run = ReplayRun(Overrides(sensitivity=request.sensitivity))
    reading = Reading([run])
    parts = [part for part in parts_of(path) if part.exists()]
    lines = (
        line
        for part in parts
        for line in read_lines([part])
        if isinstance(line, DeciderLine | ScoreLine) and line.watch == request.watch
    )
    for _ in reading.observations(lines):
        pass
    if not reading.whole:
        reason = (
            "it holds summaries only: set score_log.every_s to 0"
            if reading.summaries
            else "it holds no observation of this watch yet"
        )
        raise HTTPException(422, f"the score log cannot be replayed: {reason}")
    since, until = time_text(request.since, FIRST), time_text(request.until, LAST)
    compare = compared(
        [item for item in reading.logged if since <= item[1].at <= until],
        [item for item in run.events if since <= item[1].at <= until],
    )
    events = [as_replayed(event) for _, event in run.events if since <= event.at <= until]
    return {
        "watch": request.watch,
        "sensitivity": request.sensitivity,
        "events": events,
        "unknown": sum(event.after == UNKNOWN for event in events),
        "logged": [event for _, event in reading.logged if since <= event.at <= until],
        "same": len(compare.same),
        "moved": compare.moved,
        "gained": compare.gained,
        "lost": compare.lost,
        "log": log_state(reading),
    }
