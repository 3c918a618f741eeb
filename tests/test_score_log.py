"""The score log is read as it was written, whatever happened to the file in between."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest

from edge_sim.domain import Probe, State, UnknownReason
from edge_sim.errors import DataError
from edge_sim.events import Origin, state_changed, to_json_line
from edge_sim.pipeline import Outcome
from edge_sim.score_log import BadLine, ScoreLine, ScoreLog, read_lines
from tests import pictured
from tests.builders import change, match, observation

PROBE: Probe = pictured.probe("left", 1)


def outcome(at_s: float, *, watch: str = "gate", state: State | None = None) -> Outcome:
    look = observation(match(("open", 0.9), ("shut", 0.1)), at_s=at_s)
    return Outcome(watch, PROBE, look, state or State("open"), {}, None)


def written(path: Path, *at_s: float, every_s: float = 60.0, max_mb: float = 20.0) -> None:
    log = ScoreLog(path, every_s=every_s, max_mb=max_mb)
    for time_s in at_s:
        log.note(outcome(time_s), 3)
    log.close()
    log.close()


def read(*paths: Path) -> list[object]:
    return list(read_lines(paths))


def test_a_look_comes_back_as_it_was(tmp_path: Path) -> None:
    written(tmp_path / "s.jsonl", 0.0)
    (line,) = read(tmp_path / "s.jsonl")
    assert isinstance(line, ScoreLine)
    assert (line.watch, line.state, line.reason, line.best) == ("gate", "open", None, "open")
    assert (line.combined, line.condition, line.gallery_revision) == (0.9, "day", 3)


def test_a_watch_without_gallery_or_state_is_logged_too(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "s.jsonl")
    look = outcome(0.0, state=State("unknown", UnknownReason.NO_REFERENCES))
    log.note(replace(look, observation=observation(None)), 0)
    log.close()
    (line,) = read(tmp_path / "s.jsonl")
    assert isinstance(line, ScoreLine)
    assert (line.state, line.reason, line.combined) == ("unknown", "no_references", None)


def test_each_watch_has_a_line_per_interval_and_one_when_time_jumps_back(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "s.jsonl", every_s=10.0)
    for at_s in (0.0, 1.0, 9.9, 10.0, 12.0, 3.0, 4.0):
        log.note(outcome(at_s), 1)
        log.note(outcome(at_s, watch="door"), 1)
    log.close()
    lines = [line for line in read(tmp_path / "s.jsonl") if isinstance(line, ScoreLine)]
    assert [line.watch for line in lines] == ["gate", "door"] * 3


def test_a_full_file_is_put_aside_once_and_read_first(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path, *range(12), every_s=1.0, max_mb=0.001)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["s.jsonl", "s.jsonl.1"]
    assert max(item.stat().st_size for item in tmp_path.iterdir()) <= 1000
    times = [line.at for line in read(path) if isinstance(line, ScoreLine)]
    assert times == sorted(times)
    assert read(path.with_name("s.jsonl.1"), path) == read(path)  # no line twice


def test_a_line_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path, 0.0)
    path.write_bytes(path.read_bytes()[:-20])
    written(path, 0.0)
    bad, good = read(path)
    assert isinstance(bad, BadLine)
    assert bad.place == f"{path}:1"
    assert isinstance(good, ScoreLine)


@pytest.mark.parametrize(
    "content",
    [b"nonsense", b"{}", b'{"type": "score"}', b"\xff\xfe", b'{"type": "other"}', b"[" * 999],
)
def test_what_is_no_line_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(content + b"\n\n")
    (bad,) = read(path)
    assert isinstance(bad, BadLine)


def test_event_files_are_read_alike(tmp_path: Path) -> None:
    event = state_changed(change(None, State("open")), Origin("d", "cam", "gate", "m@1", 1))
    (tmp_path / "e.jsonl").write_bytes(to_json_line(event))
    assert read(tmp_path / "e.jsonl") == [event]


def test_what_cannot_be_written_or_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot append"):
        ScoreLog(tmp_path / "no" / "s.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "s.jsonl", every_s=0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot append"):
            log.note(outcome(0.0), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.close()
