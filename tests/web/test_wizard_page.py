"""The wizard in a real browser: source, region, mask, states, teaching, and how sure it is."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from tests.pictures import picture, write
from tests.web.conftest import OpenPage
from tests.web.fake_device import PATIENCE_S, FakeDevice, error, several, with_wizard

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Serve = Callable[[FakeDevice], str]
CAMERA = "http://user:secret@127.0.0.1:9/stream"


@pytest.fixture
def device() -> FakeDevice:
    """A device without watches, whose camera shows a bowl."""
    return with_wizard(FakeDevice())


def asked(device: FakeDevice, method: str, path: str) -> list[Any]:
    return [body for how, where, body in device.asked if (how, where) == (method, path)]


def show_picture(page: Page) -> None:
    page.get_by_label("Address of the camera").fill(CAMERA)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.stage img')?.naturalWidth > 0")


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag between two points of the picture, in fractions."""
    frame = page.locator(".stage").bounding_box()
    assert frame is not None
    points = [
        (frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]) for x, y in (start, end)
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=4)
    page.mouse.up()


def region(page: Page) -> list[float]:
    """Return the region as it is drawn: left, top, width and height in percent."""
    style = "['left', 'top', 'width', 'height'].map(key => parseFloat(box.style[key]))"
    numbers: list[float] = page.locator(".edit-box").evaluate(f"box => {style}")
    return numbers


def test_a_watch_is_made_by_looking_and_its_creation_says_what_was_drawn(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    page = open_page(serve(device) + "#/new")
    show_picture(page)
    drag(page, (0.2, 0.3), (0.7, 0.8))
    assert region(page) == pytest.approx([20, 30, 50, 50], abs=0.5)
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="empty / full").click()
    page.get_by_label("Name of the watch").fill("Größe der Schüssel")
    page.get_by_role("button", name="Create the watch").click()
    page.get_by_role("heading", name="Groesse_der_Schuessel").wait_for()
    (body,) = asked(device, "POST", "api/watches")
    assert body["source"] == {"uri": CAMERA}
    assert body["states"] == ["empty", "full"]
    assert body["region"] == pytest.approx([0.2, 0.3, 0.5, 0.5], abs=0.005)
    assert "mask_png" not in body


def test_a_region_is_moved_resized_and_redrawn(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    page = open_page(serve(device) + "#/new")
    show_picture(page)
    drag(page, (0.7, 0.8), (0.2, 0.3))  # from any corner
    drag(page, (0.45, 0.5), (0.55, 0.5))  # inside: it moves
    assert region(page) == pytest.approx([30, 30, 50, 50], abs=0.5)
    drag(page, (0.8, 0.8), (0.7, 0.9))  # its corner
    assert region(page) == pytest.approx([30, 30, 40, 60], abs=0.5)
    drag(page, (0.1, 0.1), (0.25, 0.2))  # outside: a new one
    assert region(page) == pytest.approx([10, 10, 15, 10], abs=0.5)
    drag(page, (0.2, 0.15), (0.99, 0.99))  # it stays within the picture
    assert region(page) == pytest.approx([85, 90, 15, 10], abs=0.5)
    page.get_by_role("button", name="Whole picture").click()
    assert region(page) == [0, 0, 100, 100]


def test_a_finger_draws_the_region_and_holds_the_button(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    phone = {"width": 390, "height": 800}
    page = open_page(serve(device) + "#/new", viewport=phone, has_touch=True, is_mobile=True)
    show_picture(page)
    frame = page.locator(".stage").bounding_box()
    assert frame is not None
    points = [
        {"x": frame["x"] + x * frame["width"], "y": frame["y"] + y * frame["height"]}
        for x, y in ((0.2, 0.2), (0.5, 0.5), (0.8, 0.6))
    ]
    touch(page, points)
    assert region(page) == pytest.approx([20, 20, 60, 40], abs=1)
    assert page.evaluate("() => scrollY") == 0
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="on / off").click()
    page.get_by_role("button", name="Create the watch").click()
    page.get_by_role("button", name="Hold while it is on").tap()
    page.get_by_role("region", name="on", exact=True).get_by_text("1 reference").wait_for()


def touch(page: Page, points: list[dict[str, float]]) -> None:
    """Put a finger on the first point and move it over the others."""
    finger = page.context.new_cdp_session(page)
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
    for kind, point in zip(kinds, points, strict=True):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_what_the_brush_hides_is_sent_as_a_mask_over_the_region(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    page = open_page(serve(device) + "#/new")
    show_picture(page)
    drag(page, (0.2, 0.2), (0.8, 0.8))
    page.get_by_role("button", name="Hide parts").click()
    page.get_by_label("Size of the brush").fill("0.2")
    with page.expect_request(lambda asked: "mask_png" in (asked.post_data or "")):
        drag(page, (0.21, 0.21), (0.5, 0.21))  # along its upper edge, left half
    assert region(page) == pytest.approx([20, 20, 60, 60], abs=0.5)
    page.wait_for_function("() => document.querySelector('.model-picture').naturalWidth > 0")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="on / off").click()
    page.get_by_role("button", name="Create the watch").click()
    page.get_by_role("button", name="Hold while it is on").wait_for()
    (body,) = asked(device, "POST", "api/watches")
    data = np.frombuffer(base64.b64decode(body["mask_png"]), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    height, width = mask.shape
    assert (mask[2, : width // 2 - 4] == 0).all()
    assert (mask[height // 2 :] == 255).all()


def test_a_held_button_keeps_pictures_until_it_is_let_go(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    with_wizard(several())
    page = open_page(serve(with_wizard(several())) + "#/edit/bowl/teach")
    hold = page.get_by_role("button", name="Hold while it is food")
    hold.hover()
    page.mouse.down()
    food = page.get_by_role("region", name="food")
    food.get_by_text("2 references").wait_for()
    page.mouse.up()
    food.get_by_role("button", name="Remove this reference").first.click()
    food.get_by_text("1 reference", exact=True).wait_for()


def test_a_reference_that_is_rejected_is_explained_at_the_button(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_wizard(several())
    answer = {"reference_id": None, "kept": False, "reason": "conflict", "like": "empty-3"}
    device.route("POST", r"api/watches/bowl/references", lambda *_: answer)
    page = open_page(serve(device) + "#/edit/bowl/teach")
    page.get_by_role("button", name="Hold while it is food").press("Enter")
    food = page.get_by_role("region", name="food")
    food.get_by_text("It looks like another state (empty-3).").wait_for()
    food.get_by_role("button", name="Keep it anyway").click()
    page.wait_for_timeout(0)
    path = "api/watches/bowl/references"
    page.wait_for_load_state("networkidle")
    assert asked(device, "POST", path)[-1] == {"state": "food", "force": True}


def test_files_and_stills_teach_too(open_page: OpenPage, serve: Serve, tmp_path: Path) -> None:
    device = with_wizard(several())
    evil = "<img src=x onerror=alert(1)>.png"
    results = [
        {"name": "a.png", "reference_id": "food-9", "refused": None},
        {"name": evil, "reference_id": None, "refused": "not a picture"},
    ]
    device.route("POST", r"api/watches/bowl/references/files", lambda *_: results)
    kept = {"kept": True, "refused": [], "references": {"empty": {"day": 7}}}
    device.route("POST", r"api/watches/bowl/proposals", lambda *_: kept)
    page = open_page(serve(device) + "#/edit/bowl/teach")
    file = write(tmp_path / "a.png", picture(1))
    page.get_by_label("or drop pictures of “food” here").set_input_files([file])
    page.get_by_text("1 file kept.").wait_for()
    page.get_by_text(f"{evil}: not a picture").wait_for()
    page.get_by_role("group", name="These are").get_by_role("button", name="empty").click()
    page.locator(".still").first.click()
    page.get_by_role("region", name="empty").get_by_text("7 references").wait_for()
    assert asked(device, "POST", "api/watches/bowl/proposals") == [{"id": "0", "state": "empty"}]


def test_a_still_that_was_refused_can_be_given_to_another_state(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_wizard(several())
    path = "api/watches/bowl/proposals"
    refused = {"kept": False, "refused": [{"reason": "conflict", "like": "empty-3"}]}
    device.route("POST", path, lambda *_: refused)
    page = open_page(serve(device) + "#/edit/bowl/teach")
    still = page.locator(".still").first
    still.click()
    page.get_by_text("It looks like another state (empty-3).").wait_for()
    kept = {"kept": True, "refused": [], "references": {"empty": {"day": 7}}}
    device.route("POST", path, lambda *_: kept)
    page.get_by_role("group", name="These are").get_by_role("button", name="empty").click()
    still.click()
    still.locator(".badge", has_text="empty").wait_for()
    assert [body["state"] for body in asked(device, "POST", path)] == ["food", "empty"]


def test_a_camera_that_gives_no_picture_is_explained_and_can_be_corrected(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    text = "<b>the camera</b> at 127.0.0.1:9 refuses the connection: is it on?"
    device.route("POST", r"api/preview", lambda *_: error(422, text))
    page = open_page(serve(device) + "#/new", tolerate=("422",))
    page.get_by_label("Address of the camera").fill(CAMERA)
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text(text).wait_for()
    assert page.get_by_label("Address of the camera").input_value() == CAMERA


def test_found_cameras_are_offered_and_what_hinders_one_is_said(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    page = open_page(serve(device) + "#/new")
    page.get_by_text("wants a user").wait_for()
    login = {"address": "192.168.1.20", "uri": "rtsp://192.168.1.20/1", "error": None}
    device.route("POST", r"api/cameras", lambda *_: login)
    page.get_by_text("It asks for a user").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("secret")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Door").wait_for()
    page.get_by_role("button", name="USB camera").click()
    page.locator(".stage").wait_for()
    assert asked(device, "POST", "api/preview") == [{"uri": "/dev/v4l/by-id/usb-cam"}]


def test_the_login_of_a_found_camera_goes_into_its_watch(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    login = {"address": "192.168.1.20", "uri": "rtsp://192.168.1.20/1", "error": None}
    device.route("POST", r"api/cameras", lambda *_: login)
    page = open_page(serve(device) + "#/new")
    page.get_by_text("It asks for a user").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("secret")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Door").click()
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Show the picture").click()
    page.get_by_role("button", name="Next").click()
    create_watch(page)
    source = {"uri": "rtsp://192.168.1.20/1", "user": "ada", "password": "secret"}
    assert asked(device, "POST", "api/preview") == [source, source]
    assert asked(device, "POST", "api/watches")[0]["source"] == source


def create_watch(page: Page) -> None:
    page.get_by_role("button", name="on / off").click()
    page.get_by_role("button", name="Create the watch").click()
    page.get_by_role("button", name="Hold while it is on").wait_for()


def test_of_two_cameras_that_are_being_opened_the_last_counts(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    device.device["sources"] = [{"name": name, "up": True} for name in ("slow", "fast")]
    may_open = threading.Event()

    def opened(body: dict[str, Any], *_: Any) -> Any:
        if body["source"] == "slow":
            may_open.wait(PATIENCE_S)
        return {"id": "p1", "width": 640, "height": 480, "light": "day"}

    device.route("POST", r"api/preview", opened)
    page = open_page(serve(device) + "#/new")
    page.get_by_role("button", name="slow").click()
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="fast").click()
    may_open.set()
    page.get_by_role("button", name="Next").click()
    create_watch(page)
    assert asked(device, "POST", "api/watches")[0]["source"] == {"name": "fast"}


def test_a_preview_that_was_closed_meanwhile_is_opened_again_and_the_region_stays(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    page = open_page(serve(device) + "#/new", tolerate=("422",))
    show_picture(page)
    drag(page, (0.2, 0.3), (0.7, 0.8))
    again = {"id": "p2", "width": 640, "height": 480, "light": "day"}
    frame = device.answer("GET", "api/preview/p1/frame.jpg", None)
    device.route("POST", r"api/preview", lambda *_: again)
    device.route("GET", r"api/preview/p2/frame\.jpg", lambda *_: frame)
    device.route("POST", r"api/preview/p2/model", lambda *_: frame)
    device.route("DELETE", r"api/preview/p2", lambda *_: {})
    with page.expect_response("**/api/preview/p2/model"):
        device.route("GET", r"api/preview/p1/.*", lambda *_: error(422, "not open any more"))
    assert asked(device, "POST", "api/preview") == [{"uri": CAMERA}, {"uri": CAMERA}]
    assert region(page) == pytest.approx([20, 30, 50, 50], abs=0.5)
    page.get_by_role("button", name="Next").click()
    create_watch(page)


def test_a_pasted_address_shows_its_picture_at_once(
    open_page: OpenPage, serve: Serve, device: FakeDevice
) -> None:
    page = open_page(serve(device) + "#/new")
    page.get_by_label("Address of the camera").evaluate(
        "(input, text) => { const data = new DataTransfer(); data.setData('text', text);"
        "input.value = text; input.dispatchEvent(new ClipboardEvent('paste', "
        "{clipboardData: data})); }",
        CAMERA,
    )
    page.locator(".stage").wait_for()


def test_the_region_of_a_watch_is_changed_and_retaking_is_asked_for(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_wizard(several())
    page = open_page(serve(device) + "#/watch/bowl")
    page.get_by_role("link", name="Change the region").click()
    page.get_by_text("After a move they need to be taken again.").wait_for()
    page.wait_for_function("() => document.querySelector('.stage img')?.naturalWidth > 0")
    page.locator(".edit-box").press("ArrowRight")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Retake the reference pictures").wait_for()
    (body,) = asked(device, "PATCH", "api/watches/bowl")
    assert body == {"region": pytest.approx([0.21, 0.25, 0.5, 0.55])}


def test_references_of_another_region_are_said_where_they_are_retaken(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_wizard(several())
    device.watches["bowl"]["problems"] = ["region_moved"]
    page = open_page(serve(device) + "#/edit/bowl/teach")
    page.get_by_text("Retake every state here").wait_for()
    link = page.get_by_role("link", name="Which ones?")
    assert link.get_attribute("href") == "#/gallery/bowl"


def test_the_last_step_says_how_sure_what_is_missing_and_when_the_first_event_came(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_wizard(several())
    page = open_page(serve(device) + "#/edit/bowl/ready")
    page.get_by_role("img", name="98%").wait_for()
    page.get_by_text("Take empty at night").wait_for()
    assert page.get_by_role("cell", name="none").count() == 1
    event = {
        "type": "state_changed",
        "watch": "bowl",
        "after": "empty",
        "at": "2026-01-01T12:00:00Z",
    }
    device.send("event", event)
    page.get_by_text("bowl is empty. This was sent as an event.").wait_for()
