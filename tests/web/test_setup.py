"""The API of the wizard: from an address to a watch, and no further than allowed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.images import decode
from edge_sim.errors import SourceError
from edge_sim.io.sources.cameras import Camera
from edge_sim.io.sources.discovery import NetworkCamera
from edge_sim.vision.probe import FrameFeatures, Mask, Region
from edge_sim.web import setup
from edge_sim.web.watch_edits import roi_of
from tests.web.wizard_device import WizardBench, empty_bench, lamp_bench

SCENE = "synthetic:lamp?seed=1"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[WizardBench]:
    with empty_bench(tmp_path) as bench:
        yield bench


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[WizardBench]:
    with lamp_bench(tmp_path) as bench:
        yield bench


def half_mask() -> str:
    plane = np.zeros((8, 8), np.uint8)
    plane[:4] = 255
    return base64.b64encode(cv2.imencode(".png", plane)[1].tobytes()).decode()


def test_from_an_address_to_a_watch(empty: WizardBench) -> None:
    preview = empty.post("/api/preview", {"uri": SCENE})
    assert preview["light"] == "day"
    assert preview["source"] is None
    picture = decode(empty.get(f"/api/preview/{preview['id']}/frame.jpg"))
    assert picture.shape == (preview["height"], preview["width"], 3)
    narrow = decode(empty.get(f"/api/preview/{preview['id']}/frame.jpg?w=100"))
    assert narrow.shape[1] == 100
    body = {
        "name": "desk_lamp",
        "source": {"uri": SCENE},
        "region": [0.25, 0.25, 0.5, 0.5],
        "states": ["on", "off"],
        "mask_png": half_mask(),
    }
    answer = empty.post("/api/watches", body)
    assert answer["watch"] == "desk_lamp"
    assert "+  desk_lamp:" in answer["config_diff"]
    text = (empty.folder / "config.yaml").read_text()
    assert text.startswith("# Mine.\n")
    watch = empty.device.config.watches["desk_lamp"]
    assert watch.roi == (0.25, 0.25, 0.75, 0.75)
    assert watch.states == ("on", "off")
    assert empty.device.reloads == 1
    mask = decode(empty.get("/api/watches/desk_lamp/mask.png"))
    assert mask[0, 0, 0] == 255
    assert mask[7, 0, 0] == 0
    empty.send("DELETE", f"/api/preview/{preview['id']}", status=204)
    empty.get(f"/api/preview/{preview['id']}/frame.jpg", 422)


def test_the_model_picture_is_that_of_the_loop(lamp: WizardBench) -> None:
    frame = lamp.show("on")
    lamp.device.board.describe(["camera"], (), model="thumbnail")
    preview = lamp.post("/api/preview", {"source": "camera"})
    assert preview["source"] == "camera"
    region = [0.1, 0.2, 0.5, 0.6]
    plane = np.zeros((8, 8), np.uint8)
    plane[:4] = 255
    for mask_png, mask in ((None, None), (half_mask(), Mask(plane))):
        body = {"region": region, **({"mask_png": mask_png} if mask_png else {})}
        shown = decode(lamp.post(f"/api/preview/{preview['id']}/model", body))
        features = FrameFeatures(frame, lamp.device.embedder)
        expected = features.of(Region(roi_of((0.1, 0.2, 0.5, 0.6)), mask)).model_pixels
        assert np.array_equal(shown, expected)
    plain = decode(lamp.get(f"/api/preview/{preview['id']}/model.jpg?region=0.1,0.2,0.5,0.6"))
    assert plain.shape == expected.shape
    lamp.get(f"/api/preview/{preview['id']}/model.jpg?region=a", 422)


def test_an_address_that_is_configured_is_not_opened_twice(lamp: WizardBench) -> None:
    lamp.show("on")
    lamp.device.board.describe(["camera"], (), model="thumbnail")
    uri = lamp.device.config.sources["camera"].uri
    assert lamp.post("/api/preview", {"uri": f" {uri} "})["source"] == "camera"
    del lamp.device.frames["camera"]
    assert "no frame yet" in lamp.post("/api/preview", {"source": "camera"}, 422)["error"]


def test_the_picture_of_a_preview_is_sent_once(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edge_sim.web.previews.FRAME_S", 0.0
    )  # every request reads the source again
    lamp.show("on")
    lamp.device.board.describe(["camera"], (), model="thumbnail")
    preview = lamp.post("/api/preview", {"source": "camera"})
    path = f"/api/preview/{preview['id']}/frame.jpg"
    tag = lamp.raw("GET", path)[1]["etag"]
    assert lamp.raw("GET", path, headers={"If-None-Match": tag})[0] == 304
    lamp.show("on", 1)
    assert lamp.raw("GET", path, headers={"If-None-Match": tag})[0] == 200


def test_errors_are_plain_and_show_no_password(
    empty: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "http://me:secret-word@127.0.0.1:9/cam.jpg"
    answer = empty.post("/api/preview", {"uri": uri}, 422)
    assert "127.0.0.1" in answer["error"]
    assert "secret-word" not in answer["error"]
    for body in ({}, {"uri": ""}, {"uri": "/etc/passwd"}, {"uri": "a" * 5000}):
        assert empty.post("/api/preview", body, 422)["error"]
    assert empty.post("/api/preview", {"source": "nothing"}, 404)["error"]
    assert empty.post("/api/preview", {"url": "x"}, 422)["error"]


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"name": "lamp"}, 409, "already"),
        ({"name": "../etc"}, 422, "name"),
        ({"name": "unknown"}, 422, "reserved"),
        ({"source": {"uri": "/etc/passwd"}}, 422, "no camera"),
        ({"source": {"uri": "video:/etc/passwd"}}, 422, "no camera"),
        ({"source": {"name": "camra"}}, 422, "camera"),
        ({"region": [0.5, 0.5, 0, 0.5]}, 422, "region"),
        ({"region": [0.5, 0.5, 3, 0.5]}, 422, "region"),
        ({"states": ["on", "unknown"]}, 422, "reserved"),
        ({"states": ["<img src=x>"]}, 422, "states"),
        ({"mask_png": base64.b64encode(b"no picture").decode()}, 422, "mask"),
        ({"mask": "/etc/passwd"}, 422, "unknown field"),
    ],
)
def test_a_watch_that_cannot_be_changes_nothing(
    lamp: WizardBench, change: dict[str, object], status: int, text: str
) -> None:
    before = (lamp.folder / "config.yaml").read_text()
    body = {"name": "other", "source": {"name": "camera"}, "region": [0, 0, 1, 1], **change}
    assert text in lamp.post("/api/watches", body, status)["error"]
    assert (lamp.folder / "config.yaml").read_text() == before
    assert lamp.device.reloads == 0


def test_a_change_that_the_device_rejects_is_taken_back(lamp: WizardBench) -> None:
    before = (lamp.folder / "config.yaml").read_text()
    lamp.device.rejects = "the mask cannot be read"
    body = {"name": "other", "source": {"name": "camera"}, "mask_png": half_mask()}
    assert "mask" in lamp.post("/api/watches", body, 422)["error"]
    assert (lamp.folder / "config.yaml").read_text() == before
    assert list((lamp.folder / "masks").iterdir()) == []


def test_a_watch_is_changed_and_removed(lamp: WizardBench) -> None:
    path = "/api/watches/lamp"
    lamp.send("PATCH", path, {"region": [0, 0, 0.5, 0.5], "mask_png": half_mask()})
    assert lamp.device.config.watches["lamp"].roi == (0.0, 0.0, 0.5, 0.5)
    assert lamp.device.config.watches["lamp"].mask
    lamp.send("PATCH", path, {"mask_png": "", "private": True, "sensitivity": 0.7})
    watch = lamp.device.config.watches["lamp"]
    assert (watch.mask, watch.private, watch.sensitivity) == (None, True, 0.7)
    lamp.get(f"{path}/mask.png", 403)
    assert "sensitivity" in lamp.send("PATCH", path, {"sensitivity": 7}, 422)["error"]
    lamp.send("DELETE", path)
    assert lamp.device.config.watches == {}
    lamp.send("DELETE", path, status=404)
    lamp.send("PATCH", path, {"private": True}, 404)


def test_cameras_that_are_found_are_listed(
    lamp: WizardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_id = Camera("/dev/v4l/by-id/usb-cam", "/dev/video0", "C920")
    monkeypatch.setattr(setup, "list_cameras", lambda: (by_id,))
    door = NetworkCamera("192.0.2.7", "http://192.0.2.7/onvif", "Door", error="it wants a user")
    monkeypatch.setattr(setup, "discover", lambda: (door,))
    found = lamp.get("/api/cameras")
    assert found["v4l2"] == [{"uri": by_id.path, "name": "C920", "by_id": True}]
    assert found["onvif"][0]["error"] == "it wants a user"
    assert found["sources"][0]["name"] == "camera"

    def unreachable() -> tuple[NetworkCamera, ...]:
        raise SourceError("network cameras cannot be searched")

    monkeypatch.setattr(setup, "discover", unreachable)
    assert lamp.get("/api/cameras")["error"] == "network cameras cannot be searched"


def test_what_changes_needs_the_token_of_the_session_and_an_admin(lamp: WizardBench) -> None:
    body = {"name": "other", "source": {"name": "camera"}}
    headers = {"X-CSRF-Token": "wrong"}
    lamp.post("/api/watches", body, 403, headers=headers)
    lamp.post("/api/watches", body, 403, headers={"Origin": "http://evil.example"})
    assert lamp.device.reloads == 0
