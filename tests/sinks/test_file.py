"""The file sink keeps what was written before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_sim.errors import SinkError
from edge_sim.events import from_json_line
from edge_sim.sinks.file import FileSink
from edge_sim.sinks.stdout import StdoutSink
from tests.contracts.test_event_sink import EVENT


def test_events_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        sink = FileSink.open(path)
        sink.emit(EVENT)
        sink.close()
    assert len(path.read_bytes().splitlines()) == 2


def test_a_line_cut_short_by_a_power_failure_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"state_cha')
    sink = FileSink.open(path)
    sink.emit(EVENT)
    sink.close()
    assert from_json_line(path.read_bytes().splitlines()[-1]) == EVENT


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="nowhere"):
        FileSink.open(tmp_path / "nowhere" / "events.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_reported() -> None:
    with Path("/dev/full").open("ab", buffering=0) as stream:
        sink = FileSink(Path("/dev/full"), stream)
        with pytest.raises(SinkError, match="No space left"):
            sink.emit(EVENT)


def test_a_reader_that_went_away_is_reported() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with (
        os.fdopen(writing, "wb", buffering=0) as stream,
        pytest.raises(SinkError, match="stdout: cannot write"),
    ):
        StdoutSink(stream).emit(EVENT)
