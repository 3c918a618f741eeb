"""Values are checked once, when they are made, and say what they got."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import numpy as np
import pytest

from edge_sim.core.types import (
    Embedding,
    Frame,
    Match,
    Reference,
    Roi,
    Score,
    State,
    StateScore,
    Threshold,
    UnknownReason,
)
from tests.builders import embedding, match

UNIT = np.array([0.6, 0.8], np.float32)
CELLS = np.zeros((4, 4, 8), np.float32)
NAN_CELLS = np.full((4, 4, 8), np.nan, np.float32)
THUMBNAIL = np.zeros((96, 96), np.uint8)
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def frame(pixels: object) -> Frame:
    return Frame(pixels, 0.0, 0.0, 0, "s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Embedding(UNIT.astype(np.float64), None, "m"), "float32"),
        (lambda: Embedding(UNIT[None], None, "m"), r"\(D,\)"),
        (lambda: Embedding(UNIT * 2, None, "m"), "unit length, got 2.0"),
        (lambda: Embedding(UNIT * np.float32(np.nan), None, "m"), "unit length, got nan"),
        (lambda: Embedding(UNIT * 0, None, "m"), "unit length, got 0.0"),
        (lambda: Embedding(UNIT, CELLS[0], "m"), r"\(G, G, C\)"),
        (lambda: Embedding(UNIT, NAN_CELLS, "m"), "NaN or infinity"),
        (lambda: frame(np.zeros((4, 4), np.uint8)), r"\(H, W, 3\)"),
        (lambda: frame(np.zeros((4, 4, 3), np.float32)), "uint8"),
        (lambda: frame(np.zeros((0, 4, 3), np.uint8)), "empty"),
        (lambda: Roi(0, 0, 2, 1), "roi must be"),
        (lambda: Threshold(enter=0.4, leave=0.5), "leave <= enter"),
        (lambda: Threshold(enter=float("nan"), leave=0.5), "leave <= enter"),
        (lambda: State("unknown"), "reason"),
        (lambda: State("open", UnknownReason.DARK), "reason"),
        (lambda: Match(()), "at least one state"),
        (lambda: Reference("r", "unknown", embedding(1), THUMBNAIL, "day", NOON), "unknown"),
        (
            lambda: Reference(
                "r", "open", embedding(1), THUMBNAIL, "day", NOON.replace(tzinfo=None)
            ),
            "time zone",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_values_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Roi().x1 = 0.5  # type: ignore[misc]


def test_the_margin_is_the_lead_over_the_runner_up() -> None:
    both = match(("open", 0.7), ("closed", 0.3))
    assert both.best.state == "open"
    assert both.runner_up is not None
    assert both.runner_up.state == "closed"
    assert both.margin == pytest.approx(0.4)


def test_a_gallery_of_one_state_has_no_runner_up() -> None:
    alone = Match((StateScore("open", "r1", Score(0.9, None, 0.9), 1.0),))
    assert alone.runner_up is None
    assert alone.margin == 1.0
