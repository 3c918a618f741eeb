"""What every sink promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.domain import State
from edge_sim.errors import SinkError
from edge_sim.events import Origin, from_json_line, state_changed
from edge_sim.protocols import EventSink
from edge_sim.sinks import KINDS, open_sink
from tests.builders import change

EVENT = state_changed(
    change(None, State("open")),
    Origin(device="d", source="s", watch="gate", model="m@1", gallery_revision=3),
)
OPTIONS = {"stdout": {}, "file": {"path": "events.jsonl"}}


@pytest.fixture(params=sorted(KINDS))
def sink(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> EventSink:
    monkeypatch.chdir(tmp_path)
    return open_sink(request.param, **OPTIONS[request.param])


def test_every_kind_is_covered_by_this_suite() -> None:
    assert OPTIONS.keys() == KINDS.keys()


def test_an_event_arrives_whole(
    sink: EventSink, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sink.emit(EVENT)
    sink.emit(EVENT)
    sink.close()
    file = tmp_path / "events.jsonl"
    written = file.read_bytes() if file.exists() else capfdbinary.readouterr().out
    assert [from_json_line(line) for line in written.splitlines()] == [EVENT, EVENT]


def test_a_closed_sink_refuses_events(sink: EventSink) -> None:
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.emit(EVENT)


def test_closing_twice_is_safe(sink: EventSink) -> None:
    sink.close()
    sink.close()


def test_a_sink_has_a_name(sink: EventSink) -> None:
    assert sink.name
    sink.close()
