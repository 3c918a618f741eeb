"""Events keep their wire format."""

from __future__ import annotations

import json

import pytest

from edge_sim.domain import State, UnknownReason
from edge_sim.events import (
    Origin,
    SourceLost,
    from_json_line,
    json_schema,
    state_changed,
    to_json_line,
    utc_text,
)
from tests.builders import change

ORIGIN = Origin(device="shed", source="yard", watch="gate", model="m@1/p1", gallery_revision=4)
UNSURE = State("unknown", UnknownReason.NOVEL)


def test_a_state_change_says_what_decided_it() -> None:
    event = json.loads(to_json_line(state_changed(change(UNSURE, State("open")), ORIGIN)))
    assert event == {
        "type": "state_changed",
        "schema": 1,
        "id": event["id"],
        "device": "shed",
        "source": "yard",
        "watch": "gate",
        "at": "2023-11-14T22:13:27.000Z",
        "captured_at_s": 7.0,
        "frame": 7,
        "before": "unknown",
        "before_reason": "novel",
        "after": "open",
        "reason": None,
        "confidence": 0.93,
        "margin": 0.86,
        "condition": "day",
        "matches": [
            {
                "state": "open",
                "reference_id": "open-1",
                "cosine": 0.9,
                "ssim": 0.8,
                "combined": 0.93,
                "probability": 0.93,
            },
            {
                "state": "closed",
                "reference_id": "closed-1",
                "cosine": 0.9,
                "ssim": 0.8,
                "combined": 0.07,
                "probability": 0.07,
            },
        ],
        "thresholds": {
            "open": {"enter": 0.6, "leave": 0.5},
            "closed": {"enter": 0.7, "leave": 0.55},
        },
        "quality": {
            "luma": 120.0,
            "contrast": 45.0,
            "sharpness": 300.0,
            "chroma": 20.0,
            "clipped_dark": 0.0,
            "clipped_bright": 0.0,
        },
        "model": "m@1/p1",
        "gallery_revision": 4,
    }


def test_the_same_change_has_the_same_id_and_another_change_another() -> None:
    first = state_changed(change(None, State("open")), ORIGIN)
    again = state_changed(change(None, State("open")), ORIGIN)
    later = state_changed(change(None, State("open"), index=8), ORIGIN)
    assert first == again
    assert first.id != later.id


@pytest.mark.parametrize(
    "event",
    [
        state_changed(change(None, UNSURE), ORIGIN),
        SourceLost("1", "shed", "yard", "2026-01-31T12:00:00.000Z", "no frame for 20 s"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_survives_the_wire(event: SourceLost) -> None:
    assert from_json_line(to_json_line(event)) == event


def test_a_line_that_is_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid value"):
        from_json_line(b'{"type":"party"}')


def test_the_schema_names_every_kind_of_event() -> None:
    assert {"StateChanged", "SourceLost", "SourceRestored"} <= json_schema()["$defs"].keys()


def test_time_is_written_in_utc_with_milliseconds() -> None:
    assert utc_text(0.25) == "1970-01-01T00:00:00.250Z"
