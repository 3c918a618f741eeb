"""Chromium for the tests of the pages; whatever a page reports as an error fails its test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.fake_device import FakeDevice, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of the pages."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open an address in a context of its own; keywords are those of `browser.new_context`.

    `tolerate` are pieces of console errors that the test provokes, as an answer with status 403.
    """
    errors: list[str] = []
    with ExitStack() as contexts:

        def opened(address: str, *, tolerate: tuple[str, ...] = (), **options: Any) -> Page:
            options.setdefault("viewport", {"width": 1280, "height": 800})
            context = contexts.enter_context(browser.new_context(**options))
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()

            def console(message: ConsoleMessage) -> None:
                if message.type == "error" and not any(text in message.text for text in tolerate):
                    errors.append(f"console: {message.text} {message.location['url']}")

            page.on("console", console)
            page.on("pageerror", lambda error: errors.append(f"page: {error}"))
            page.goto(address)
            return page

        yield opened
    assert errors == []


@pytest.fixture
def serve() -> Iterator[Callable[[FakeDevice], str]]:
    """Serve a fake device until the test ends; returns the address of its page."""
    with ExitStack() as servers:
        yield lambda device: servers.enter_context(serving(device))
