"""The file sink keeps what was written before."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_sim.core.events import StateChanged, from_json_line
from edge_sim.errors import SinkError
from edge_sim.io.sinks.file import FileSink
from edge_sim.io.sinks.options import FileOptions
from edge_sim.io.sinks.stdout import StdoutSink
from tests.contracts.test_event_sink import EVENT
from tests.io.outbox.events import changed
from tests.io.sinks.opening import file_sink


def test_events_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        sink = file_sink(path)
        sink.emit(EVENT)
        sink.close()
    assert len(path.read_bytes().splitlines()) == 2


def test_a_line_cut_short_by_a_power_failure_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"state_cha')
    sink = file_sink(path)
    sink.emit(EVENT)
    sink.close()
    assert from_json_line(path.read_bytes().splitlines()[-1]) == EVENT


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="nowhere"):
        file_sink(tmp_path / "nowhere" / "events.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_reported() -> None:
    with Path("/dev/full").open("ab", buffering=0) as stream:
        sink = FileSink(FileOptions(path="/dev/full"), stream)
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


def numbers_in(path: Path) -> list[int]:
    found = [from_json_line(line) for line in path.read_bytes().splitlines()]
    return [event.frame for event in found if isinstance(event, StateChanged)]


def test_the_file_is_rotated_by_size_and_count(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with closing(file_sink(path, max_mb=0.003, keep=2)) as sink:
        for number in range(20):
            sink.emit(changed(number))
    files = [tmp_path / "events.jsonl.2", tmp_path / "events.jsonl.1", path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 3000 for file in files)
    kept = [number for file in files for number in numbers_in(file)]
    assert kept == list(range(20 - len(kept), 20))
    assert len(kept) > 4


def test_a_rotation_that_a_power_cut_stopped_costs_no_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with closing(file_sink(path, max_mb=0.001, keep=3)) as sink:
        for number in range(3):
            sink.emit(changed(number))
    path.with_name("events.jsonl.1").rename(path.with_name("events.jsonl.2~"))
    (tmp_path / "events.jsonl.2").rename(tmp_path / "events.jsonl.3")
    (tmp_path / "events.jsonl.2~").rename(tmp_path / "events.jsonl.2")
    with closing(file_sink(path, max_mb=0.001, keep=3)) as sink:
        sink.emit(changed(3))
    held = [numbers_in(path.with_name(f"events.jsonl.{at}")) for at in (3, 2, 1)]
    assert [*held, numbers_in(path)] == [[0], [1], [2], [3]]


def test_without_files_to_keep_only_the_present_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with closing(file_sink(path, max_mb=0.001, keep=0)) as sink:
        for number in range(5):
            sink.emit(changed(number))
    assert numbers_in(path) == [4]
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_limit_the_file_grows(tmp_path: Path) -> None:
    with closing(file_sink(tmp_path / "events.jsonl")) as sink:
        for number in range(20):
            sink.emit(changed(number))
    assert numbers_in(tmp_path / "events.jsonl") == list(range(20))


@pytest.mark.parametrize("take", [Path.unlink, lambda path: path.rename(f"{path}.mine")])
def test_a_file_that_somebody_took_away_is_begun_anew(
    tmp_path: Path, take: Callable[[Path], object]
) -> None:
    path = tmp_path / "events.jsonl"
    with closing(file_sink(path)) as sink:
        sink.emit(changed(1))
        take(path)
        sink.emit(changed(2))
    assert numbers_in(path) == [2]


def test_a_folder_that_went_away_is_told_and_its_return_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    with closing(file_sink(folder / "events.jsonl")) as sink:
        folder.rename(tmp_path / "gone")
        with pytest.raises(SinkError, match="cannot append events"):
            sink.emit(changed(1))
        folder.mkdir()
        sink.emit(changed(2))
    assert numbers_in(folder / "events.jsonl") == [2]
