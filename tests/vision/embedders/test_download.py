"""A download is bounded in size and time, and says in one line why it stopped."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_pull import Limits, download
from tests.vision.embedders.archive_server import OPENER, Shop, serving

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def shop() -> Iterator[Shop]:
    with serving(CONTENT) as shop:
        yield shop


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_the_whole_file_arrives_and_progress_is_told(shop: Shop, out: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(shop.url, out, opener=OPENER, progress=lambda done, total: seen.append((done, total)))
    assert out.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_a_download_that_ends_too_soon_is_named(shop: Shop, out: Path) -> None:
    shop.cut_after = 100_000
    with pytest.raises(ModelError, match=r"ended after 100000 of 512000 bytes; run it again"):
        download(shop.url, out, opener=OPENER)


def test_a_file_of_unknown_length_ends_where_the_server_ends(shop: Shop, out: Path) -> None:
    shop.tells_length = False
    download(shop.url, out, opener=OPENER)
    assert out.read_bytes() == CONTENT


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_that_is_too_large_is_not_fetched(shop: Shop, out: Path, tells_length: bool) -> None:
    shop.tells_length = tells_length
    with pytest.raises(ModelError, match="larger than 100000 bytes; not downloaded"):
        download(shop.url, out, opener=OPENER, limits=Limits(max_bytes=100_000))
    assert out.stat().st_size <= 100_000 + (1 << 16)


def test_a_server_that_never_comes_to_an_end_is_given_up(shop: Shop, out: Path) -> None:
    times = iter(range(0, 10_000, 100))
    limits = Limits(whole_s=250.0, clock=lambda: float(next(times)))
    with pytest.raises(ModelError, match=r"bytes in 250 s; given up"):
        download(shop.url, out, opener=OPENER, limits=limits)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_named_and_leaves_nothing(shop: Shop, out: Path, status: int) -> None:
    shop.status = status
    with pytest.raises(ModelError, match=f"the server answered {status}"):
        download(shop.url, out, opener=OPENER)
    assert not out.exists()


def test_no_connection_is_one_line_with_the_fix(out: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(ModelError, match=r"cannot be reached \(Connection refused\).*--from"):
            download(url, out, opener=OPENER)
    assert not out.exists()


def test_a_server_that_says_nothing_is_given_up(out: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(ModelError, match="cannot be reached"):
            download(url, out, opener=OPENER, limits=Limits(stall_s=0.05))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "C:\\x", "http//x"])
def test_only_the_web_is_asked(out: Path, url: str) -> None:
    with pytest.raises(ModelError, match="not an http or https address"):
        download(url, out, opener=OPENER)
    assert not out.exists()


class BreakingAnswer:
    """Some bytes, then what a reset connection gives."""

    status = 200
    headers: Message[str, str] = Message()

    def __init__(self) -> None:
        self.blocks = iter([CONTENT[:1000]])

    def read1(self, _size: int) -> bytes:
        for block in self.blocks:
            return block
        raise ConnectionResetError(104, "Connection reset by peer")

    def close(self) -> None:
        """Nothing to do."""


class BreakingOpener:
    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        return BreakingAnswer()


def test_a_connection_that_is_reset_is_named(out: Path) -> None:
    with pytest.raises(ModelError, match=r"broke \(Connection reset by peer\); run it again"):
        download("http://host/file", out, opener=BreakingOpener())
