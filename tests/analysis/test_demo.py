"""The demo is the same every time and mostly right."""

from __future__ import annotations

import json

import pytest

from edge_sim.analysis.demo import Demo, DemoPlan, Judge, StateInterval, true_intervals
from edge_sim.cli.demo import SCENES
from edge_sim.cli.main import main
from edge_sim.core.events import Event
from edge_sim.io.sources.synthetic.source import SCENES as DRAWN_SCENES
from edge_sim.vision.embedders import open_embedder


def events_of(plan: DemoPlan) -> list[Event]:
    demo = Demo(plan, open_embedder("thumbnail"))
    return [event for step in demo.steps() for event in step.events]


def test_the_same_scene_and_seed_give_the_same_events() -> None:
    plan = DemoPlan("bowl", seed=3, frames=150, nuisances=("noise", "shadow"))
    first = events_of(plan)
    assert first
    assert first == events_of(plan)


def test_another_seed_plays_another_day() -> None:
    assert events_of(DemoPlan("lamp", 1, 150)) != events_of(DemoPlan("lamp", 2, 150))


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_is_reported_right_with_the_default_model(scene: str) -> None:
    demo = Demo(DemoPlan(scene, 0, 300, ("noise",)), open_embedder())
    judge = Judge(demo.truth)
    for step in demo.steps():
        judge.add(step)
    verdict = judge.verdict()
    assert verdict.found == verdict.true_changes
    assert verdict.false_changes == 0
    assert verdict.unknown_share < 0.1


def test_every_drawn_scene_can_be_shown() -> None:
    assert set(SCENES) == set(DRAWN_SCENES)


def test_the_way_to_a_state_counts_as_part_of_its_coming() -> None:
    truth = ["a", "a", "transition", "transition", "b", "b", "transition", "b", "a"]
    assert true_intervals(truth) == [
        StateInterval(0, 0, "a"),
        StateInterval(2, 4, "b"),
        StateInterval(8, 8, "a"),
    ]


def test_the_demo_prints_json_lines_and_a_verdict(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--scene", "lamp", "--frames", "60", "--model", "thumbnail"]) == 0
    out, err = capfd.readouterr()
    assert {json.loads(line)["type"] for line in out.splitlines()} == {"state_changed"}
    assert "true states reported" in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--nuisances", "earthquake"], 2), (["--seed", "-1"], 78)],
    ids=["nuisance", "seed"],
)
def test_nonsense_is_refused_in_one_line(
    arguments: list[str], code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--model", "thumbnail", *arguments]) == code
    err = capfd.readouterr().err
    assert err.startswith("edge-sim: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--frames", "--references"])
def test_nothing_at_all_cannot_be_played(option: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", option, "0"])
    assert "'0' is not a whole number above 0" in capfd.readouterr().err
