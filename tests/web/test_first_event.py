"""From a camera's address to the first right event, in a real browser with a real daemon."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from tests.web.conftest import OpenPage
from tests.web.real_device import Camera, device_running, events, filming

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PICTURES = os.environ.get("EDGE_SIM_PICTURES")
"""Folder for the pictures of docs/wizard.md, which this test takes; none are taken without it."""
MOST_ACTIONS = 12
UNLIKE_EMPTY = re.compile(r"^empty: 0\.[0-8]")
COUNT = """() => {
  window.actions = 0;
  for (const kind of ["pointerdown", "keydown"]) {
    addEventListener(kind, (event) => (window.actions += event.isTrusted ? 1 : 0), true);
  }
}"""


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A camera that shows an empty bowl."""
    with filming("bowl", "empty") as running:
        yield running


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Address of the page of a device without watches."""
    with device_running(tmp_path) as page:
        yield page


def illustrate(page: Page, name: str) -> None:
    """Take a picture for the documentation, where one is wanted."""
    if PICTURES is None:
        return
    page.wait_for_timeout(800)  # everything is drawn
    taken = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert taken is not None
    cv2.imwrite(f"{PICTURES}/wizard-{name}.webp", taken, [cv2.IMWRITE_WEBP_QUALITY, 72])


def hold(page: Page, state: str) -> None:
    """Hold the button of a state until its picture is kept."""
    page.get_by_role("button", name=f"Hold while it is {state}").hover()
    page.mouse.down()
    region = page.get_by_role("region", name=state, exact=True)
    region.get_by_text("1 reference", exact=True).wait_for()
    page.mouse.up()


def paste(page: Page, text: str) -> None:
    """Paste as a person does, with one key."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("Control+KeyV")


def draw_region(page: Page) -> None:
    """Draw a box around the bowl."""
    page.wait_for_function("() => document.querySelector('.stage img')?.naturalWidth > 0")
    frame = page.locator(".stage").bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + frame["width"] * 0.24, frame["y"] + frame["height"] * 0.32)
    page.mouse.down()
    page.mouse.move(
        frame["x"] + frame["width"] * 0.80, frame["y"] + frame["height"] * 0.90, steps=4
    )
    page.mouse.up()


def test_an_address_becomes_a_right_event_and_a_wrong_state_is_corrected(
    camera: Camera, address: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(f"{address}#/new", viewport={"width": 1000, "height": 720})
    page.evaluate(COUNT)
    page.locator("#uri:focus").wait_for()
    illustrate(page, "camera")
    paste(page, camera.address)
    draw_region(page)
    illustrate(page, "region")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="empty / full").click()
    illustrate(page, "states")
    page.get_by_role("button", name="Create the watch").click()
    hold(page, "empty")
    camera.state = "food"
    page.get_by_role("img", name=UNLIKE_EMPTY).wait_for()  # the device sees it
    hold(page, "full")
    page.get_by_text("watch-1 is full. This was sent as an event.").wait_for()
    illustrate(page, "teach")
    actions = page.evaluate("() => window.actions")
    assert actions <= MOST_ACTIONS
    assert events(tmp_path)[-1]["after"] == "full"

    written = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert written.startswith("# My own device.")
    assert "# for me" in written
    watch = yaml.safe_load(written)["watches"]["watch-1"]
    assert watch["roi"] == pytest.approx([0.24, 0.32, 0.8, 0.9], abs=0.01)

    page.get_by_role("link", name="How sure is it?").click()
    page.locator(".coverage").wait_for()
    illustrate(page, "ready")
    page.get_by_role("link", name="Done").click()
    card = page.get_by_role("article", name="watch-1")
    card.get_by_text("full", exact=True).first.wait_for()
    card.get_by_role("button", name="This is wrong").click()
    illustrate(page, "wrong")
    card.get_by_role("button", name="empty", exact=True).click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone.").wait_for()
