"""What is no sound gallery is named in one line and left as it is."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_sim.errors import GalleryError
from edge_sim.gallery.database import open_database
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import enrolled

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed gallery of three references at revision 2."""
    place = tmp_path / "gallery.db"
    with GalleryStore.open(place, create=True) as store:
        store.add("bowl", [enrolled(1), enrolled(2, "shut")])
        store.add("bowl", [enrolled(3)])
    return place


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(GalleryError) as caught:
        attempt()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_file_is_not_made_by_looking(tmp_path: Path) -> None:
    path = tmp_path / "gallery.db"
    assert "gallery add" in refusal(lambda: GalleryStore.open(path))
    assert "gallery add" in refusal(lambda: GalleryStore.open(path, create=True, read_only=True))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "gallery.db"
    message = refusal(lambda: GalleryStore.open(path, create=True))
    assert f"no folder {path.parent}" in message


def test_a_folder_is_no_gallery(tmp_path: Path) -> None:
    assert "is a directory" in refusal(lambda: GalleryStore.open(tmp_path, create=True))


def test_a_new_gallery_leaves_nothing_beside_it(tmp_path: Path) -> None:
    GalleryStore.open(tmp_path / "gallery.db", create=True).close()
    assert [item.name for item in tmp_path.iterdir()] == ["gallery.db"]


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(500), b"SQLite format 3\0", bytes(4096)],
    ids=["empty", "text", "picture", "cut header", "zeros"],
)
@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_no_gallery_is_refused_and_not_written_over(
    tmp_path: Path, content: bytes, create: bool
) -> None:
    path = tmp_path / "gallery.db"
    path.write_bytes(content)
    message = refusal(lambda: GalleryStore.open(path, create=create))
    assert str(path) in message
    assert "not a gallery file" in message
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gallery.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE revisions (number INTEGER)")
    other.close()
    before = path.read_bytes()
    assert "another program" in refusal(lambda: GalleryStore.open(path, create=True))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("version", "words"), [(99, "newer edge_sim"), (0, "unknown gallery format 0")]
)
def test_a_format_of_another_time_is_refused(path: Path, version: int, words: str) -> None:
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {version}")
    other.close()
    for read_only in (False, True):
        assert words in refusal(lambda: GalleryStore.open(path, read_only=read_only))  # noqa: B023


def test_a_file_that_was_cut_short_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for kept in range(200, len(content), len(content) // 15):
        path.write_bytes(content[:kept])
        message = refusal(lambda: _read_all(path))
        assert "damaged" in message
        assert path.read_bytes() == content[:kept]
        for leftover in ("-wal", "-shm"):
            Path(f"{path}{leftover}").unlink(missing_ok=True)


def test_damage_anywhere_is_found_or_harmless(path: Path) -> None:
    """A flipped byte leads to an error, to a finding of `check`, or changes no content."""
    content = path.read_bytes()
    sound = _read_all(path)
    generator = np.random.default_rng(7)
    positions = set(generator.integers(100, len(content), 100).tolist())
    # Most of the file is pictures and room to grow; the texts get their own share.
    for word in (b"bowlopen", b"bowlshut", b"model@1", b'{"number"'):
        start = content.find(word)
        assert start > 0
        positions.update(range(start - 4, start + 30, 2))
    found = [_is_found_or_harmless(path, content, at, sound) for at in sorted(positions)]
    assert sum(found) > 60


def _is_found_or_harmless(path: Path, content: bytes, at: int, sound: list[object]) -> bool:
    damaged = bytearray(content)
    damaged[at] ^= 0x05
    path.write_bytes(damaged)
    try:
        with GalleryStore.open(path, read_only=True) as store:
            problems = store.check()
        now = _read_all(path)
    except GalleryError:
        return True
    assert problems or now == sound, f"damage at {at} changed the content unnoticed"
    return bool(problems)


def test_a_damaged_reference_is_named(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("UPDATE embeddings SET vector = zeroblob(32) WHERE id = 2")
    other.commit()
    other.close()
    with GalleryStore.open(path) as store:
        message = refusal(lambda: store.gallery("bowl"))
        assert "reference r2 is damaged" in message
        assert "edge-sim gallery verify" in message
        assert store.check() == ("the embedding of r2 is damaged: the checksum does not fit",)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("UPDATE pictures SET encoded = x'00' WHERE id = 1", "the picture of r1 is not the one"),
        ("UPDATE versions SET enrolled_at = 'once' WHERE ordinal = 1", "reference r1 is damaged"),
        ("UPDATE versions SET metadata = '[' WHERE ordinal = 1", "reference r1 is damaged"),
        ("UPDATE versions SET tags = x'ff' WHERE ordinal = 1", "reference r1 is damaged"),
        ("UPDATE revisions SET at = 'once' WHERE number = 2", "log entry of revision 2"),
        ("DELETE FROM pictures WHERE id = 1", "points at a missing row of pictures"),
        ("UPDATE embeddings SET grid = NULL WHERE id = 1", "embedding of r1 is damaged"),
    ],
)
def test_check_finds_what_was_tampered_with(path: Path, damage: str, finding: str) -> None:
    other = sqlite3.connect(path)
    other.execute(damage)
    other.commit()
    other.close()
    with GalleryStore.open(path, read_only=True) as store:
        assert any(finding in problem for problem in store.check())


def test_a_log_with_gaps_is_refused_when_the_file_is_opened(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("DELETE FROM revisions WHERE number = 1")
    other.commit()
    other.close()
    message = refusal(lambda: GalleryStore.open(path, read_only=True))
    assert "its log has 1 entries, and the last revision is 2" in message
    assert "edge-sim gallery restore" in message


def test_a_read_only_store_refuses_changes(path: Path) -> None:
    with GalleryStore.open(path, read_only=True) as store:
        assert "read-only" in refusal(lambda: store.add("bowl", [enrolled(4)]))
        assert len(store.gallery("bowl")) == 3


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that this process cannot write to; it gives up being root for the test."""
    folder = Path(tempfile.mkdtemp(prefix="edge_sim-test-"))
    with GalleryStore.open(folder / "gallery.db", create=True) as store:
        store.add("bowl", [enrolled(1)])
    (folder / "gallery.db").chmod(0o444)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_gallery_on_a_read_only_disk_can_be_read(read_only_folder: Path) -> None:
    with GalleryStore.open(read_only_folder / "gallery.db", read_only=True) as store:
        assert len(store.gallery("bowl")) == 1
        assert store.data_version() == store.data_version()


def test_a_gallery_on_a_read_only_disk_cannot_be_changed(read_only_folder: Path) -> None:
    def change() -> None:
        with GalleryStore.open(read_only_folder / "gallery.db") as store:
            store.remove(["r1"])

    message = refusal(change)
    assert "read-only" in message or "not readable and writable" in message


def test_a_gallery_cannot_be_made_on_a_read_only_disk(read_only_folder: Path) -> None:
    path = read_only_folder / "new.db"
    message = refusal(lambda: GalleryStore.open(path, create=True))
    assert "not readable and writable" in message or "read-only" in message
    assert not path.exists()


def test_a_full_disk_changes_nothing(path: Path) -> None:
    connection = open_database(path, create=False, read_only=False, timeout_s=1.0)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with GalleryStore(connection, path, lambda: 0.0) as store:
        message = refusal(lambda: store.add("bowl", [enrolled(n) for n in range(10, 30)]))
        assert "the disk is full; nothing was changed" in message
        assert len(store.gallery("bowl")) == 3
    with GalleryStore.open(path) as store:
        assert (store.revision, store.check()) == (2, ())
        store.add("bowl", [enrolled(4)])


def test_a_disk_that_fails_half_way_changes_nothing(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with GalleryStore.open(path) as store:
        store.tag(["r1"], add=["before"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limits[1]))
        try:
            message = refusal(lambda: store.add("bowl", [enrolled(n) for n in range(10, 90)]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "disk" in message
        assert store.revision == 3
    with GalleryStore.open(path) as store:
        assert (store.revision, len(store.gallery("bowl")), store.check()) == (3, 3, ())


def test_a_writer_that_holds_the_file_too_long_is_named(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with GalleryStore.open(path, timeout_s=0.01) as store:
        assert "another process" in refusal(lambda: store.remove(["r1"]))
        assert len(store.gallery("bowl")) == 3, "readers are not held up"
        other.execute("ROLLBACK")
        store.remove(["r1"])
    other.close()


def _read_all(path: Path) -> list[object]:
    with GalleryStore.open(path, read_only=True) as store:
        content: list[object] = [store.revision]
        for revision in range(store.revision + 1):
            content.append(store.records(revision=revision))
            for item in store.gallery("bowl", revision=revision):
                vector = item.embedding.vector.tobytes()
                content.append((vector, item.thumbnail.tobytes(), store.crop(item.reference_id)))
        return content


@pytest.mark.parametrize("value", ["text", 2**62, float("inf")])
def test_a_picture_that_is_no_picture_at_all_is_found(path: Path, value: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE pictures SET encoded = ? WHERE id = 1", (value,))
    with GalleryStore.open(path) as store:
        assert store.check()
        with pytest.raises(GalleryError, match="no picture at all"):
            store.crop("r1")
