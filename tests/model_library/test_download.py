"""A download is continued where it stopped, and says in one line why it stopped."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from edge_sim.errors import ModelError
from edge_sim.model_library import download
from tests.model_library.archive_server import OPENER, Shop, serving

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def shop() -> Iterator[Shop]:
    with serving(CONTENT) as shop:
        yield shop


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "file.part"


def test_the_whole_file_arrives_and_progress_is_told(shop: Shop, part: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(shop.url, part, opener=OPENER, watch=lambda done, total: seen.append((done, total)))
    assert part.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_an_interrupted_download_is_continued(shop: Shop, part: Path) -> None:
    shop.cut_after = 100_000
    with pytest.raises(ModelError, match=r"ended after 100000 of 512000 bytes; run it again"):
        download(shop.url, part, opener=OPENER)
    assert part.read_bytes() == CONTENT[:100_000]
    shop.cut_after = None
    download(shop.url, part, opener=OPENER)
    assert part.read_bytes() == CONTENT
    assert shop.asked == ["", "bytes=100000-"]


def test_a_server_without_ranges_sends_all_again(shop: Shop, part: Path) -> None:
    part.write_bytes(b"x" * 700_000)
    shop.knows_ranges = False
    download(shop.url, part, opener=OPENER)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_as_long_as_the_file_or_longer_is_fetched_anew(
    shop: Shop, part: Path, size: int
) -> None:
    part.write_bytes(b"x" * size)
    download(shop.url, part, opener=OPENER)
    assert part.read_bytes() == CONTENT
    assert shop.asked == [f"bytes={size}-", ""]


def test_a_server_that_continues_somewhere_else_is_followed_only_backwards(
    shop: Shop, part: Path
) -> None:
    part.write_bytes(CONTENT[:1000])
    shop.claims_start = 2000
    with pytest.raises(ModelError, match="left out bytes before 2000"):
        download(shop.url, part, opener=OPENER)
    assert part.read_bytes() == CONTENT[:1000]


def test_a_file_of_unknown_length_ends_where_the_server_ends(shop: Shop, part: Path) -> None:
    shop.tells_length = False
    download(shop.url, part, opener=OPENER)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_named_and_leaves_nothing(shop: Shop, part: Path, status: int) -> None:
    shop.status = status
    with pytest.raises(ModelError, match=f"the server says {status}"):
        download(shop.url, part, opener=OPENER)
    assert not part.exists()


def test_a_server_that_refuses_every_range_is_named(shop: Shop, part: Path) -> None:
    part.write_bytes(CONTENT[:10])
    shop.status = 416
    with pytest.raises(ModelError, match="refuses to send"):
        download(shop.url, part, opener=OPENER)


def test_no_connection_is_one_line_with_the_fix(part: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(ModelError, match=r"cannot be reached \(Connection refused\).*--from"):
            download(url, part, opener=OPENER)
    assert not part.exists()


def test_a_server_that_says_nothing_is_given_up(part: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(ModelError, match="cannot be reached"):
            download(url, part, opener=OPENER, timeout_s=0.05)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "C:\\x", "http//x"])
def test_only_the_web_is_asked(part: Path, url: str) -> None:
    with pytest.raises(ModelError, match="not an http or https address"):
        download(url, part, opener=OPENER)
    assert not part.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a thing of Linux")
def test_a_full_disk_is_one_line(shop: Shop) -> None:
    with pytest.raises(ModelError, match=r"/dev/full: cannot write \(No space left on device\)"):
        download(shop.url, Path("/dev/full"), opener=OPENER)


def test_a_folder_that_is_not_there_is_one_line(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot write \(No such file or directory\)"):
        download(shop.url, tmp_path / "no" / "file.part", opener=OPENER)


class BreakingAnswer:
    """Some bytes, then what a reset connection gives."""

    status = 200
    headers: Message[str, str] = Message()

    def __init__(self) -> None:
        self.blocks = iter([CONTENT[:1000]])

    def read(self, _size: int) -> bytes:
        for block in self.blocks:
            return block
        raise ConnectionResetError(104, "Connection reset by peer")

    def close(self) -> None:
        """Nothing to do."""


class BreakingOpener:
    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        return BreakingAnswer()


def test_a_connection_that_is_reset_keeps_what_has_arrived(part: Path) -> None:
    with pytest.raises(ModelError, match=r"broke \(Connection reset by peer\); run it again"):
        download("http://host/file", part, opener=BreakingOpener())
    assert part.read_bytes() == CONTENT[:1000]


def test_two_downloads_of_one_file_do_not_mix(shop: Shop, part: Path) -> None:
    part.write_bytes(CONTENT[:10])
    with part.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(ModelError, match="another process is fetching it"):
            download(shop.url, part, opener=OPENER)
    assert part.read_bytes() == CONTENT[:10]
    assert list(part.parent.iterdir()) == [part]
