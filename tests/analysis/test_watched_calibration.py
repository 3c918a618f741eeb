"""Calibration of novelty from watched pictures: what a person says is normal is not novel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_sim.analysis.watched_calibration import (
    WatchedPicture,
    calibrated_novelty,
    most_novel,
    watched_in_log,
)
from edge_sim.core.types import Match
from edge_sim.decision.novelty import NovelLevel
from edge_sim.decision.thresholds import Level
from edge_sim.errors import DataError
from edge_sim.runtime.score_log import ScoreLine
from tests.builders import match, observation

LEVELS = {"ok": Level(0.75, 0.08, 0.25, 5, novel=NovelLevel(-2.0, 0.5))}
NORMAL = [WatchedPicture(f"n{at}", "ok", -2.0 + 0.01 * at) for at in range(100)]
FAULTS = [WatchedPicture(f"f{at}", "ok", 0.2 + 0.1 * at) for at in range(5)]


def test_the_most_novel_come_first_in_margins() -> None:
    shown = most_novel([*NORMAL, *FAULTS], LEVELS)
    assert len(shown) == 12
    assert [picture.key for picture, _ in shown[:3]] == ["f4", "f3", "f2"]
    assert shown[0][1] == pytest.approx((0.6 + 2.0) / 0.5)


def test_confirmed_pictures_are_kept_and_those_that_are_not_normal_are_found() -> None:
    (trial,) = calibrated_novelty([*NORMAL, *FAULTS], {item.key for item in FAULTS}, LEVELS)
    assert (trial.normal, trial.faulty) == (100, 5)
    assert trial.kept >= 97
    assert trial.found == 5


def test_a_fault_that_nobody_saw_moves_the_level_less_than_to_itself() -> None:
    overlooked = WatchedPicture("x", "ok", 3.0)
    (clean,) = calibrated_novelty(NORMAL, (), LEVELS)
    (spoiled,) = calibrated_novelty([*NORMAL, overlooked], (), LEVELS)
    assert spoiled.threshold < clean.threshold + 0.1


def test_faults_alone_set_no_level() -> None:
    with pytest.raises(DataError, match="not one picture is normal"):
        calibrated_novelty(FAULTS, {item.key for item in FAULTS}, LEVELS)


def logged(revision: int, *, whole: bool = True) -> ScoreLine:
    seen = match(("ok", 1.0))
    best = replace(seen.best, score=replace(seen.best.score, novelty=-1.5))
    full = observation(Match((best,))) if whole else None
    return ScoreLine(
        at="2026-03-01T07:00:00Z",
        watch="line",
        state="ok",
        reason=None,
        condition="day",
        best="ok",
        combined=0.8,
        probability=1.0,
        gallery_revision=revision,
        observation=full,
    )


def test_a_log_gives_the_observations_made_with_these_references() -> None:
    found = watched_in_log([logged(3), logged(4), logged(4, whole=False)], "line", 4)
    assert found == [WatchedPicture("2026-03-01T07:00:00Z", "ok", -1.5)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([logged(3)], "with other references"),
        ([logged(4, whole=False)], "only summaries"),
        ([], "no observation"),
    ],
)
def test_a_log_that_cannot_be_used_says_why(lines: list[ScoreLine], words: str) -> None:
    with pytest.raises(DataError, match=words):
        watched_in_log(lines, "line", 4)
