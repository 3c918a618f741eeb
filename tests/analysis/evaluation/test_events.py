"""Clips played in order: matching of true and reported changes, and whole clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.events import (
    TOLERANCE_FRAMES,
    EventsResult,
    Played,
    judge,
    mean_result,
    paired,
    play,
    reported_entries,
    true_entries,
    unknown_recall,
)
from edge_sim.analysis.evaluation.states import first_rows, gallery_beside, spread
from edge_sim.core.protocols import Scorer
from edge_sim.core.types import UNKNOWN, State, StateChange, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.pipeline import Stages
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.decision.thresholds import Settings, levels_of
from edge_sim.errors import DataError
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.scene_monitor import SceneMonitor
from tests.analysis.evaluation.folders import embedded_set
from tests.builders import match, observation

STAGES = Stages(
    scorer=GalleryScorer,
    decider=lambda gallery, scorer: AdaptiveDecider(scorer.leave_one_out(), gallery),
    monitor=SceneMonitor,
)


def change(after: str, *, confidence: float = 0.8) -> StateChange:
    state = State(after) if after != UNKNOWN else State(UNKNOWN, UnknownReason.NOVEL)
    return StateChange(None, state, observation(match(("a", 1.0))), {}, confidence)


def judged(labels: Sequence[str | None], changes: list[tuple[int, str]]) -> EventsResult:
    seen = EmbeddedSet("clip", (), tuple(labels))
    said, now = [], State(UNKNOWN, UnknownReason.STARTING)
    told = {place: change(after) for place, after in changes}
    for place in range(len(labels)):
        now = told[place].after if place in told else now
        said.append(now)
    rows = tuple(range(len(labels)))
    return judge(seen, Played(rows, tuple(said), tuple(told.items()), (None,) * len(labels)))


def test_runs_too_short_to_confirm_are_not_asked_for() -> None:
    labels = [*"aaaa", *"bb", *"aaa", *"bbbb"]
    assert [(entry.place, entry.state) for entry in true_entries(labels)] == [(0, "a"), (9, "b")]


def test_frames_that_show_no_state_end_nothing() -> None:
    labels: list[str | None] = ["a", "a", None, "a", None, None, "b", "b", "b"]
    found = true_entries(labels)
    assert [(entry.place, entry.first, entry.state) for entry in found] == [
        (0, 0, "a"),
        (6, 4, "b"),
    ]
    assert found[0].end == 4 + TOLERANCE_FRAMES


def test_coming_back_from_unknown_is_no_new_entry() -> None:
    changes = [(0, change("a")), (3, change(UNKNOWN)), (5, change("a")), (9, change("b"))]
    assert [(entry.place, entry.state) for entry in reported_entries(changes)] == [
        (0, "a"),
        (9, "b"),
    ]


def test_everything_right_is_perfect() -> None:
    found = judged(["a"] * 6 + ["b"] * 6, [(2, "a"), (8, "b")])
    assert (found.precision, found.recall, found.f1, found.false_events) == (1.0, 1.0, 1.0, 0.0)
    assert found.delay_frames == 2.0
    assert found.unknown_share == pytest.approx(2 / 12)
    assert found.wrong_share == pytest.approx(2 / 12)


def test_a_change_that_was_none_is_false() -> None:
    found = judged(["a"] * 20 + ["b"] * 5, [(2, "a"), (8, "b"), (12, "a"), (22, "b")])
    assert found.false_events == 2
    assert found.recall == 1.0
    assert found.precision == 0.5
    assert found.false_per_1000 == pytest.approx(1000 * 2 / 25)


def test_a_missed_change_lowers_recall_only() -> None:
    found = judged(["a"] * 6 + ["b"] * 6, [(2, "a")])
    assert (found.precision, found.recall) == (1.0, 0.5)


def test_a_change_reported_while_the_scene_still_moves_is_right() -> None:
    found = judged([*["a"] * 6, None, None, None, *["b"] * 4], [(2, "a"), (7, "b")])
    assert found.f1 == 1.0
    assert found.delay_frames == 1.0


def test_a_late_report_counts_within_the_tolerance_only() -> None:
    labels = ["a"] * 6 + ["b"] * 3 + ["c"] * 30
    in_time, late = 8 + TOLERANCE_FRAMES, 9 + TOLERANCE_FRAMES
    assert judged(labels, [(2, "a"), (in_time, "b"), (20, "c")]).f1 == 1.0
    assert judged(labels, [(2, "a"), (late, "b"), (20, "c")]).false_events == 1


def test_calling_a_clip_of_one_state_novel_is_a_false_event() -> None:
    found = judged(["a"] * 20, [(2, "a"), (8, UNKNOWN), (12, "a")])
    assert found.false_events == 1
    assert found.unknown_share == pytest.approx(6 / 20)


def test_unknown_while_a_known_state_shows_is_a_false_unknown() -> None:
    labels = ["a"] * 10 + [None] * 2 + ["b"] * 8
    found = judged(labels, [(2, "a"), (5, UNKNOWN), (7, "a"), (11, UNKNOWN), (13, "b")])
    assert found.false_unknown_per_1000 == pytest.approx(1000 / 20)


def test_a_state_left_out_of_the_gallery_is_to_be_unknown() -> None:
    clip = embedded_set([*["empty"] * 12, *["left"] * 12])
    rows = [row for row in clip.clean_rows if row % 2]
    gallery = clip.gallery(row for row in clip.clean_rows if not row % 2)

    def with_level(leave: float) -> Stages:
        def decider(gallery: Gallery, scorer: Scorer) -> AdaptiveDecider:
            levels = levels_of(gallery, scorer.leave_one_out())
            return AdaptiveDecider.following(Settings(levels, enter=leave, leave=leave))

        return replace(STAGES, decider=decider)

    assert unknown_recall(clip, rows, gallery, with_level(0.99)) == 1.0
    assert unknown_recall(clip, rows, gallery, with_level(0.0)) == 0.0
    alone = clip.gallery(row for row in clip.rows_of("empty"))
    assert unknown_recall(clip, rows, alone, STAGES) is None


def test_entries_pair_in_order_and_once() -> None:
    true = true_entries([*"aaabbbaaabbb"])
    reported = reported_entries(
        [(at, change(name)) for at, name in ((2, "a"), (8, "a"), (11, "b"))]
    )
    assert [true[a].place for a, _ in paired(true, reported)] == [0, 9]


def test_the_mean_of_results_is_taken_figure_by_figure() -> None:
    one = judged(["a"] * 6 + ["b"] * 6, [(2, "a"), (8, "b")])
    two = judged(["a"] * 6 + ["b"] * 6, [(4, "a")])
    both = mean_result([one, two])
    assert both.recall == 0.75
    assert both.delay_frames == pytest.approx((2.0 + 4.0) / 2)
    with pytest.raises(ValueError, match="no result"):
        mean_result([])


def test_a_clip_is_played_with_the_stages_of_a_device() -> None:
    seen = embedded_set(["empty"] * 12 + [None] * 2 + ["left"] * 12)
    gallery = embedded_set(["empty"] * 5 + ["left"] * 5, start=1000).gallery(range(10))
    found = judge(seen, play(seen, range(26), gallery, STAGES))
    assert found.f1 == 1.0
    assert (found.wrong_share or 0.0) < 0.2


def test_early_references_of_a_dated_clip_lie_within_its_first_day() -> None:
    seen = embedded_set(["empty"] * 300, step_s=900.0)
    rows = first_rows(seen, 8)
    assert len(rows) == 8
    assert rows[0] == 0
    assert 90 <= rows[-1] < 97
    with pytest.raises(DataError, match="needs more than 8"):
        first_rows(embedded_set(["empty"] * 8), 8)


def test_references_beside_a_clip_come_from_the_nearest_days() -> None:
    clip = embedded_set(["empty"] * 4, step_s=3600.0, start=72)
    other = embedded_set([("empty" if at < 70 else "left") for at in range(140)], step_s=3600.0)
    gallery = gallery_beside(clip, other, 6)
    rows = [int(item.reference_id.split("/")[1]) for item in gallery]
    assert gallery.states == ("empty", "left")
    assert all(45 < row < 72 or 75 < row < 101 for row in rows)


def test_spreading_takes_all_of_few() -> None:
    assert spread(embedded_set(["empty"] * 3), [0, 1, 2], 8) == (0, 1, 2)
