"""The score log is read as it was written, whatever happened to the file in between."""

from __future__ import annotations

import itertools
import resource
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge_sim.core.events import EventOrigin, state_changed, to_json_line
from edge_sim.core.types import Probe, State, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.pipeline import Outcome
from edge_sim.decision.thresholds import Level, Settings
from edge_sim.errors import DataError
from edge_sim.runtime.score_log import (
    BadLine,
    DeciderLine,
    DecisionOrigin,
    ScoreLine,
    ScoreLog,
    read_lines,
)
from tests import pictured
from tests.builders import change, match, observation

PROBE: Probe = pictured.probe("left", 1)
LEVEL = Level(0.8, 0.05, 0.3, 6)


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
    event = state_changed(change(None, State("open")), EventOrigin("d", "cam", "gate", "m@1", 1))
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


def whole(path: Path, *outcomes: Outcome, decider: AdaptiveDecider, every_s: float = 0.0) -> None:
    log = ScoreLog(path, every_s=every_s)
    for item in outcomes:
        log.note(item, 3, DecisionOrigin("porch", "cam", decider))
    log.close()


def test_with_every_look_a_log_holds_what_was_decided_from(tmp_path: Path) -> None:
    decider = AdaptiveDecider.following(Settings({"open": LEVEL, "shut": LEVEL}))
    look = outcome(0.1)
    whole(tmp_path / "s.jsonl", look, decider=decider)
    first, line = read(tmp_path / "s.jsonl")
    assert isinstance(first, DeciderLine)
    assert (first.device, first.source, first.watch, first.number) == ("porch", "cam", "gate", 1)
    assert (first.settings, first.state, first.begun) == (decider.settings, None, True)
    assert isinstance(line, ScoreLine)
    assert line.observation == look.observation
    assert (line.number, line.event, line.schema) == (1, None, 2)


def test_a_match_that_stayed_the_same_is_written_once(tmp_path: Path) -> None:
    decider = AdaptiveDecider.following(Settings({"open": LEVEL, "shut": LEVEL}))
    first = outcome(0.0)
    again = replace(first, observation=replace(first.observation, captured_at_s=1.0))
    whole(tmp_path / "s.jsonl", first, again, outcome(2.0), decider=decider)
    lines = [line for line in read(tmp_path / "s.jsonl") if isinstance(line, ScoreLine)]
    assert [line.repeated for line in lines] == [False, True, False]
    assert lines[1].observation is not None
    assert lines[1].observation.match is None


def test_the_event_of_a_look_is_named_by_its_id(tmp_path: Path) -> None:
    decider = AdaptiveDecider.following(Settings({"open": LEVEL, "shut": LEVEL}))
    made = change(None, State("open"))
    item = replace(outcome(7.0), observation=made.cause, change=made)
    whole(tmp_path / "s.jsonl", item, decider=decider)
    origin = EventOrigin("porch", "cam", "gate", PROBE.embedding.model_id, 3)
    line = read(tmp_path / "s.jsonl")[1]
    assert isinstance(line, ScoreLine)
    assert line.event == state_changed(made, origin).id


def test_now_and_then_is_a_summary_whoever_decided(tmp_path: Path) -> None:
    decider = AdaptiveDecider.following(Settings())
    whole(tmp_path / "s.jsonl", outcome(0.0), outcome(2.0), decider=decider, every_s=1.0)
    lines = read(tmp_path / "s.jsonl")
    assert len(lines) == 2
    assert all(isinstance(line, ScoreLine) and line.observation is None for line in lines)


def test_lines_of_before_whole_looks_are_read_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(
        '{"type":"score","at":"2026-01-31T12:00:00.000Z","watch":"gate","state":"open",'
        '"reason":null,"condition":"day","best":"open","combined":0.9,"probability":0.9,'
        '"gallery_revision":3,"schema":1}\n'
    )
    (line,) = read(tmp_path / "s.jsonl")
    assert isinstance(line, ScoreLine)
    assert (line.combined, line.number, line.observation) == (0.9, 0, None)


def test_a_rotation_that_fails_is_one_line_each_and_the_log_goes_on_afterwards(
    tmp_path: Path,
) -> None:
    path = tmp_path / "scores.jsonl"
    log = ScoreLog(path, every_s=1.0, max_mb=0.002)
    times = itertools.count(0.0, 10.0)
    blocking = tmp_path / "scores.jsonl.1"
    blocking.mkdir()
    (blocking / "in the way").touch()
    with suppress(DataError):
        for time_s in times:
            log.note(outcome(time_s), 1)
    for _ in range(3):
        with pytest.raises(DataError, match="cannot be renamed"):
            log.note(outcome(next(times)), 1)
    assert path.stat().st_size <= 2000, "the file stays in its bounds"
    (blocking / "in the way").unlink()
    blocking.rmdir()
    log.note(outcome(next(times)), 1)
    log.close()
    log.close()
    assert blocking.is_file()
    assert path.read_bytes().count(b"\n") == 1


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    log = ScoreLog(path, every_s=1.0)
    log.note(outcome(0.0), 1)
    path.rename(tmp_path / "scores.jsonl.old")
    log.note(outcome(10.0), 1)
    log.close()
    assert path.read_bytes().count(b"\n") == 1
    assert (tmp_path / "scores.jsonl.old").read_bytes().count(b"\n") == 1
