"""What holds for every page: small screens, dark and light, screen readers, keyboard, German."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.conftest import OpenPage
from tests.web.fake_device import FakeDevice, several, with_wizard
from tests.web.fake_history import with_history
from tests.web.test_page_files import strings

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Serve = Callable[[FakeDevice], str]

PAGES = {
    "live": ".badge",
    "watch/bowl": "table",
    "new": ".camera",
    "edit/bowl/teach": ".still",
    "edit/bowl/ready": ".coverage",
    "edit/bowl/region": ".model-picture[src]",
    "time/bowl?event=event-2": ".why h2",
    "review": ".review-grid li",
    "gallery/bowl": "li[data-id]",
    "settings": "textarea",
}
"""Addresses, and what is there once a page is whole."""


@cache
def axe() -> str:
    """Return the source of axe-core."""
    pytest.importorskip("axe_playwright_python", reason="needs pip install axe-playwright-python")
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def serious_findings(page: Page) -> list[str]:
    """Return what axe finds serious or critical, one line each."""
    page.evaluate(axe())
    found: dict[str, Any] = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def assert_fits(page: Page) -> None:
    """Assert that nothing is wider than the screen, once charts have followed its width."""
    page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("address", PAGES)
def test_a_page_is_whole_in_german_on_a_phone_in_the_dark_and_read_aloud(
    open_page: OpenPage, serve: Serve, address: str
) -> None:
    page = open_page(serve(with_wizard(with_history())) + f"#/{address}", locale="de-AT")
    page.locator(PAGES[address]).first.wait_for()
    assert page.locator("html").get_attribute("lang") == "de"
    shown = set(page.locator("#app").inner_text().splitlines())
    english, german = strings("en"), strings("de")
    assert shown.intersection(text for key, text in english.items() if text != german[key]) == set()
    assert len(shown.intersection(german.values())) > 2
    assert_fits(page)

    page.set_viewport_size({"width": 360, "height": 740})
    assert_fits(page)
    assert serious_findings(page) == []
    page.emulate_media(color_scheme="dark")
    assert serious_findings(page) == []
    page.get_by_label("Sprache").select_option("en")
    page.locator(PAGES[address]).first.wait_for()
    assert_fits(page)


def test_the_language_is_chosen_on_the_page_and_remembered(
    open_page: OpenPage, serve: Serve
) -> None:
    page = open_page(serve(several()), locale="en-GB")
    page.get_by_label("Language").select_option("de")
    page.get_by_role("heading", name="Jetzt").wait_for()
    page.reload()
    page.get_by_role("heading", name="Jetzt").wait_for()


def test_the_wizard_is_walked_with_the_keyboard_alone(open_page: OpenPage, serve: Serve) -> None:
    device = with_wizard(FakeDevice())
    page = open_page(serve(device) + "#/new")
    keys = page.keyboard
    page.locator("#uri:focus").wait_for()
    keys.type("http://127.0.0.1:9/")
    keys.press("Enter")
    page.locator(".model-picture[src]").wait_for()
    for _ in range(30):  # to the region, whatever stands before it
        if page.locator(".edit-box:focus").count():
            break
        keys.press("Tab")
    for key in ("ArrowRight", "Shift+ArrowUp", "ArrowDown"):
        keys.press(key)
    page.get_by_text("left 26.0 %, top 26.0 %, 50.0 × 49.0 %").wait_for()
    tab_to(page, "Hide parts")
    keys.press("Enter")
    keys.press("ArrowLeft")
    keys.press("Space")
    tab_to(page, "Next")
    keys.press("Enter")
    page.get_by_role("button", name="open / closed").and_(page.locator(":focus")).wait_for()
    keys.press("Enter")
    keys.press("Enter")  # the focus is on Create the watch
    tab_to(page, "Hold while it is open")
    keys.down("Space")
    page.get_by_role("region", name="open").get_by_text("2 references").wait_for()
    keys.up("Space")
    ((_, _, body),) = [call for call in device.asked if call[:2] == ("POST", "api/watches")]
    assert body["region"] == pytest.approx([0.26, 0.26, 0.5, 0.49])
    assert body["mask_png"]


def tab_to(page: Page, name: str) -> None:
    """Press Tab until a button of this name has the focus."""
    wanted = page.get_by_role("button", name=name)
    wanted.wait_for()
    for _ in range(40):
        if wanted.and_(page.locator(":focus")).count():
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{name} is not reached with Tab")


def test_the_menu_of_a_phone_opens_and_closes_with_the_page(
    open_page: OpenPage, serve: Serve
) -> None:
    page = open_page(
        serve(with_wizard(several())), viewport={"width": 360, "height": 740}, has_touch=True
    )
    add = page.get_by_role("link", name="Add a watch")
    assert not add.is_visible()
    page.get_by_role("button", name="Menu").click()
    add.click()
    page.get_by_role("heading", name="Add a watch").wait_for()
    assert not add.is_visible()


def test_an_account_is_asked_for_where_one_is_needed(open_page: OpenPage, serve: Serve) -> None:
    device = several()
    device.session |= {"role": "nobody", "needs_login": True}

    def sign_in(body: dict[str, Any], *_: Any) -> Any:
        device.session |= {"user": body["user"], "role": "viewer", "needs_login": False}
        return {"user": body["user"]}

    device.route("POST", r"api/login", sign_in)
    page = open_page(serve(device) + "#/watch/bowl")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("secret")
    assert serious_findings(page) == []
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="bowl").wait_for()
    page.get_by_text("ada").wait_for()
