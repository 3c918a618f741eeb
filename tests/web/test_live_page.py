"""The live page in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from edge_sim.io.sources.synthetic.source import render
from tests.web.conftest import OpenPage
from tests.web.fake_device import FakeDevice, serving, several, watch
from tests.web.fake_history import with_history

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Serve = Callable[[FakeDevice], str]


def test_a_card_shows_state_scores_and_the_reason_in_plain_words(
    open_page: OpenPage, serve: Serve
) -> None:
    page = open_page(serve(several()))
    bowl = page.get_by_role("article", name="bowl")
    assert bowl.locator(".badge").inner_text() == "food"
    assert bowl.get_by_role("img", name="food: 0.96; entered at 0.64").count() == 1
    gate = page.get_by_role("article", name="gate")
    gate.get_by_text("Unlike every reference picture.").wait_for()
    gate.get_by_text(
        "The camera has moved: the region shows another place. Turn it back, or move the region."
    ).wait_for()
    machine = page.get_by_role("article", name="machine")
    machine.get_by_text("No reference picture yet of: off").wait_for()
    machine.get_by_text("Private: no pictures are shown.").wait_for()


def test_a_change_arrives_without_reloading_and_brings_its_picture(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    page = open_page(serve(device))
    image = page.get_by_role("article", name="bowl").get_by_role("img", name="Picture of bowl")
    page.wait_for_function("i => i.naturalWidth > 0", arg=image.element_handle())
    before = image.get_attribute("src")
    state = {"name": "empty", "reason": None, "since": "2026-01-01T13:00:00Z", "in_state_s": 1}
    device.add(watch("bowl", ("food", "empty"), state=state), render("bowl", "empty"))
    page.get_by_role("article", name="bowl").locator(".badge", has_text="empty").wait_for()
    page.wait_for_function(
        "([image, before]) => image.src !== before", arg=[image.element_handle(), before]
    )


def test_a_picture_that_was_missing_is_shown_again_and_its_button_keeps_the_focus(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    page = open_page(serve(device))
    bowl = page.get_by_role("article", name="bowl")
    image = bowl.get_by_role("img", name="Picture of bowl")
    page.wait_for_function("i => i.naturalWidth > 0", arg=image.element_handle())
    bowl.get_by_role("button", name="whole picture").focus()
    picture = device.pictures.pop("bowl")
    device.add(watch("bowl", ("food", "empty")))
    bowl.get_by_text("No picture yet.").wait_for()
    device.pictures["bowl"] = picture
    device.add(watch("bowl", ("food", "empty")))
    image.wait_for()
    page.locator("button:focus", has_text="whole picture").wait_for()


def test_a_watch_that_becomes_private_shows_no_picture_from_then_on(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    page = open_page(serve(device))
    bowl = page.get_by_role("article", name="bowl")
    bowl.get_by_role("img", name="Picture of bowl").wait_for()
    device.add(watch("bowl", ("food", "empty"), private=True))
    bowl.get_by_text("Private: no pictures are shown.").wait_for()
    device.add(watch("bowl", ("food", "empty")))
    bowl.get_by_role("img", name="Picture of bowl").wait_for()


def test_who_has_signed_out_is_told_nothing_until_somebody_signs_in(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    signed_in = {"user": "ada", "role": "admin", "needs_login": False}
    nobody = {"user": None, "role": "nobody", "needs_login": True}
    device.session |= signed_in
    device.route("POST", r"api/logout", lambda *_: take(nobody))
    device.route("POST", r"api/login", lambda *_: take(signed_in))

    def take(session: dict[str, Any]) -> dict[str, Any]:
        device.session |= session
        return {}

    page = open_page(serve(device))
    device.wait_for_readers(1)
    page.get_by_role("button", name="Sign out").click()
    device.wait_for_readers(0)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("secret")
    page.keyboard.press("Enter")
    page.get_by_role("article", name="bowl").wait_for()
    device.wait_for_readers(1)


def test_a_wrong_state_is_corrected_in_two_clicks_and_taken_back_in_one(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    page = open_page(serve(device))
    bowl = page.get_by_role("article", name="bowl")
    bowl.get_by_role("button", name="This is wrong").click()
    bowl.get_by_role("button", name="empty").click()
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    page.get_by_text("Undone.").wait_for()
    posted = [(path, body) for method, path, body in device.asked if method == "POST"]
    assert posted == [
        ("api/watches/bowl/teach", {"state": "empty"}),
        ("api/watches/bowl/undo", {"revision": 9}),
    ]


def test_a_viewer_is_offered_nothing_that_changes_the_device(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    device.session |= {"role": "viewer", "user": "guest"}
    page = open_page(serve(device))
    page.get_by_role("article", name="bowl").wait_for()
    assert page.get_by_role("button", name="This is wrong").count() == 0
    assert page.get_by_role("link", name="Add a watch").count() == 0


def test_names_from_the_outside_are_text(open_page: OpenPage, serve: Serve) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
    device = several()
    device.add(watch(evil, (evil, "b"), source=evil, problems=[evil]))
    device.device["sources"].append({"name": evil, "up": False, "error": evil})
    device.session["device"] = evil
    page = open_page(serve(device))
    page.get_by_role("article", name=evil).wait_for()
    page.locator(".banner.error").wait_for()
    assert page.title() == "Live · edge_sim"
    assert page.locator("img[src=x], article script").count() == 0


def test_a_lost_camera_is_said_above_every_page(open_page: OpenPage, serve: Serve) -> None:
    device = several()
    device.device["sources"][0] |= {"up": False, "error": "connection refused"}
    page = open_page(serve(device))
    page.get_by_role("alert").get_by_text("Camera yard: connection refused").wait_for()
    page.get_by_role("article", name="bowl").get_by_text("yard, no picture arrives").wait_for()


def test_a_lost_connection_is_said_and_what_is_shown_stays(open_page: OpenPage) -> None:
    with serving(several()) as address:
        page = open_page(address, tolerate=("ERR_",))
        page.get_by_role("article", name="bowl").wait_for()
    page.get_by_text("Connection to the device lost").wait_for()
    assert page.get_by_role("article", name="bowl").is_visible()


def test_the_way_back_leads_out_of_a_page_that_chose_its_watch(
    open_page: OpenPage, serve: Serve
) -> None:
    page = open_page(serve(with_history()))
    page.get_by_role("article", name="bowl").wait_for()
    page.get_by_role("link", name="References").click()
    page.locator("li[data-id]").first.wait_for()
    page.go_back()
    page.get_by_role("article", name="bowl").wait_for()


def test_many_watches_can_be_searched(open_page: OpenPage, serve: Serve) -> None:
    device = FakeDevice()
    for number in range(30):
        device.add(watch(f"slot-{number}", ("free", "taken")), render("parking", "free"))
    page = open_page(serve(device))
    page.get_by_label("Find a watch").fill("slot-2")
    assert page.locator("article:visible").count() == 11
    page.get_by_label("only unknown or with a problem").check()
    assert page.locator("article:visible").count() == 0
    loaded = {path for _, path, _ in device.asked if path.endswith("snapshot.jpg")}
    assert len(loaded) < 30  # pictures that cannot be seen are not fetched


def test_a_hidden_tab_listens_to_nothing_and_catches_up_when_it_is_shown(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    page = open_page(serve(device))
    page.get_by_role("article", name="bowl").wait_for()
    hide(page, hidden=True)
    device.wait_for_readers(0)
    asked = len(device.asked)
    state = {"name": "empty", "reason": None, "since": "2026-01-01T13:00:00Z", "in_state_s": 1}
    device.add(watch("bowl", ("food", "empty"), state=state))
    del device.watches["gate"]
    hide(page, hidden=False)
    page.get_by_role("article", name="bowl").locator(".badge", has_text="empty").wait_for()
    page.get_by_role("article", name="gate").wait_for(state="detached")
    device.wait_for_readers(1)
    paths = [path for _, path, _ in device.asked[asked:] if "snapshot" not in path]
    assert paths == ["api/watches"]


def hide(page: Page, *, hidden: bool) -> None:
    """Let the page believe that its tab was left or came back."""
    page.evaluate(
        "hidden => {"
        "Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_page_of_the_collection_is_offered_only_where_there_is_one(
    open_page: OpenPage, serve: Serve
) -> None:
    device = several()
    page = open_page(serve(device))
    page.get_by_role("article", name="bowl").wait_for()
    assert page.get_by_role("link", name="Collection").count() == 0
    device.session["collection"] = True
    page.reload()
    page.get_by_role("link", name="Collection").wait_for()
