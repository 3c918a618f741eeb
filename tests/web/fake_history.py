"""Scores, events, references and frames to review of a fake device, shaped as those of the API."""

from __future__ import annotations

import math
import time
from typing import Any

from edge_sim.core.events import utc_text
from edge_sim.core.options import json_schema_of
from edge_sim.io.sources.synthetic.source import render
from edge_sim.runtime.config import Config, parse_config
from edge_sim.web.settings import values_of
from tests.web.fake_device import FakeDevice, error, jpeg, several

STATES = ("food", "empty")


def with_history() -> FakeDevice:
    """Return the devices of `several` with a past, a gallery and frames to review."""
    device = several()
    now = time.time()
    events = [event(number, now - 3000 + 400 * number) for number in range(6)]
    device.route("GET", "api/scores", lambda _b, q, _m: scores(float(q["since"]), now))
    device.route("GET", "api/events", lambda *_: events[::-1])
    device.route("GET", r"api/explain", lambda _b, q, _m: explained(events, q))
    device.route("GET", r"api/events/.*", lambda *_: picture("empty"))
    device.route("POST", "api/replay", lambda b, *_: replayed(events, b))
    device.route("PATCH", r"api/watches/bowl", lambda b, *_: b)
    device.route("GET", r"api/watches/([^/]+)/gallery", lambda *_: gallery())
    device.route("GET", r"api/watches/.*\.jpg", lambda *_: picture("food"))
    device.route("POST", r"api/watches/[^/]+/gallery(/undo)?", lambda *_: {"revision": 12})
    device.route("GET", r"api/watches/[^/]+/revisions", lambda *_: revisions())
    frames = [frame(number, now) for number in range(5)]
    device.route("GET", "api/review", lambda *_: frames)
    device.route("GET", r"api/review/.*\.png", lambda *_: picture("empty"))
    device.route("POST", "api/review", lambda b, *_: decided(b, now))
    device.route("POST", "api/review/undo", lambda *_: {"revision": 13})
    add_settings(device)
    return device


def picture(state: str) -> tuple[int, str, bytes]:
    """Return a picture as an answer."""
    return 200, "image/jpeg", jpeg(render("bowl", state))


def scores(since: float, until: float) -> dict[str, Any]:
    """Return scores of an hour that change state every 400 seconds."""
    times = [max(since, until - 3600) + 10 * at for at in range(360)]
    phase = [math.floor((second - until + 3000) / 400) % 2 for second in times]
    return {
        "watch": "bowl",
        "t": times,
        "scores": {
            "food": [0.95 - 0.27 * at + 0.02 * math.sin(n / 9) for n, at in enumerate(phase)],
            "empty": [0.68 + 0.27 * at for at in phase],
        },
        "state": [STATES[at] for at in phase],
        "reason": [None for _ in phase],
        "light": ["day" if n < 250 else "ir" for n in range(360)],
        "novelty": [0.1 for _ in phase],
        "thresholds": {state: {"enter": 0.64, "leave": 0.6} for state in STATES},
        "observations": 360,
    }


def event(number: int, at: float) -> dict[str, Any]:
    """Return a change of state as the list of events shows it."""
    states = STATES if number % 2 == 0 else STATES[::-1]
    return {
        "id": f"event-{number}",
        "type": "state_changed",
        "watch": "bowl",
        "at": utc_text(at),
        "before": states[1],
        "after": states[0],
        "from": states[1],
        "to": states[0],
        "reason": None,
        "confidence": 0.97,
        "condition": "day",
        "has_picture": True,
    }


def explained(events: list[dict[str, Any]], query: dict[str, str]) -> Any:
    """Return why an event was reported."""
    found = [item for item in events if item["id"] == query.get("event")] or events[-1:]
    rows = [
        {"state": state, "probability": p, "score": s, "enter": 0.64, "leave": 0.6}
        for state, p, s in (("empty", 0.97, 0.95), ("food", 0.03, 0.61))
    ]
    return {
        "event": found[0],
        "account": {
            "headline": f"bowl: {found[0]['before']} -> {found[0]['after']}",
            "why_state": ["Most like the reference r1 of empty."],
            "why_then": ["5 of 7 votes agreed."],
            "what_if": ["With one vote less it would have come 0.4 s earlier."],
            "states": rows,
        },
        "cause": {
            "match": {
                "states": [
                    {"state": "empty", "reference_id": "r1"},
                    {"state": "food", "reference_id": "r2"},
                ]
            }
        },
        "has_picture": True,
        "regions": [{"region": [0.3, 0.4, 0.2, 0.2], "strength": 2.0}],
    }


def replayed(events: list[dict[str, Any]], body: dict[str, Any]) -> Any:
    """Return one event gained for more sensitivity, one lost for less."""
    more = body["sensitivity"] > 0.5
    return {
        "events": events if more else events[1:],
        "gained": events[:1] if more else [],
        "lost": [] if more else events[:1],
    }


def gallery() -> dict[str, Any]:
    """Return a gallery with a suspect and a reference of another region."""

    def reference(number: int, state: str, *findings: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"r{number}",
            "state": state,
            "light": "day" if number % 3 else "ir",
            "added_at": "2026-01-01T12:00:00+00:00",
            "tags": ["fine"] if number == 1 else [],
            "region_moved": False,
            "findings": list(findings),
            "picture": f"api/watches/bowl/gallery/r{number}.jpg",
        }

    suspect = {
        "kind": "suspect",
        "severity": "error",
        "text": "looks like empty",
        "other": "r4",
        "other_state": "empty",
    }
    moved = {"kind": "region_moved", "severity": "warning", "text": "it shows another region"}
    return {
        "watch": "bowl",
        "revision": 11,
        "region": [0.2, 0.2, 0.5, 0.5],
        "states": list(STATES),
        "references": [
            reference(1, "food"),
            reference(2, "food", suspect),
            reference(3, "food"),
            reference(4, "empty"),
            reference(5, "empty", moved),
        ],
        "findings": [
            {
                "kind": "region_moved",
                "severity": "warning",
                "text": "references show another region than the one in force",
            }
        ],
    }


def revisions() -> list[dict[str, Any]]:
    """Return two changes of a gallery."""
    return [
        {
            "number": number,
            "at": "2026-01-01T12:00:00Z",
            "verb": "add",
            "detail": "bowl",
            "appeared": 2,
            "gone": 0,
            "altered": 0,
        }
        for number in (11, 10)
    ]


def frame(number: int, now: float) -> dict[str, Any]:
    """Return a frame that waits for review."""
    return {
        "id": f"bowl/f{number}",
        "watch": "bowl",
        "at": utc_text(now - 100 * number),
        "guess": "food",
        "state": "food",
        "reason": None,
        "light": "day",
        "scores": [
            {"state": "food", "probability": 0.6},
            {"state": "empty", "probability": 0.4},
        ],
        "picture": f"api/review/bowl/f{number}.png",
    }


def decided(body: dict[str, Any], now: float) -> dict[str, Any]:
    """Return the outcome of decisions; frame 3 is refused as a reference."""
    ids = [item["id"] for item in body["decisions"]]
    refused = [{"id": name, "text": "blurred"} for name in ids if name == "bowl/f3"]
    return {
        "revision": 12,
        "undo": "u1",
        "enrolled": len(ids) - len(refused),
        "discarded": 0,
        "duplicates": [],
        "refused": refused,
        "changed": [
            {
                "watch": "bowl",
                "event": "event-1",
                "at": utc_text(now),
                "from": "food",
                "to": "empty",
            }
        ],
    }


CONFIG = "sources:\n  yard: {uri: /dev/video0}\nwatches:\n  bowl:\n    sensitivity: 0.5\n"


def add_settings(device: FakeDevice) -> None:
    """Add the routes of the settings."""
    device.device |= {
        "version": "0.0",
        "model": {"id": "edge_sim_small"},
        "uptime_s": 5000,
        "process": {"rss_mb": 101.5, "cpu_s": 5},
        "storage": {"free_bytes": 5e9, "total_bytes": 3e10},
    }
    device.device["sources"][0]["frames"] = 3000
    schema = json_schema_of(Config)
    values = values_of(parse_config(CONFIG))
    shown = {"text": CONFIG, "path": "config.yaml", "values": values}
    device.route("GET", "api/schema", lambda *_: schema)
    device.route("GET", "api/config", lambda *_: shown)
    device.route("PUT", "api/config", _save)
    device.route("PATCH", "api/config", _set_key)
    device.route("POST", "api/check", lambda *_: {"problems": ["no night reference"], "lines": []})
    device.route("GET", "api/sinks", lambda *_: [{"name": "mqtt", "kind": "mqtt"}])
    device.route("POST", "api/sinks/mqtt/test", lambda *_: {"ok": True, "text": "delivered"})
    device.route("GET", "api/log", lambda *_: {"lines": ["started", "2 watches"]})
    device.route("POST", "api/import", lambda *_: {})


def _set_key(body: dict[str, Any], *_: Any) -> Any:
    if body["value"] == 7:
        return error(422, "watches.bowl.sensitivity: Expected float <= 1.0")
    return {"restarts": body["path"].startswith("web."), "errors": []}


def _save(body: dict[str, Any], *_: Any) -> Any:
    if "sensitivty" not in body["text"]:
        return {}
    answer = error(422, "config.yaml:5: unknown key 'sensitivty'")
    rows = b', "errors": [{"line": 5, "text": "unknown key \'sensitivty\'"}]}'
    return answer[0], answer[1], answer[2][:-1] + rows
