"""The figures of a track."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.report.timeline import (
    Timeline,
    Track,
    duration_text,
    percent,
    summarise,
    true_spans,
    wrong_spans,
)
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from tests.analysis.report.runs import BOWL_PLAN, BOWL_TRUTH, outcome_at, run


def track_of(*points: tuple[float, State]) -> Track:
    timeline = Timeline()
    for at_s, state in points:
        timeline.add(outcome_at(at_s, state))
    return timeline.tracks[0]


EMPTY, FOOD = State("empty"), State("food")
DARK = State(UNKNOWN, UnknownReason.DARK)


def test_shares_are_of_time_not_of_observations() -> None:
    track = track_of(
        (0.0, EMPTY), (1.0, EMPTY), (2.0, EMPTY), (3.0, FOOD), (9.0, DARK), (10.0, DARK)
    )
    assert summarise(track).shares == pytest.approx({"food": 0.6, "empty": 0.3, UNKNOWN: 0.1})


def test_unknown_is_never_wrong_and_time_before_the_truth_is_not_judged() -> None:
    track = track_of((0.0, EMPTY), (4.0, DARK), (6.0, FOOD), (10.0, FOOD))
    agreement = summarise(track, [(2.0, "empty"), (7.0, "food")]).agreement
    assert agreement is not None
    parts = (agreement.right, agreement.unknown, agreement.wrong)
    assert parts == pytest.approx((5 / 8, 2 / 8, 1 / 8))


def test_without_truth_there_is_no_agreement() -> None:
    assert summarise(track_of((0.0, EMPTY), (1.0, EMPTY))).agreement is None


def test_one_observation_has_no_length_and_is_all_there_is() -> None:
    summary = summarise(track_of((5.0, EMPTY)))
    assert (summary.span_s, dict(summary.shares)) == (0.0, {"empty": 1.0})


def test_track_without_observations_has_no_figures() -> None:
    assert summarise(Track("bowl")).shares == {}


def test_neighbours_with_one_truth_become_one_span() -> None:
    spans = true_spans([(0.0, "a"), (1.0, "a"), (2.0, "b")], 0.5, 4.0)
    assert [(span.start_s, span.end_s, span.state) for span in spans] == [
        (0.5, 2.0, "a"),
        (2.0, 4.0, "b"),
    ]


def test_wrong_spans_say_what_was_reported() -> None:
    timeline = Timeline()
    for outcome in run(BOWL_PLAN):
        timeline.add(outcome)
    track = timeline.tracks[0]
    wrong = wrong_spans(track.spans(), true_spans(BOWL_TRUTH, 0.0, 119.5))
    assert [(span.start_s, span.end_s, span.state) for span in wrong] == [(92.0, 95.0, "food")]


@given(share=st.floats(0.0, 1.0))
def test_percent_never_rounds_to_a_claim_that_is_not_true(share: float) -> None:
    text = percent(share)
    assert (text == "0 %") == (share == 0.0)
    assert (text == "100 %") == (share == 1.0)


@given(
    changes=st.lists(st.sampled_from([EMPTY, FOOD, DARK]), min_size=2, max_size=30),
    truth=st.lists(st.sampled_from(["empty", "food"]), min_size=1, max_size=10),
)
def test_shares_of_agreement_sum_to_one(changes: list[State], truth: list[str]) -> None:
    track = track_of(*((float(i), state) for i, state in enumerate(changes)))
    agreement = summarise(track, [(3.0 * i, state) for i, state in enumerate(truth)]).agreement
    assert agreement is not None
    assert agreement.right + agreement.unknown + agreement.wrong == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (12.5, "12.5 s"),
        (59.97, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (86400 + 3600, "1 d 01 h"),
    ],
)
def test_a_length_of_time_is_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
