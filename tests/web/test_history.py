"""The past of a device as the page asks for it: events, scores, explanations, replays."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from starlette.exceptions import HTTPException

from edge_sim.core.types import BgrImage
from edge_sim.vision.probe import FrameFeatures
from edge_sim.web.scores import ScoreSeries, lines_between
from tests.runtime.daemon.cameras import pictures
from tests.runtime.daemon.test_service import await_events, await_frames, show
from tests.web.devices import LampDevice, serving_lamp


@pytest.fixture(scope="module")
def lamp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LampDevice]:
    """A device that has reported on, off, on."""
    with serving_lamp(tmp_path_factory.mktemp("lamp")) as running:
        for state in ("on", "off", "on"):
            show(running.daemon, running.camera, running.frames, state, 8)
        await_events(running.daemon, 3)
        yield running


def test_events_are_listed_the_newest_first(lamp: LampDevice) -> None:
    status, events = lamp.page.ask("/api/events?watch=lamp")
    assert status == 200
    assert [(item["from"], item["to"]) for item in events] == [
        ("off", "on"),
        ("on", "off"),
        (None, "on"),
    ]
    assert all(item["has_picture"] for item in events)
    middle = events[1]
    since, until = middle["at"], middle["at"]
    (only,) = lamp.page.ask(f"/api/events?watch=lamp&since={since}&until={until}")[1]
    assert only["id"] == middle["id"]
    assert len(lamp.page.ask("/api/events?limit=2")[1]) == 2


def test_the_picture_of_an_event_is_shown(lamp: LampDevice) -> None:
    event = lamp.page.ask("/api/events")[1][0]
    status, headers, body = lamp.page.raw(f"/api/events/{event['id']}/picture.jpg?w=64")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), 1)
    assert pixels is not None
    assert pixels.shape[1] <= 64


def test_scores_are_those_of_the_log(lamp: LampDevice) -> None:
    window = "since=1699999000&until=1700009000"
    status, view = lamp.page.ask(f"/api/scores?watch=lamp&{window}")
    assert status == 200
    assert view["observations"] == len(view["t"]) == 24
    assert set(view["scores"]) == {"on", "off"}
    assert all(len(values) == 24 for values in view["scores"].values())
    assert view["state"][-1] == "on"
    assert set(view["thresholds"]) == {"on", "off"}
    few = lamp.page.ask(f"/api/scores?watch=lamp&{window}&points=8")[1]
    assert few["observations"] == 24
    assert len(few["t"]) < 24
    later = lamp.page.ask("/api/scores?watch=lamp&since=1700000020&until=1700009000")[1]
    assert later["t"][0] == 1700000020


def test_an_event_is_explained_as_on_the_command_line(lamp: LampDevice) -> None:
    event = lamp.page.ask("/api/events")[1][0]
    status, found = lamp.page.ask(f"/api/explain?event={event['id']}")
    assert status == 200
    assert found["event"]["id"] == event["id"]
    assert found["account"]["headline"] == "lamp: off -> on"
    assert "picture" not in found
    assert found["has_picture"] is True
    at = lamp.page.ask(f"/api/explain?watch=lamp&at={event['at']}")[1]
    assert at["event"]["id"] == event["id"]
    before = lamp.page.ask("/api/explain?watch=lamp&at=1000")
    assert before[0] == 404


def test_the_same_sensitivity_replays_the_same_events(lamp: LampDevice) -> None:
    status, found = lamp.page.ask("/api/replay", {"watch": "lamp", "sensitivity": 0.5})
    assert status == 200
    assert (found["same"], found["gained"], found["lost"]) == (3, [], [])
    assert found["log"]["exact"] is True
    low = lamp.page.ask("/api/replay", {"watch": "lamp", "sensitivity": 0.0})[1]
    assert len(low["events"]) + len(low["lost"]) >= 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/scores?watch=lmap", 404),
        ("/api/scores?watch=lamp&since=yesterday", 422),
        ("/api/scores?watch=lamp&points=nan", 422),
        ("/api/events?since=2026-99-99", 422),
        ("/api/events?watch=lmap", 404),
        ("/api/events/none/picture.jpg", 404),
        ("/api/events/..%2F..%2Fgallery.db/picture.jpg", 404),
        ("/api/explain?event=nonsense", 404),
        ("/api/explain?watch=lmap", 404),
    ],
)
def test_nonsense_gives_one_line(lamp: LampDevice, path: str, status: int) -> None:
    found, body = lamp.page.ask(path)
    assert found == status
    assert "\n" not in (body["error"] if isinstance(body, dict) else body.decode().strip())


MILLISECONDS = 1_700_000_000_000


@pytest.mark.parametrize("path", ["/api/events?watch=lamp", "/api/scores?watch=lamp"])
def test_a_time_in_milliseconds_is_far_in_the_future(lamp: LampDevice, path: str) -> None:
    found = lamp.page.ask(f"{path}&since={MILLISECONDS}")
    assert found[0] == 200
    assert not (found[1] if isinstance(found[1], list) else found[1]["t"])


def test_a_replay_since_a_time_in_milliseconds_has_no_event(lamp: LampDevice) -> None:
    body = {"watch": "lamp", "sensitivity": 0.5, "since": MILLISECONDS}
    status, found = lamp.page.ask("/api/replay", body)
    assert (status, found["events"], found["logged"]) == (200, [], [])


def test_a_damaged_picture_of_an_event_is_named(tmp_path: Path) -> None:
    with serving_lamp(tmp_path) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        (event,) = await_events(lamp.daemon, 1)
    kept = tmp_path / "explanations.jsonl"
    text, count = re.subn(r'"picture":"[^"]+"', '"picture":"bm8gcGljdHVyZQ=="', kept.read_text())
    assert count == 1
    kept.write_text(text)
    with serving_lamp(tmp_path) as lamp:
        status, answer = lamp.page.ask(f"/api/events/{event.id}/picture.jpg?w=64")
        assert status == 422
        assert f"the picture of the event {event.id} is damaged: " in answer["error"]
        found = lamp.page.ask(f"/api/explain?event={event.id}")[1]
        assert (found["has_picture"], found["regions"]) == (False, [])


def test_a_pipe_in_the_place_of_kept_explanations_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "explanations.jsonl.1")
    with serving_lamp(tmp_path) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        (event,) = await_events(lamp.daemon, 1)
        status, events = lamp.page.ask("/api/events")
        assert (status, [item["id"] for item in events]) == (200, [event.id])


def test_a_pipe_in_the_place_of_the_score_log_is_not_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "scores.jsonl"
    os.mkfifo(log)
    with pytest.raises(HTTPException, match="not a regular file"):
        list(lines_between(log, "lamp", 0.0, 4e9))


@pytest.mark.parametrize(
    "body", [{}, {"watch": "lamp"}, {"watch": "lamp", "sensitivity": 7}, {"watch": 1}, [], "x"]
)
def test_a_replay_of_nonsense_is_refused(lamp: LampDevice, body: object) -> None:
    status, answer = lamp.page.ask("/api/replay", body)
    assert status == 422
    assert answer["error"]


def test_a_correction_is_known_at_once_and_can_be_taken_back(tmp_path: Path) -> None:
    with serving_lamp(tmp_path) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        (event,) = await_events(lamp.daemon, 1)
        before = lamp.daemon.board.watches[0].revision
        status, lesson = lamp.page.ask(
            "/api/watches/lamp/teach", {"state": "broken", "event": event.id}
        )
        assert status == 200
        (watch,) = lamp.page.ask("/api/watches")[1]
        assert "broken" in watch["states"]
        assert watch["references"]["broken"]
        assert watch["gallery_revision"] == lesson["revision"] > before
        assert lamp.page.ask("/api/watches/lamp/undo", {"revision": before})[0] == 409
        status, undone = lamp.page.ask("/api/watches/lamp/undo", {"revision": lesson["undo"]})
        assert status == 200
        (watch,) = lamp.page.ask("/api/watches")[1]
        assert "broken" not in watch["states"]
        assert watch["gallery_revision"] == undone["revision"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"state": "unknown"}, 422),
        ({"state": "../x"}, 422),
        ({"state": "on", "event": "none"}, 422),
        ({"state": "on", "evnt": "x"}, 422),
    ],
)
def test_a_correction_that_makes_no_sense_changes_nothing(
    lamp: LampDevice, body: object, status: int
) -> None:
    revision = lamp.daemon.board.watches[0].revision
    assert lamp.page.ask("/api/watches/lamp/teach", body)[0] == status
    assert lamp.daemon.board.watches[0].revision == revision


def test_a_private_watch_shows_states_and_no_picture(tmp_path: Path) -> None:
    with serving_lamp(tmp_path, private=True) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        (event,) = await_events(lamp.daemon, 1)
        (watch,) = lamp.page.ask("/api/watches")[1]
        assert watch["private"] is True
        assert watch["state"]["name"] == "on"
        for view in ("region", "frame", "model"):
            assert lamp.page.ask(f"/api/watches/lamp/snapshot.jpg?view={view}")[0] == 403
        assert lamp.page.ask(f"/api/events/{event.id}/picture.jpg")[0] == 403
        assert lamp.page.ask("/api/events")[1][0]["has_picture"] is False
        found = lamp.page.ask(f"/api/explain?event={event.id}")[1]
        assert (found["has_picture"], found["regions"]) == (False, [])


def line(at: int, best: float, state: str = "on") -> str:
    match = {"states": [{"state": "on", "score": {"combined": best}, "probability": 0.9}]}
    return json.dumps(
        {
            "type": "score",
            "at": f"2026-01-01T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.000Z",
            "watch": "lamp",
            "state": state,
            "condition": "day",
            "observation": {"match": match},
        },
        separators=(",", ":"),
    )


def test_thinning_keeps_extremes_and_changes(tmp_path: Path) -> None:
    log = tmp_path / "scores.jsonl"
    rows = [line(at, 0.1 if at == 777 else 0.9, "off" if at > 1500 else "on") for at in range(3000)]
    log.write_text("\n".join(["{cut", *rows, '{"type": "score", "at"']))
    series = ScoreSeries()
    for item in lines_between(log, "lamp", 0.0, 4e9):
        series.add(item)
    assert len(series) == 3000
    view = series.view(50)
    assert len(view["t"]) <= 60
    assert min(view["scores"]["on"]) == 0.1
    changed = view["state"].index("off")
    assert view["t"][changed] - view["t"][changed - 1] == 1.0


def test_observations_without_a_match_are_gaps(tmp_path: Path) -> None:
    log = tmp_path / "scores.jsonl"
    dark = '{"type":"score","at":"2026-01-01T01:00:00.000Z","watch":"lamp","state":"unknown",'
    dark += '"reason":"dark","condition":"dark","best":null,"combined":null}'
    log.write_text("\n".join([*(line(at, 0.9) for at in range(100)), *[dark] * 100]))
    series = ScoreSeries()
    for item in lines_between(log, "lamp", 0.0, 4e9):
        series.add(item)
    view = series.view(20)
    assert view["scores"]["on"][-1] is None
    assert (view["state"][-1], view["reason"][-1]) == ("unknown", "dark")


def test_a_log_larger_than_is_read_at_once_is_entered_near_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sim.web.scores._MAX_LINE_BYTES", 1000)
    log = tmp_path / "scores.jsonl"
    log.write_text("\n".join(line(at, 0.9) for at in range(3000)) + "\n")
    start = 1767225600.0  # 2026-01-01
    for since in (0, 1, 1234, 2999):
        found = list(lines_between(log, "lamp", start + since, start + 3000))
        assert len(found) == 3000 - since
    assert list(lines_between(log, "lamp", start + 10, start + 12))[-1].at.endswith("12.000Z")


@pytest.mark.parametrize("view", ["region", "frame", "model"])
def test_a_snapshot_is_sent_once(lamp: LampDevice, view: str) -> None:
    path = f"/api/watches/lamp/snapshot.jpg?view={view}&w=80"
    status, headers, body = lamp.page.raw(path)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), 1)
    assert pixels is not None
    assert pixels.shape[1] <= 80
    again = lamp.page.raw(path, headers={"If-None-Match": headers["etag"]})
    assert (again[0], again[2]) == (304, b"")


def test_a_region_that_does_not_change_is_not_sent_again(tmp_path: Path) -> None:
    with serving_lamp(tmp_path) as lamp:
        path = "/api/watches/lamp/snapshot.jpg"
        assert lamp.page.raw(path)[0] == 204, "no frame yet"
        show(lamp.daemon, lamp.camera, lamp.frames, "on", 1)
        _, headers, _ = lamp.page.raw(path)
        seen = {"If-None-Match": headers["etag"]}
        (frame,) = lamp.frames.frames("on", 1)
        still = replace(pictures("on")[0], index=frame.index, captured_at_s=frame.captured_at_s)
        lamp.camera.give(still)
        await_frames(lamp.daemon, 2)
        assert lamp.page.raw(path, headers=seen)[0] == 304
        whole = lamp.page.raw(f"{path}?view=frame")
        assert whole[0] == 200
        show(lamp.daemon, lamp.camera, lamp.frames, "off", 1)
        assert lamp.page.raw(path, headers=seen)[0] == 200


def test_the_view_of_the_model_is_what_the_model_was_given(lamp: LampDevice) -> None:
    given: list[BgrImage] = []
    picture = lamp.daemon.picture("lamp")
    assert picture is not None
    model = picture.embedder

    class Spy:
        model_id, dimension, input_px = model.model_id, model.dimension, model.input_px

        def embed(self, pixels: BgrImage) -> object:
            given.append(pixels)
            return model.embed(pixels)

    features = FrameFeatures(picture.frame, Spy())  # type: ignore[arg-type]
    features.of(picture.region).embedding  # noqa: B018
    np.testing.assert_array_equal(given[0], picture.model_pixels)


@pytest.mark.parametrize(
    ("query", "status"), [("view=x", 422), ("w=wide", 422), ("w=inf", 422), ("w=-5", 200)]
)
def test_a_snapshot_of_nonsense_is_refused(lamp: LampDevice, query: str, status: int) -> None:
    assert lamp.page.raw(f"/api/watches/lamp/snapshot.jpg?{query}")[0] == status


def test_the_stream_begins_with_all_watches_and_the_device(lamp: LampDevice) -> None:
    wire = socket.create_connection(("127.0.0.1", lamp.page.port), timeout=10)
    with wire, wire.makefile("rb") as answer:
        wire.sendall(b"GET /api/stream HTTP/1.0\r\nHost: localhost\r\n\r\n")
        kinds: list[bytes] = []
        while len(kinds) < 2:
            line = answer.readline()
            assert line
            if line.startswith(b"event: "):
                kinds.append(line.split()[1])
                assert json.loads(answer.readline().removeprefix(b"data: "))
        assert kinds == [b"watch", b"device"]


def test_a_change_reaches_the_open_page(tmp_path: Path) -> None:
    with serving_lamp(tmp_path) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        wire = socket.create_connection(("127.0.0.1", lamp.page.port), timeout=10)
        with wire, wire.makefile("rb") as answer:
            wire.sendall(b"GET /api/stream HTTP/1.0\r\nHost: localhost\r\n\r\n")
            while answer.readline() != b"event: device\n":
                pass
            show(lamp.daemon, lamp.camera, lamp.frames, "off", 8)
            kinds: set[str] = set()
            while kinds != {"event", "watch"}:
                line = answer.readline()
                assert line
                if not line.startswith(b"event: "):
                    continue
                kind = line.split()[1].decode()
                body = json.loads(answer.readline().removeprefix(b"data: "))
                if kind == "event" and body["after"] == "off":
                    kinds.add(kind)
                if kind == "watch" and body["state"]["name"] == "off":
                    kinds.add(kind)
