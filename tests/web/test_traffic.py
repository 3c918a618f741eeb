"""Bytes between device and page: files compressed and sent once, watches only when they change."""

from __future__ import annotations

import gzip

import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from edge_sim.web.stream import lasting
from tests.runtime.health.test_board import board
from tests.web.fake_device import PAGES, watch
from tests.web.servers import ask, serving


def test_a_file_of_the_page_is_compressed_for_those_that_take_it_and_sent_once() -> None:
    content = (PAGES / "app.js").read_bytes()
    with serving(board()) as server:
        status, headers, body = ask(server, "/pages/app.js", headers={"Accept-Encoding": "gzip"})
        assert (status, headers["content-encoding"]) == (200, "gzip")
        assert gzip.decompress(body) == content
        assert len(body) < len(content) / 2
        status, plain, body = ask(server, "/pages/app.js")
        assert "content-encoding" not in plain
        assert body == content
        known = {"If-None-Match": headers["etag"], "Accept-Encoding": "gzip"}
        assert ask(server, "/pages/app.js", headers=known)[::2] == (304, b"")


def test_the_time_that_passes_is_no_news_of_a_watch() -> None:
    before = watch("bowl", ("food", "empty"))
    state = {**before["state"], "since": "2026-01-01T12:00:00.001Z", "in_state_s": 76.0}
    later = {**before, "state": state, "observations": 605}
    assert lasting(later) == lasting(before)
    changed = {**later, "state": {**state, "name": "unknown", "reason": "novel"}}
    assert lasting(changed) != lasting(before)
    assert lasting({**later, "state": None}) != lasting(before)
