"""DecisionOrigin a log again gives exactly what was decided, whatever the looks were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.demo import Demo, DemoPlan
from edge_sim.analysis.replay import Overrides, Reading, ReplayRun, compared
from edge_sim.analysis.replay_summary import watch_replays
from edge_sim.core.events import StateChanged, from_json_line, to_json_line
from edge_sim.core.types import Doubt, Observation, UnknownReason
from edge_sim.decision.rules import Rules
from edge_sim.decision.thresholds import Drift, Memory, Settings
from edge_sim.errors import DataError
from edge_sim.io.sources.synthetic.source import SCENES
from edge_sim.runtime.score_log import DecisionOrigin, ScoreLog, read_lines
from edge_sim.vision.embedders import open_embedder
from tests.analysis.logs import LEVELS, SETTINGS, looks, random_looks, seen, written


def again(*paths: Path, overrides: Overrides | None = None) -> tuple[Reading, ReplayRun]:
    run = ReplayRun(overrides)
    reading = Reading([run])
    for _ in reading.observations(read_lines(paths)):
        pass
    return reading, run


def events_of(run: ReplayRun) -> list[StateChanged]:
    return [event for _, event in run.events]


def without_duration(event: StateChanged) -> StateChanged:
    """How long the state before lasted is no part of the decision."""
    bare = msgspec.structs.replace(event, before_lasted_s=None)
    return from_json_line(to_json_line(bare))  # type: ignore[return-value]


@given(
    random_looks(),
    st.floats(0.0, 1.0),
    st.sampled_from([(1, 1), (2, 3), (3, 5), (5, 5)]),
    st.sampled_from([0.0005, 0.004, 20.0]),
)
def test_any_row_of_observations_is_decided_again_as_it_was(
    observations: list[Observation], sensitivity: float, confirm: tuple[int, int], max_mb: float
) -> None:
    settings = Settings(LEVELS, sensitivity, *confirm)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        # So large that at most one old part is needed: a smaller file loses looks.
        decided = written(
            path, observations, settings, max_mb=max(max_mb, len(observations) * 6e-4)
        )
        reading, run = again(path)
    assert reading.is_exact
    assert (reading.bad, reading.whole) == (0, len(observations))
    assert events_of(run) == decided
    assert [event.id for _, event in reading.logged] == [event.id for event in decided]
    assert compared(reading.logged, run.events).is_equal


@pytest.mark.parametrize("scene", SCENES)
def test_every_demo_scene_is_decided_again_as_it_was(scene: str, tmp_path: Path) -> None:
    plan = DemoPlan(scene, 3, 150, ("noise", "light_drift", "shadow", "hand"))
    demo = Demo(plan, open_embedder("thumbnail"))
    log = ScoreLog(tmp_path / "s.jsonl", every_s=0.0)
    decided: list[StateChanged] = []
    for step in demo.steps():
        decided += [event for event in step.events if isinstance(event, StateChanged)]
        for outcome in step.outcomes:
            assert step.frame is not None
            log.note(outcome, 0, DecisionOrigin("demo", step.frame.source, demo.watch.decider))
    log.close()
    demo.close()
    reading, run = again(tmp_path / "s.jsonl")
    assert reading.is_exact
    assert decided
    assert events_of(run) == [without_duration(event) for event in decided]


def test_what_was_known_before_a_restart_is_decided_with(tmp_path: Path) -> None:
    memory = Memory("shut", None, {("open", "day"): Drift(-0.15, 0.02, 400)})
    decided = written(tmp_path / "s.jsonl", looks("oooossss"), memory=memory)
    assert decided[0].before == "shut"
    _, run = again(tmp_path / "s.jsonl")
    assert events_of(run) == decided


def test_rules_of_the_watch_are_decided_with(tmp_path: Path) -> None:
    rules = Rules(allowed={"open": ("ajar",)})
    settings = replace(SETTINGS, rules=rules)
    decided = written(tmp_path / "s.jsonl", looks("oooossssssss"), settings)
    assert decided[-1].doubts == (Doubt.NOT_ALLOWED.value,)
    _, run = again(tmp_path / "s.jsonl")
    assert events_of(run) == decided


def test_two_runs_in_one_file_are_two_runs(tmp_path: Path) -> None:
    decided = written(tmp_path / "s.jsonl", looks("ooossss"))
    decided += written(tmp_path / "s.jsonl", looks("sssoooo"))
    reading, run = again(tmp_path / "s.jsonl")
    assert events_of(run) == decided
    assert reading.is_exact


def test_a_log_that_was_put_aside_goes_on_where_it_was(tmp_path: Path) -> None:
    observations = looks("ooosssnnnooo" * 3)
    decided = written(tmp_path / "s.jsonl", observations, max_mb=0.016)
    assert (tmp_path / "s.jsonl.1").exists()
    reading, run = again(tmp_path / "s.jsonl")
    assert (reading.is_exact, events_of(run)) == (True, decided)


def test_a_log_whose_beginning_is_gone_says_so_and_is_decided_from_there(tmp_path: Path) -> None:
    decided = written(tmp_path / "s.jsonl", looks("ooosssnnnooosss" * 6), max_mb=0.008)
    reading, run = again(tmp_path / "s.jsonl")
    assert (reading.is_exact, reading.midway) == (False, 1)
    assert 0 < reading.whole < 90
    # What was said before is known, what was about to be said is not: the first event may differ.
    assert events_of(run)[-1].id == decided[-1].id


def test_a_line_cut_short_is_reported_and_the_rest_decided(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    decided = written(path, looks("ooosss"))
    path.write_bytes(path.read_bytes()[:-30])
    reading, run = again(path)
    assert (reading.bad, reading.whole) == (1, 5)
    assert reading.faults[0].startswith(f"{path}:7: ")
    assert events_of(run) == decided[:1]
    assert reading.is_exact  # of what there is


def test_an_observation_that_is_missing_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path, [replace(look, match=seen(0.8, 0.9)) for look in looks("oooooo")])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[5:]))
    reading, _ = again(path)
    assert (reading.is_exact, reading.missing, reading.whole) == (False, 1, 5)


def test_a_match_that_was_in_a_missing_line_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    match, other = seen(0.85, 0.97), seen(0.8, 0.9, "shut")
    observations = [replace(look, match=match) for look in looks("ooo")]
    observations += [replace(look, match=other) for look in looks("ooooo")[3:]]
    written(path, observations)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[5:]))  # the first look of `other`
    reading, _ = again(path)
    assert (reading.missing, reading.unread, reading.whole) == (1, 1, 3)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b'"combined":0.85', b'"combined":null', "Expected `float`"),
        (b'"combined":0.85', b'"combined":NaN', "malformed"),
        (b'"probability":0.97}', b'"probability":-3.0}', "no probability"),
        (b'"state":"open","reference_id"', b'"state":"ajar","reference_id"', "knows no state"),
        (b'"unix_time_s":1700000002.0', b'"unix_time_s":-1.0', "there is no time"),
        (b'"states":[', b'"stats":[', "missing required field"),
    ],
)
def test_numbers_that_make_no_sense_are_reported_and_not_decided_on(
    tmp_path: Path, old: bytes, new: bytes, fault: str
) -> None:
    path = tmp_path / "s.jsonl"
    observations = [*looks("oo"), *looks("ooo")[2:]]
    written(path, observations)
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[3]
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(old, new)]))
    reading, _ = again(path)
    assert (reading.bad, reading.whole) == (1, 2)
    assert fault in reading.faults[0]


def test_a_log_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path, looks("ooo"))
    path.write_bytes(path.read_bytes().replace(b'"schema":2', b'"schema":3'))
    with pytest.raises(DataError, match=r"newer edge_sim \(schema 3"):
        again(path)


def test_a_decider_that_makes_no_sense_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path, looks("ooo"))
    path.write_bytes(path.read_bytes().replace(b'"sensitivity":0.5', b'"sensitivity":7.5'))
    reading, run = again(path)
    assert (reading.bad, reading.unread, events_of(run)) == (1, 3, [])
    assert "sensitivity must be 0 to 1" in reading.faults[0]


def test_time_that_runs_backwards_and_a_day_without_an_observation_are_decided_again(
    tmp_path: Path,
) -> None:
    observations = looks("ooosssooo")
    jumps = [0.0, 1.0, 2.0, 86_400.0, 86_401.0, 86_402.0, 50.0, 51.0, 52.0]
    moved = [
        replace(look, captured_at_s=at_s, unix_time_s=1_700_000_000.0 + at_s)
        for look, at_s in zip(observations, jumps, strict=True)
    ]
    decided = written(tmp_path / "s.jsonl", moved)
    _, run = again(tmp_path / "s.jsonl")
    assert events_of(run) == decided


def test_foreign_lines_are_no_observations(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"type":"temperature","value":21}\n{"a":1}\nplain text\n[]\n')
    reading, _ = again(path)
    assert (reading.whole, reading.bad) == (0, 4)


@pytest.mark.parametrize(
    ("overrides", "events"),
    [
        (Overrides(), ["open", "shut"]),
        (Overrides(matches=4), []),
        (Overrides(matches=1, of=1), ["open", "unknown", "shut", "unknown"]),
        (Overrides(enter=0.9), ["unknown"]),
        (Overrides(leave=0.1, enter=0.1), ["open", "shut"]),
    ],
)
def test_other_settings_decide_otherwise(
    tmp_path: Path, overrides: Overrides, events: list[str]
) -> None:
    written(tmp_path / "s.jsonl", looks("ooonsssn", step_s=0.5))
    reading, run = again(tmp_path / "s.jsonl", overrides=overrides)
    assert [event.after for event in events_of(run)] == events
    (replayed,) = watch_replays(reading, run)
    assert replayed.logged == 2
    assert replayed.decided == len(events)
    assert replayed.same + len(replayed.moved) + len(replayed.gained) == len(events)
    assert replayed.same + len(replayed.moved) + len(replayed.lost) == 2


def test_settings_that_contradict_each_other_are_one_line(tmp_path: Path) -> None:
    written(tmp_path / "s.jsonl", looks("ooo"))
    with pytest.raises(DataError, match="3 of 2"):
        again(tmp_path / "s.jsonl", overrides=Overrides(of=2))
    with pytest.raises(DataError, match="lies above"):
        again(tmp_path / "s.jsonl", overrides=Overrides(enter=0.2, leave=0.3))


def test_an_event_a_little_later_is_moved_and_not_lost(tmp_path: Path) -> None:
    written(tmp_path / "s.jsonl", looks("ooooooossssssss"))
    reading, run = again(tmp_path / "s.jsonl", overrides=Overrides(matches=5))
    found = compared(reading.logged, run.events)
    assert [move.observations for move in found.moved] == [2, 2]
    assert not found.gained
    assert not found.lost
    assert not found.is_equal


def test_an_event_far_away_is_another_one(tmp_path: Path) -> None:
    written(tmp_path / "s.jsonl", looks("ooo" + "N" * 20 + "ooo"))
    reading, run = again(tmp_path / "s.jsonl", overrides=Overrides(enter=0.84))
    assert compared(reading.logged, run.events).is_equal
    run.events[:] = [
        (look + 16, msgspec.structs.replace(event, id="x")) for look, event in run.events[:1]
    ]
    found = compared(reading.logged[:1], run.events)
    assert (len(found.gained), len(found.lost), len(found.moved)) == (1, 1, 0)


def test_every_impediment_can_be_written_and_read(tmp_path: Path) -> None:
    observations = [
        replace(look, impediment=reason)
        for look, reason in zip(looks("o" * len(UnknownReason)), UnknownReason, strict=True)
    ]
    written(tmp_path / "s.jsonl", observations)
    reading, _ = again(tmp_path / "s.jsonl")
    assert (reading.bad, reading.whole) == (0, len(UnknownReason))
