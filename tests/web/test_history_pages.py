"""Time line, review, references and settings in a real browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.conftest import OpenPage
from tests.web.fake_device import PATIENCE_S, FakeDevice, error, watch
from tests.web.fake_history import decided, event, with_history

pytestmark = pytest.mark.browser
Serve = Callable[[FakeDevice], str]
EVIL = "<img src=x onerror=alert(1)>"


def asked(device: FakeDevice, method: str) -> list[tuple[str, Any]]:
    return [(path, body) for how, path, body in device.asked if how == method]


def test_a_marker_of_the_time_line_opens_the_reason(open_page: OpenPage, serve: Serve) -> None:
    page = open_page(serve(with_history()) + "#/time/bowl")
    page.get_by_role("button", name="Event 2:").click()
    page.get_by_role("heading", name="bowl: food -> empty").wait_for()
    page.get_by_text("5 of 7 votes agreed.").wait_for()
    assert page.locator(".why .region-box").count() == 1
    page.get_by_text("framed: what no reference explains").wait_for()


def test_why_on_a_card_opens_the_reason_of_the_last_event(
    open_page: OpenPage, serve: Serve
) -> None:
    page = open_page(serve(with_history()) + "#/")
    page.get_by_role("article", name="bowl").get_by_role("link", name="Why").click()
    page.get_by_role("heading", name="bowl: food -> empty").wait_for()
    page.locator(".why h2:focus").wait_for()


def test_the_slider_shows_events_that_would_come_and_keeps_the_setting(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    page = open_page(serve(device) + "#/time/bowl")
    slider = page.get_by_role("slider", name="Sensitivity")
    slider.fill("0.8")
    page.get_by_role("heading", name="gained").wait_for()
    page.get_by_role("button", name="Use this sensitivity").click()
    page.get_by_text("The sensitivity is changed.").wait_for()
    assert asked(device, "PATCH") == [("api/watches/bowl", {"sensitivity": 0.8})]


def test_an_event_that_comes_leaves_the_slider_where_it_is(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    page = open_page(serve(device) + "#/time/bowl")
    slider = page.get_by_role("slider", name="Sensitivity")
    slider.fill("0.8")
    page.get_by_role("heading", name="gained").wait_for()
    slider.focus()
    events = [event(0, time.time())]
    device.route("GET", "api/events", lambda *_: events)
    device.send("event", events[0])
    page.wait_for_function("() => document.querySelectorAll('.event-row').length === 1")
    page.locator("#sensitivity:focus").wait_for()
    assert slider.input_value() == "0.8"


def test_without_a_score_log_events_are_listed_and_the_key_is_named(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    device.route("GET", "api/scores", lambda *_: error(404, "no score log is kept: set score_log"))
    page = open_page(serve(device) + "#/time/bowl", tolerate=("404",))
    page.get_by_text("no score log is kept: set score_log").wait_for()
    assert page.locator(".event-row").count() == 6


def test_review_goes_by_keyboard_with_several_at_once_and_undo(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    page = open_page(serve(device) + "#/review")
    page.locator(".review-grid li").first.wait_for()
    page.keyboard.press("1")
    page.wait_for_function("() => document.querySelectorAll('.review-grid li').length === 4")
    page.get_by_text("One recent decision would be different now:").wait_for()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_text("2 chosen").wait_for()
    page.keyboard.press("u")  # one of the two cannot be a reference and stays
    page.get_by_text("bowl/f3: blurred").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.review-grid li').length === 3")
    page.keyboard.press("z")
    page.get_by_text("Undone.").wait_for()
    assert page.locator(".review-grid li").count() == 5
    posted = asked(device, "POST")
    assert posted[0] == ("api/review", {"decisions": [{"id": "bowl/f0", "as": "food"}]})
    assert {item["as"] for item in posted[1][1]["decisions"]} == {"unknown"}
    assert posted[2] == ("api/review/undo", {"undo": "u1"})


def test_a_suspect_is_framed_as_one_and_moved_with_undo(open_page: OpenPage, serve: Serve) -> None:
    device = with_history()
    page = open_page(serve(device) + "#/gallery/bowl")
    suspect = page.locator("li[data-id=r2]")
    suspect.get_by_text("Looks like empty (nearest r4): is its state right?").wait_for()
    assert "wrong" in (suspect.get_attribute("class") or "")
    assert page.locator("li[data-id=r1]").get_attribute("class") == ""
    page.get_by_text("Some references show another region than the watch has now").wait_for()
    suspect.get_by_role("checkbox").check()
    page.get_by_label("Move to …").select_option("empty")
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    page.get_by_text("Undone.").wait_for()
    assert asked(device, "POST") == [
        ("api/watches/bowl/gallery", {"ids": ["r2"], "op": "move", "state": "empty"}),
        ("api/watches/bowl/gallery/undo", {"revision": 12}),
    ]


def test_the_configuration_says_what_a_key_means_and_where_a_mistake_is(
    open_page: OpenPage, serve: Serve
) -> None:
    page = open_page(serve(with_history()) + "#/settings", tolerate=("422",))
    text = page.get_by_label("config.yaml")
    text.click()
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowUp")
    page.get_by_text("0.5 is the calibrated point").wait_for()
    text.fill("watches:\n  bowl:\n    sensitivty: 1\n")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("unknown key 'sensitivty'").wait_for()
    page.get_by_role("link", name="line 5").wait_for()
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("no night reference").wait_for()
    page.get_by_role("button", name="Test").click()
    page.get_by_text("delivered").wait_for()


def test_each_key_has_a_field_with_its_description_and_is_written_at_once(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    page = open_page(serve(device) + "#/settings", tolerate=("422",))
    page.locator("summary", has_text="watches.bowl:").click()
    field = page.get_by_label("sensitivity", exact=True)
    page.get_by_text("Higher reports weaker changes").wait_for()
    field.fill("7")
    field.press("Enter")
    page.get_by_text("watches.bowl.sensitivity: Expected float <= 1.0").wait_for()
    field.fill("0.7")
    field.press("Enter")
    page.get_by_text("Saved").first.wait_for()
    page.get_by_label("private").check()
    page.get_by_label("states").fill("food, empty")
    page.get_by_label("states").press("Enter")
    page.locator("summary", has_text="web:").click()
    page.get_by_label("requests_per_s (per second)").fill("50")
    page.get_by_label("requests_per_s (per second)").press("Enter")
    page.get_by_text("starts anew").wait_for()
    sent = [
        body for method, path, body in device.asked if (method, path) == ("PATCH", "api/config")
    ]
    assert sent == [
        {"path": "watches.bowl.sensitivity", "value": 7},
        {"path": "watches.bowl.sensitivity", "value": 0.7},
        {"path": "watches.bowl.private", "value": True},
        {"path": "watches.bowl.states", "value": ["food", "empty"]},
        {"path": "web.requests_per_s", "value": 50},
    ]


def test_a_viewer_sees_no_button_that_changes_anything(open_page: OpenPage, serve: Serve) -> None:
    device = with_history()
    device.session |= {"role": "viewer", "user": "ann"}
    address = serve(device)
    page = open_page(address + "#/gallery/bowl")
    page.locator("li[data-id=r2]").wait_for()
    assert page.get_by_role("checkbox").count() == 0
    page.goto(address + "#/settings")
    page.get_by_role("heading", name="Settings and health").wait_for()
    assert page.get_by_role("textbox").count() == 0
    page.goto(address + "#/review")
    page.get_by_text("This needs an account with the role operator.").wait_for()


def test_one_frame_is_decided_at_a_time_and_a_key_held_down_decides_once(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    may_answer = threading.Event()

    def answer(body: dict[str, Any], *_: Any) -> Any:
        may_answer.wait(PATIENCE_S)
        return decided(body, time.time())

    device.route("POST", "api/review", answer)
    page = open_page(serve(device) + "#/review")
    frames = page.locator(".review-grid li")
    frames.first.wait_for()
    page.keyboard.down("1")
    page.keyboard.press("2")  # not answered yet
    may_answer.set()
    page.wait_for_function("() => document.querySelectorAll('.review-grid li').length === 4")
    page.keyboard.down("1")  # as a keyboard repeats it
    page.keyboard.up("1")
    page.keyboard.press("u")
    page.wait_for_function("() => document.querySelectorAll('.review-grid li').length === 3")
    decisions = [body["decisions"] for _, body in asked(device, "POST")]
    assert decisions == [[{"id": "bowl/f0", "as": "food"}], [{"id": "bowl/f1", "as": "unknown"}]]


def test_a_setting_of_a_watch_that_is_not_taken_shows_what_is_in_force(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    device.route("PATCH", "api/watches/bowl", lambda *_: error(422, "it cannot be written"))
    page = open_page(serve(device) + "#/watch/bowl", tolerate=("422",))
    private = page.get_by_label("Private: states without pictures")
    private.click()
    page.locator("#private:not(:checked)").wait_for()
    page.get_by_text("it cannot be written").wait_for()
    slider = page.get_by_role("slider", name="Sensitivity")
    slider.fill("0.8")
    page.wait_for_function("slider => slider.value === '0.5'", arg=slider.element_handle())
    page.locator("output", has_text="0.50").wait_for()
    assert asked(device, "PATCH")[-1] == ("api/watches/bowl", {"sensitivity": 0.8})


def test_text_that_is_not_saved_stays_when_a_field_is_written(
    open_page: OpenPage, serve: Serve
) -> None:
    device = with_history()
    page = open_page(serve(device) + "#/settings")
    text = page.get_by_label("config.yaml")
    text.fill("# Mine.\n")
    page.locator("summary", has_text="watches.bowl:").click()
    for wanted in (True, False):  # the second is sent after all that follows the first
        with page.expect_response("**/api/config"):
            page.get_by_label("private").set_checked(wanted)
    assert [path for path, _ in asked(device, "GET")].count("api/config") == 1
    assert text.input_value() == "# Mine.\n"


@pytest.mark.parametrize("place", ["time/bowl", "review", "gallery/bowl", "settings"])
def test_a_page_fits_a_telephone_and_takes_any_name(
    open_page: OpenPage, serve: Serve, place: str
) -> None:
    device = with_history()
    device.add(watch(EVIL, (EVIL, "b")))
    page = open_page(
        serve(device) + f"#/{place}", viewport={"width": 360, "height": 720}, color_scheme="dark"
    )
    page.locator("h1").wait_for()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("img[src=x]").count() == 0
