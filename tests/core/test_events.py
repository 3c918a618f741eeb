"""Events keep their wire format."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_sim.core.events import (
    Event,
    EventDraft,
    EventOrigin,
    IndexReady,
    SceneProblem,
    SourceLost,
    WatchEvent,
    completed,
    event_kinds,
    from_json_line,
    json_schema,
    state_changed,
    tag_of,
    to_json_line,
    utc_text,
)
from edge_sim.core.types import Doubt, State, UnknownReason
from tests.builders import change, observation
from tests.drafts import (
    cleared,
    drifted,
    impaired,
    implausible,
    overdue,
    overdue_cleared,
    too_long,
    too_short,
)

ORIGIN = EventOrigin(device="shed", source="yard", watch="gate", model="m@1/p1", gallery_revision=4)
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
        "before_lasted_s": None,
        "doubts": [],
    }


def test_the_same_change_has_the_same_id_and_another_change_another() -> None:
    first = state_changed(change(None, State("open")), ORIGIN)
    again = state_changed(change(None, State("open")), ORIGIN)
    later = state_changed(change(None, State("open"), index=8), ORIGIN)
    assert first == again
    assert first.id != later.id


SINCE_S = 1_700_000_000.0
NOTICES: dict[str, EventDraft] = {
    "scene_impaired": impaired(SceneProblem.COVERED, SINCE_S, 10.0),
    "scene_cleared": cleared(SceneProblem.COVERED, SINCE_S, 70.0),
    "overdue": overdue("open", SINCE_S, 600.0, 600.0, 2),
    "overdue_cleared": overdue_cleared("open", SINCE_S, 900.0),
    "too_short": too_short("open", "closed", SINCE_S, 1.0, 5.0),
    "too_long": too_long("open", SINCE_S, 7200.0, 3600.0),
    "implausible_transition": implausible("closed", "gone"),
    "drift": drifted("open", "ir", 0.6123, 0.6, "look at the lens"),
}


def notice_event(notice: EventDraft) -> Event:
    return completed(notice, observation(index=7), ORIGIN, change_id="c" * 16)


@pytest.mark.parametrize(("tag", "notice"), NOTICES.items(), ids=NOTICES)
def test_every_notice_has_a_kind_of_event_that_says_where_it_comes_from(
    tag: str, notice: EventDraft
) -> None:
    event = notice_event(notice)
    assert tag_of(event) == tag
    assert isinstance(event, WatchEvent)
    assert (event.device, event.source, event.watch) == ("shed", "yard", "gate")
    assert (event.at, event.frame) == ("2023-11-14T22:13:27.000Z", 7)


def test_a_problem_says_since_when_and_for_how_long() -> None:
    event = json.loads(to_json_line(notice_event(NOTICES["scene_cleared"])))
    assert event["problem"] == "covered"
    assert (event["since"], event["lasted_s"]) == ("2023-11-14T22:13:20.000Z", 70.0)


def test_a_rule_that_a_change_broke_names_the_change() -> None:
    event = json.loads(to_json_line(notice_event(NOTICES["too_short"])))
    assert event["change"] == "c" * 16
    assert (event["state"], event["after"], event["limit_s"]) == ("open", "closed", 5.0)


def test_drift_says_what_to_do_and_with_which_gallery() -> None:
    event = json.loads(to_json_line(notice_event(NOTICES["drift"])))
    assert (event["psi"], event["action"]) == (0.6123, "look at the lens")
    assert (event["model"], event["gallery_revision"]) == ("m@1/p1", 4)


def test_two_problems_at_one_look_have_two_ids() -> None:
    found = [notice_event(notice) for notice in NOTICES.values()]
    found.append(notice_event(impaired(SceneProblem.FROZEN, SINCE_S, 10.0)))
    assert len({event.id for event in found}) == len(found)
    assert notice_event(NOTICES["overdue"]) == notice_event(NOTICES["overdue"])


def test_a_change_tells_what_speaks_against_it_and_how_long_the_state_before_lasted() -> None:
    doubted = replace(change(State("closed"), State("open")), doubts=(Doubt.TOO_SHORT,))
    event = json.loads(to_json_line(state_changed(doubted, ORIGIN, 1.23456)))
    assert (event["doubts"], event["before_lasted_s"]) == (["too_short"], 1.235)
    first = state_changed(change(None, State("open")), ORIGIN, 1.0)
    assert first.before_lasted_s is None


@pytest.mark.parametrize(
    "event",
    [
        state_changed(change(None, UNSURE), ORIGIN),
        SourceLost("1", "shed", "yard", "2026-01-31T12:00:00.000Z", "no frame for 20 s"),
        IndexReady("1", "shed", "/p", "2026-01-31T12:00:00.000Z", "/i", 12, 3, "m", "exact", 1.5),
        *map(notice_event, NOTICES.values()),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_survives_the_wire(event: Event) -> None:
    assert from_json_line(to_json_line(event)) == event


def test_a_line_that_is_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid value"):
        from_json_line(b'{"type":"party"}')


def test_the_schema_names_every_kind_of_event() -> None:
    found = {
        item["properties"]["type"]["enum"][0]
        for item in json_schema()["$defs"].values()
        if "type" in item.get("properties", {})
    }
    assert found == event_kinds().keys()
    assert found >= {"state_changed", "source_lost", "source_restored", *NOTICES}


def test_time_is_written_in_utc_with_milliseconds() -> None:
    assert utc_text(0.25) == "1970-01-01T00:00:00.250Z"
