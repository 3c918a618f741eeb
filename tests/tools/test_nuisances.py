"""The nuisance suite: what it draws, how it judges, and a small run of it."""

from __future__ import annotations

import json

import nuisances
import numpy as np
import pytest
from comparing.nuisances import (
    Trials,
    combinations,
    disturbed,
    judged,
    play_disturbed,
    summed_up,
    wanted_nuisances,
)

from edge_sim.analysis.evaluation.events import EventsResult, Played
from edge_sim.core.types import UNKNOWN, Observation, State, StateChange, UnknownReason
from edge_sim.errors import ConfigError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.synthetic.nuisances import NUISANCES
from edge_sim.io.sources.synthetic.source import SCENES, scene_effect, scene_lost_at, scene_truth
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.embedders import open_embedder
from tests.builders import observation

CLIP = "synthetic:gate?seed=101&frames=120&fps=2.5&dwell_s=12"
OPEN, CLOSED = State("open"), State("closed")


def saying(changes: list[tuple[int, State]], frames: int) -> Played:
    """A watch that changed its mind at these frames, always quite sure."""
    said, now, told = [], State(UNKNOWN, UnknownReason.STARTING), []
    for at in range(frames):
        for place, after in changes:
            if place == at:
                told.append((at, _change(now, after, observation(index=at))))
                now = after
        said.append(now)
    return Played(tuple(range(frames)), tuple(said), tuple(told), (None,) * frames)


def _change(before: State, after: State, cause: Observation) -> StateChange:
    return StateChange(before, after, cause, {}, 0.0 if after.name == UNKNOWN else 0.95)


def truly(uri: str, delay: int = 2) -> list[tuple[int, State]]:
    """What a watch that is right would say."""
    truth = scene_truth(uri)
    entries: list[tuple[int, State]] = []
    for at, name in enumerate(truth):
        if name != "transition" and (not entries or entries[-1][1].name != name):
            entries.append((at, State(name)))
    return [(at + delay, state) for at, state in entries]


def test_every_nuisance_comes_alone_and_every_two_together_once() -> None:
    plan = combinations(NUISANCES, pairs=True)
    assert plan[0] == ()
    assert len(plan) == len(set(plan)) == 1 + 11 + 55
    assert len(combinations(NUISANCES, pairs=False)) == 12
    assert combinations(["noise", "hand"], pairs=True)[-1] == ("hand", "noise")


def test_the_scenes_take_turns_and_every_clip_is_another_day() -> None:
    clips = Trials(seeds=8).clips
    assert len(set(clips)) == 8
    assert {clip.split("?")[0].split(":")[1] for clip in clips} == set(SCENES)


def test_a_nuisance_that_there_is_not_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'bump'"):
        wanted_nuisances(["bmup"])
    assert wanted_nuisances(None) == tuple(NUISANCES)


@pytest.mark.parametrize("pair", [("hand", "noise"), ("light_on", "bump"), ("ir", "exposure")])
def test_two_effects_one_after_the_other_are_the_clip_that_names_both(
    pair: tuple[str, str],
) -> None:
    first, second = (scene_effect(disturbed(CLIP, (name,))) for name in pair)
    plain, both = open_source(CLIP), open_source(disturbed(CLIP, pair))
    for _ in range(60):
        frame, expected = plain.read(), both.read()
        assert frame is not None
        assert expected is not None
        if frame.index % 12 == 0:
            found = second(first(frame.pixels.copy(), frame.index), frame.index)
            assert np.array_equal(found, expected.pixels)


def test_a_watch_that_is_right_is_judged_perfect() -> None:
    found = judged(CLIP, saying(truly(CLIP), 120))
    assert (found.f1, found.false_events, found.sure_wrong) == (1.0, 0, 0)


def test_a_wrong_state_said_surely_is_counted() -> None:
    right = truly(CLIP)
    wrong = OPEN if right[0][1] == CLOSED else CLOSED
    found = judged(CLIP, saying([right[0], (right[0][0] + 5, wrong), *right[1:]], 120))
    assert found.sure_wrong == 1
    assert found.false_events >= 1


def test_nothing_is_asked_for_once_the_camera_looks_elsewhere() -> None:
    uri = disturbed(CLIP, ("bump_large",))
    lost = scene_lost_at(uri)
    assert lost is not None
    before = [item for item in truly(uri) if item[0] < lost]
    assert len(before) < len(truly(uri))
    moved = (lost + 3, State(UNKNOWN, UnknownReason.CAMERA_MOVED))
    assert judged(uri, saying([*before, moved], 120)).f1 == 1.0


def test_a_change_told_while_it_happens_is_true_though_the_camera_is_turned_before_its_end() -> (
    None
):
    uri = "synthetic:bowl?seed=16&frames=120&fps=2.5&dwell_s=12&nuisances=bump_large"
    lost, truth = scene_lost_at(uri) or 0, scene_truth(uri)
    during = lost - 2
    assert truth[during] == "transition" != truth[lost - 1]
    before = [item for item in truly(uri) if item[0] < during]
    told = (during, State("empty" if before[-1][1].name == "food" else "food"))
    assert judged(uri, saying([*before, told], 120)).false_events == 0
    third = (during, State("tipped over"))
    assert judged(uri, saying([*before, third], 120)).false_events == 1


def test_a_wrong_state_after_the_camera_was_turned_is_false() -> None:
    uri = disturbed(CLIP, ("bump_large",))
    lost = scene_lost_at(uri) or 0
    before = [item for item in truly(uri) if item[0] < lost]
    truth = scene_truth(uri)
    at = next(at for at in range(lost, 120) if truth[at] == before[-1][1].name)
    wrong = (at, OPEN if truth[at] == "closed" else CLOSED)
    assert judged(uri, saying(before, 120)).false_events == 0
    assert judged(uri, saying([*before, wrong], 120)).false_events == 1


def test_a_change_that_is_seen_from_the_side_is_not_held_against_the_watch() -> None:
    uri = disturbed(CLIP, ("bump_large",))
    lost = scene_lost_at(uri) or 0
    found = judged(uri, saying(truly(uri), 120))
    assert max(at for at, _ in truly(uri)) > lost
    assert (found.f1, found.false_events) == (1.0, 0)


def result(f1: float, *, true: int, reported: int, recall: float, frames: int) -> EventsResult:
    return EventsResult(
        name=f"clip {f1}",
        frames=frames,
        true_changes=true,
        reported=reported,
        precision=1.0,
        recall=recall,
        f1=f1,
        false_events=0,
        false_per_1000=0.0,
        delay_frames=2.0,
        unknown_share=0.1,
        wrong_share=0.0,
        sure_wrong=0,
    )


def test_clips_are_summed_up_by_their_events_and_the_worst_is_named() -> None:
    clips = [
        result(1.0, true=3, reported=3, recall=1.0, frames=100),
        result(0.5, true=3, reported=1, recall=1 / 3, frames=300),
    ]
    found = summed_up(("hand", "noise"), clips)
    assert (found.name, found.true_changes, found.reported, found.found) == ("hand+noise", 6, 4, 4)
    assert found.f1 == pytest.approx(0.8)
    assert found.unknown_share == pytest.approx(0.1)
    assert found.worst_clip == "clip 0.5"
    with pytest.raises(ValueError, match="no clip"):
        summed_up((), [])


def test_a_small_run_of_the_suite_tells_every_change_and_no_wrong_one() -> None:
    plan = combinations(["hand", "ir", "bump_large"], pairs=False)
    stages = stages_of(Config(), WatchConfig())
    embedder = open_embedder("default", threads=1)
    played = play_disturbed(CLIP, plan, embedder, stages)
    for names, what in played.items():
        found = judged(disturbed(CLIP, names), what)
        assert (found.f1, found.sure_wrong) == (1.0, 0), names
    reasons = {state.reason for state in played["bump_large",].reported}
    assert UnknownReason.CAMERA_MOVED in reasons


def test_the_suite_is_reported_and_names_what_there_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--seeds", "1", "--nuisances", "hand,covered", "--pairs", "--model", "thumbnail"]
    assert nuisances.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["seeds"]) == ("nuisances", 1)
    assert [one["name"] for one in found["sets"]] == ["nothing", "hand", "covered", "hand+covered"]
    assert {"f1", "sure_wrong", "unknown_share"} <= set(found["mean"])
    for wrong, words in ((["--nuisances", "noize"], "noize"), (["--seeds", "0"], "1 or more")):
        assert nuisances.main(wrong) == 1
        assert words in capsys.readouterr().err
