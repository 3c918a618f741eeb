"""Ticks, scales and how times are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.report.drawing import AxisScale, duration_text, score_ticks, time_ticks


@pytest.mark.parametrize(
    ("span_s", "labels"),
    [
        (0.4, ["0", "0.1 s", "0.2 s", "0.3 s", "0.4 s"]),
        (30.0, ["0", "10 s", "20 s", "30 s"]),
        (600.0, ["0", "5 min", "10 min"]),
        (6 * 3600.0, ["0", "2 h", "4 h", "6 h"]),
        (3 * 86400.0, ["0", "1 d", "2 d", "3 d"]),
    ],
)
def test_ticks_are_round_in_the_unit_that_fits(span_s: float, labels: list[str]) -> None:
    assert [tick.label for tick in time_ticks(span_s, 5)] == labels


@given(span_s=st.floats(1e-2, 5e8), most=st.integers(3, 20))
def test_ticks_start_at_zero_stay_inside_and_are_never_too_many(span_s: float, most: int) -> None:
    ticks = time_ticks(span_s, most)
    assert ticks[0].value == 0
    assert all(0 <= tick.value <= span_s * (1 + 1e-6) for tick in ticks)
    assert len(ticks) <= most
    assert len({tick.label for tick in ticks}) == len(ticks)


@given(low=st.floats(0.0, 0.9))
def test_score_ticks_end_at_one_and_start_at_or_above_the_lowest(low: float) -> None:
    ticks = score_ticks(low)
    assert ticks[-1].value == pytest.approx(1.0)
    assert ticks[0].value >= low - 1e-6
    assert 3 <= len(ticks) <= 7


@given(value=st.floats(-1e6, 1e6))
def test_scale_never_leaves_its_pixels(value: float) -> None:
    assert 10.0 <= AxisScale(0.0, 5.0, 10.0, 90.0)(value) <= 90.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.25, "0.25 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185.0, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800.0, "2 h 10 min"),
        (86399.0, "1 d 00 h"),
        (90000.0, "1 d 01 h"),
    ],
)
def test_durations_read_well_at_the_edges(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
