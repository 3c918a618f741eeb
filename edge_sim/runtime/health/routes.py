"""Pages of the HTTP server. A fixed table: no path reaches the file system."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from edge_sim.core.events import Event, tag_of, utc_text
from edge_sim.decision.drift import DriftReading
from edge_sim.errors import EdgeSimError
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.runtime.health.status import SourceStatus, StatusBoard, WatchStatus

logger = logging.getLogger(__name__)

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """Response: status, content type, body."""

    status: int
    kind: str
    body: bytes


class Pages:
    """Pages of a device.

    Args:
        board: Status board of the daemon.
        counts: Counts of the outbox.
        failing: Number of failures in a row of each sink that fails.
        written_bytes: Bytes written to the disk beside the outbox since the start.
        teach: Handler of the body of `POST /teach`; returns the result or raises `EdgeSimError`.
    """

    def __init__(
        self,
        board: StatusBoard,
        *,
        counts: Callable[[], OutboxCounts],
        failing: Callable[[], Mapping[str, int]],
        written_bytes: Callable[[], int],
        teach: Callable[[bytes], Mapping[str, object]],
    ) -> None:
        self.board = board
        self._counts = counts
        self._failing = failing
        self._written_bytes = written_bytes
        self._teach = teach
        self._get: Mapping[str, Callable[[], Page]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/state": self._state,
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths for GET, except the stream of events."""
        return tuple(self._get)

    def get(self, path: str) -> Page | None:
        """Return the page of a path; None if there is none."""
        page = self._get.get(path)
        return None if page is None else page()

    def teach(self, body: bytes) -> Page:
        """Return the result of a correction."""
        try:
            return _json(200, self._teach(body))
        except EdgeSimError as error:
            return _json(422, {"error": str(error)})

    def _healthz(self) -> Page:
        health = self.board.health()
        body = {"alive": health.alive, "ready": health.ready, "faults": health.faults}
        return _json(200 if health.alive else 503, body)

    def _readyz(self) -> Page:
        health = self.board.health()
        return _json(200 if health.ready else 503, {"ready": health.ready, "faults": health.faults})

    def _metrics(self) -> Page:
        try:
            from edge_sim.runtime.health import metrics
        except ImportError:
            text = b"metrics need prometheus_client: pip install 'edge_sim[metrics]'\n"
            return Page(501, TEXT, text)
        collector = metrics.StatusCollector(
            self.board, self._counts, self._failing, self._written_bytes
        )
        return Page(200, metrics.CONTENT_TYPE, metrics.exposition(collector))

    def _state(self) -> Page:
        board = self.board
        sources = {item.name: _source(item, board.clock()) for item in board.sources}
        watches = {item.name: _watch(item, board.in_state_s(item.name)) for item in board.watches}
        body = {
            "device": board.device,
            "model": board.model,
            "sources": sources,
            "watches": watches,
            "outbox": {"waiting": self._counts().waiting, "failing": dict(self._failing())},
        }
        return _json(200, body)


def stream_chunk(number: int, event: Event) -> bytes:
    """Return one server-sent event."""
    data = msgspec.json.encode(event)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, tag_of(event).encode(), data)


def _json(status: int, body: Mapping[str, Any]) -> Page:
    return Page(status, JSON, msgspec.json.encode(body) + b"\n")


def _source(item: SourceStatus, now_s: float) -> dict[str, object]:
    age_s = None if item.frame_at_s is None else round(max(now_s - item.frame_at_s, 0.0), 3)
    at = None if item.frame_unix_s is None else utc_text(item.frame_unix_s)
    return {
        "up": item.up,
        "frames": item.frames,
        "frame_age_s": age_s,
        "last_frame_at": at,
        "losses": item.losses,
        "dropped": item.dropped,
        "error": item.error or None,
    }


def _watch(item: WatchStatus, in_state_s: float) -> dict[str, object]:
    state = item.state
    return {
        "source": item.source,
        "state": None if state is None else state.name,
        "reason": state.reason.value if state is not None and state.reason else None,
        "in_state_s": round(in_state_s, 3),
        "probability": {name: round(value, 4) for name, value in item.probability.items()},
        "margin": None if item.margin is None else round(item.margin, 4),
        "condition": item.condition or None,
        "problems": item.issues.problems,
        "overdue": item.issues.overdue,
        "drift": [_drift(reading) for reading in item.issues.drifts],
        "observations": item.observations,
        "gallery_revision": item.revision,
    }


def _drift(reading: DriftReading) -> dict[str, object]:
    return {
        "state": reading.state,
        "condition": reading.condition,
        "observations": reading.observations,
        "psi": None if reading.psi is None else round(reading.psi, 4),
        "drifted": reading.drifted,
        "action": reading.action or None,
    }
