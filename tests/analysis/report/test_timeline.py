"""The recorder: what it keeps, and how much."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import pairwise

import numpy as np
import pytest

from edge_sim.analysis.report.timeline import MAX_EVENTS, MAX_PICTURES, MAX_POINTS, Timeline
from edge_sim.core.events import EventOrigin, state_changed
from edge_sim.core.types import UNKNOWN, Embedding, Reference, State, UnknownReason
from edge_sim.gallery.gallery import Gallery
from tests.analysis.report.runs import BOWL_PLAN, START_UNIX_S, outcome_at, probe_at, run

EMPTY, FOOD = State("empty"), State("food")
DARK = State(UNKNOWN, UnknownReason.DARK)


def test_short_run_is_kept_whole() -> None:
    timeline = Timeline()
    outcomes = list(run(BOWL_PLAN))
    for outcome in outcomes:
        timeline.add(outcome)
    (track,) = timeline.tracks
    assert len(track.points) == track.points_seen == len(outcomes)
    assert [point.at_s for point in track.points] == [o.probe.captured_at_s for o in outcomes]


def test_long_run_is_thinned_evenly_and_keeps_its_ends() -> None:
    timeline = Timeline()
    points = 5 * MAX_POINTS
    for i in range(points):
        timeline.add(outcome_at(float(i), EMPTY))
    (track,) = timeline.tracks
    times = np.array([point.at_s for point in track.points])
    assert track.points_seen == points
    assert MAX_POINTS // 2 <= len(times) <= MAX_POINTS
    assert set(np.diff(times)) == {8.0}
    assert times[0] == 0.0
    assert times[-1] > points - 10


def test_thinning_keeps_every_observation_with_an_event() -> None:
    timeline = Timeline()
    changes = set(range(111, 3 * MAX_POINTS, 997))
    before, state = EMPTY, EMPTY
    for i in range(3 * MAX_POINTS):
        if i in changes:
            before, state = state, FOOD if state == EMPTY else EMPTY
        timeline.add(outcome_at(float(i), state, before))
        before = state
    (track,) = timeline.tracks
    assert [event.point.at_s for event in track.events] == sorted(changes)
    assert changes <= {point.at_s for point in track.points}
    assert [span.start_s for span in track.spans()] == [0.0, *sorted(changes)]


def test_flapping_watch_keeps_first_and_latest_events_and_few_pictures() -> None:
    timeline = Timeline()
    total = MAX_EVENTS + 500
    states = (EMPTY, FOOD)
    for i in range(total):
        timeline.add(outcome_at(float(i), states[i % 2], states[(i + 1) % 2]))
    (track,) = timeline.tracks
    numbers = [event.number for event in track.events]
    half = MAX_EVENTS // 2
    assert track.events_seen == total
    assert numbers == [*range(1, half + 1), *range(total - half + 1, total + 1)]
    pictured = [event.number for event in track.events if event.picture is not None]
    assert len(pictured) == MAX_PICTURES
    assert pictured[0] == 1
    assert pictured[-1] == total


def test_spans_follow_each_other_and_carry_the_reason() -> None:
    timeline = Timeline()
    for outcome in run(BOWL_PLAN):
        timeline.add(outcome)
    spans = timeline.tracks[0].spans()
    assert [span.state for span in spans] == [state for _, state in BOWL_PLAN]
    assert [span.start_s for span in spans] == [at_s for at_s, _ in BOWL_PLAN]
    assert all(a.end_s == b.start_s for a, b in pairwise(spans))


def test_reason_of_unknown_that_changes_without_an_event_starts_a_span() -> None:
    timeline = Timeline()
    covered = State(UNKNOWN, UnknownReason.COVERED)
    for at_s, state in ((0.0, DARK), (1.0, DARK), (2.0, covered), (3.0, covered)):
        timeline.add(outcome_at(at_s, state))
    assert [span.state for span in timeline.tracks[0].spans()] == [DARK, covered]


def test_time_that_runs_backwards_never_makes_the_record_run_backwards() -> None:
    timeline = Timeline()
    for at_s in (0.0, 5.0, 2.0, 6.0):
        timeline.add(outcome_at(at_s, EMPTY))
    assert [point.at_s for point in timeline.tracks[0].points] == [0.0, 5.0, 5.0, 6.0]


def test_colour_crop_is_shrunk_and_keeps_its_proportions() -> None:
    timeline = Timeline()
    crop = np.full((300, 600, 3), 77, np.uint8)
    timeline.add(outcome_at(0.0, EMPTY, DARK), crop=crop)
    picture = timeline.tracks[0].events[0].picture
    assert picture is not None
    assert picture.shape == (96, 192, 3)


def test_without_a_crop_the_picture_is_the_thumbnail() -> None:
    timeline = Timeline()
    outcome = outcome_at(0.0, EMPTY, DARK)
    timeline.add(outcome)
    picture = timeline.tracks[0].events[0].picture
    assert picture is not None
    np.testing.assert_array_equal(picture, outcome.probe.thumbnail)


def test_event_tells_source_and_gallery_revision() -> None:
    timeline = Timeline()
    outcome = outcome_at(0.0, EMPTY, DARK)
    assert outcome.change is not None
    event = state_changed(outcome.change, EventOrigin("pi", "file:a.mp4", "bowl", "fake-1234", 7))
    timeline.add(outcome, event)
    (track,) = timeline.tracks
    assert (track.source, track.gallery_revision, track.model_id) == ("file:a.mp4", 7, "fake-1234")


def test_description_counts_references_per_state() -> None:
    timeline = Timeline()
    gallery = Gallery([_reference("a", "food"), _reference("b", "food"), _reference("c", "empty")])
    timeline.describe("bowl", gallery.summary(), source="synthetic:bowl")
    (track,) = timeline.tracks
    assert track.references == {"empty": 1, "food": 2}
    assert track.states == ("empty", "food")
    assert not track.points
    assert not track.spans()


@pytest.mark.parametrize("watches", [1, 5])
def test_every_watch_has_its_own_track(watches: int) -> None:
    timeline = Timeline()
    for i in range(watches):
        timeline.add(outcome_at(0.0, EMPTY, watch=f"w{i}"))
    assert [track.watch for track in timeline.tracks] == [f"w{i}" for i in range(watches)]


def _reference(reference_id: str, state: str) -> Reference:

    probe = probe_at(0.0)
    embedding = Embedding(probe.embedding.vector, None, "fake-1234")
    at = datetime.fromtimestamp(START_UNIX_S, tz=timezone.utc)
    return Reference(reference_id, state, embedding, probe.thumbnail, "day", at)
