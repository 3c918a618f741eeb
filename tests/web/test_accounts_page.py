"""Accounts in a real browser, with a real daemon: signing in and out, roles, ended sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from edge_sim.web.accounts import Accounts
from edge_sim.web.callers import Role
from tests.web.conftest import OpenPage
from tests.web.real_device import device_running

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    """An admin and a viewer."""
    made = Accounts(tmp_path / "accounts.json")
    made.put("ada", PASSWORD, Role.ADMIN)
    made.put("eva", PASSWORD, Role.VIEWER)
    return made


@pytest.fixture
def address(tmp_path: Path, accounts: Accounts) -> Iterator[str]:
    """Address of the page of a device with accounts."""
    with device_running(tmp_path) as page:
        yield page


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def test_people_sign_in_see_what_their_role_may_and_sign_out(
    address: str, accounts: Accounts, open_page: OpenPage
) -> None:
    page = open_page(address, tolerate=("401",))
    add = page.get_by_role("link", name="Add a watch")
    sign_in(page, "eva", "wrong")
    page.locator(".toast.error").wait_for()
    sign_in(page, "eva")
    page.get_by_role("heading", name="Live").wait_for()
    assert add.count() == 0
    page.goto(f"{address}#/new")
    page.get_by_text("This needs an account with the role admin.").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()

    sign_in(page, "ada")
    page.get_by_label("Address of the camera").wait_for()
    accounts.remove("ada")
    page.goto(f"{address}#/live")
    page.get_by_role("heading", name="Sign in").wait_for()
