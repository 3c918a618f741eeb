"""The soak tool finds what it is there to find."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from edge_sim.core.events import EventOrigin, StateChanged, state_changed, to_json_line
from edge_sim.core.types import State
from edge_sim.errors import SourceError
from tests.builders import change

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
soak = importlib.import_module("soak")
judgement = importlib.import_module("soaking.judgement")
samples = importlib.import_module("soaking.samples")
camera = importlib.import_module("soaking.camera")
Sample, growth, grown = samples.Sample, samples.growth, samples.grown
problems_of, wrong_end, lines_of = (
    judgement.problems_of,
    judgement.wrong_end,
    judgement.lines_of,
)

ORIGIN = EventOrigin("shed", "yard", "gate", "fake@1", 1)


def line(before: str | None, after: str, index: int) -> bytes:
    event: StateChanged = state_changed(
        change(None if before is None else State(before), State(after), index=index), ORIGIN
    )
    return to_json_line(event)


GOOD = [line(None, "open", 1), line("open", "closed", 2), line("closed", "open", 3)]


def test_a_chain_without_gaps_is_fine_even_if_some_came_twice() -> None:
    assert problems_of(GOOD) == []
    assert problems_of([GOOD[0], GOOD[0], *GOOD[1:], GOOD[2]]) == []


def test_a_lost_event_is_found() -> None:
    (problem,) = problems_of([GOOD[0], GOOD[2]])
    assert "gate was open, not closed" in problem


def test_an_event_told_twice_with_another_id_is_found() -> None:
    assert problems_of([*GOOD[:2], line("open", "closed", 9)]) != []


def test_a_wrong_state_at_the_end_is_found() -> None:
    assert wrong_end(GOOD, {"gate": "open"}) == []
    assert wrong_end(GOOD, {"gate": "closed"}) == ["gate says open at the end and shows closed"]


def test_rotated_files_are_read_the_oldest_first(tmp_path: Path) -> None:
    for name, text in (("e.jsonl.10", "1\n"), ("e.jsonl.2", "2\n"), ("e.jsonl", "3\n4\n")):
        (tmp_path / name).write_text(text)
    assert lines_of(tmp_path / "e.jsonl") == [b"1\n", b"2\n", b"3\n", b"4\n"]


def test_growth_is_that_of_the_last_two_thirds() -> None:
    flat = [Sample(at, 50.0 if at > 30 else at, 10, 5) for at in range(100)]
    assert growth(flat, "rss_mb") == pytest.approx(0.0, abs=1e-6)
    assert grown(flat) == []
    leaking = [Sample(at, 50.0 + at, 10, 5 + at // 20) for at in range(90)]
    assert growth(leaking, "rss_mb") == pytest.approx(59.0)
    assert [text.split()[0] for text in grown(leaking)] == ["rss_mb", "threads"]


def test_a_camera_is_in_every_kind_of_trouble_and_ends_calm() -> None:
    played = camera.Camera("c0", 3, 120_000, wait=lambda seconds: None)
    frames = 0
    for _ in range(120_000):
        played.looked()
        try:
            frame = played.next_frame()
        except (SourceError, ValueError):
            continue
        assert frame is not None
        frames += 1
    played.looked()
    assert played.next_frame() is None
    assert frames > 119_000
    assert played.troubles.keys() == camera.KINDS
    assert played.changes > 300


def test_a_short_run_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "soak"
    arguments = ["--frames", "400", "--model", "thumbnail", "--out", str(out)]
    assert soak.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    assert report["events"] >= 4
    assert "open descriptors" in (out / "soak.html").read_text()
