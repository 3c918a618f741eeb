"""A copy takes the place of a gallery whole, and a mixture with an old log is recognised."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_sim.errors import GalleryError
from edge_sim.gallery.copies import back_up, restore
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import enrolled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed gallery of four references at revision 2."""
    place = tmp_path / "gallery.db"
    with GalleryStore.open(place, create=True) as store:
        store.add("bowl", [enrolled(1), enrolled(2)])
        store.add("bowl", [enrolled(3), enrolled(4, "shut")])
    return place


@contextmanager
def reader(path: Path) -> Iterator[None]:
    """Somebody who reads throughout: the log beside the file cannot be written back."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM revisions").fetchone()
    try:
        yield
    finally:
        connection.close()


def change(path: Path) -> None:
    with GalleryStore.open(path) as store:
        store.remove(["r1"])
        store.remove(["r2"])
        store.tag(["r3"], add=["x"])


def content(path: Path) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    with GalleryStore.open(path, read_only=True) as store:
        return store.revision, tuple(item.reference_id for item in store.records()), store.check()


ALL_FOUR = (2, ("r1", "r2", "r3", "r4"), ())
CHANGED = (5, ("r3", "r4"), ())


def mixed(path: Path, copy: Path, folder: Path, *, changes: int = 3) -> Path:
    """Return a copy of the past with the log of the present beside it."""
    with GalleryStore.open(path) as store:
        store.tag(["r4"], add=["in-the-file"])
    with reader(path), GalleryStore.open(path) as store:
        for number in range(changes):
            store.tag(["r3"], add=[f"t{number}"])
        folder.mkdir()
        shutil.copy(copy, folder / "gallery.db")
        shutil.copy(f"{path}-wal", folder / "gallery.db-wal")
    return folder / "gallery.db"


def test_after_a_change_the_log_beside_the_file_is_empty(path: Path) -> None:
    with GalleryStore.open(path) as store:
        store.remove(["r1"])
        assert Path(f"{path}-wal").stat().st_size == 0


@pytest.mark.parametrize("changes", [1, 3])
def test_a_copy_put_over_a_gallery_beside_its_log_is_recognised(
    path: Path, tmp_path: Path, changes: int
) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    place = mixed(path, copy, tmp_path / "there", changes=changes)
    for read_only in (True, False):
        with pytest.raises(GalleryError, match="gallery restore COPY") as caught:
            GalleryStore.open(place, read_only=read_only)
        assert "gallery.db-wal" in str(caught.value)
    assert place.read_bytes() == copy.read_bytes(), "the copy was not written over"
    assert restore(place, copy).revision == 2
    assert content(place) == ALL_FOUR


def test_the_copy_that_was_put_there_can_be_restored_in_its_own_place(
    path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    place = mixed(path, copy, tmp_path / "there")
    assert restore(place, place).revision == 2
    assert content(place) == ALL_FOUR


def test_a_log_of_another_gallery_is_recognised(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with GalleryStore.open(other, create=True) as store:
        for number in range(6):
            store.add("door", [enrolled(20 + number)])
    place = mixed(path, other, tmp_path / "there")
    with pytest.raises(GalleryError, match="gallery restore"):
        GalleryStore.open(place)


def test_a_gallery_that_is_copied_with_its_log_is_whole(path: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    with reader(path), GalleryStore.open(path) as store:
        store.remove(["r1"])
        store.remove(["r2"])
        store.tag(["r3"], add=["x"])
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", there / f"gallery.db{suffix}")
    assert content(there / "gallery.db") == CHANGED


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM versions WHERE ordinal = 4",
        "UPDATE versions SET until = NULL",
        "DELETE FROM embeddings WHERE id = 4",
        "DELETE FROM seals WHERE revision = 3",
    ],
)
def test_pages_of_two_revisions_are_recognised_when_the_file_is_opened(
    path: Path, statement: str
) -> None:
    with GalleryStore.open(path) as store:
        store.relabel(["r1"], "ajar")
    tampered = sqlite3.connect(path)
    if "until" in statement:
        tampered.execute("DROP INDEX versions_live")
        tampered.execute(statement)
        tampered.execute("UPDATE versions SET ordinal = id")
        tampered.execute(
            "CREATE UNIQUE INDEX versions_live ON versions (ordinal) WHERE until IS NULL"
        )
    else:
        tampered.execute(statement)
    tampered.commit()
    tampered.close()
    with pytest.raises(GalleryError, match="of different revisions"):
        GalleryStore.open(path)


def test_a_mixture_in_a_file_of_the_first_format_is_recognised_by_its_log(path: Path) -> None:
    first = sqlite3.connect(path)
    first.execute("DROP TABLE seals")
    first.execute("DELETE FROM versions WHERE ordinal = 4")
    first.execute("PRAGMA user_version = 1")
    first.commit()
    first.close()
    with pytest.raises(GalleryError, match="revision 2 added 2, 1 are there"):
        GalleryStore.open(path)


def test_a_gallery_of_the_first_format_is_read_and_brought_up_by_a_change(path: Path) -> None:
    first = sqlite3.connect(path)
    first.execute("DROP TABLE seals")
    first.execute("PRAGMA user_version = 1")
    first.commit()
    first.close()
    assert content(path) == ALL_FOUR
    change(path)
    assert content(path) == CHANGED
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA user_version").fetchone() == (2,)
    assert raw.execute("SELECT max(revision) FROM seals").fetchone() == (5,)
    raw.close()


def test_a_backup_is_one_sound_file_and_nothing_is_written_over(path: Path, tmp_path: Path) -> None:
    with reader(path):
        change(path)
        assert back_up(path, tmp_path / "copy.db") == 5
    assert content(tmp_path / "copy.db") == CHANGED
    assert (tmp_path / "copy.db").stat().st_mode & 0o137 == 0
    with pytest.raises(GalleryError, match="is there already"):
        back_up(path, tmp_path / "copy.db")
    with pytest.raises(GalleryError, match="no folder"):
        back_up(path, tmp_path / "nowhere" / "copy.db")
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]


def test_a_restore_is_seen_by_whoever_has_the_gallery_open(path: Path, tmp_path: Path) -> None:
    back_up(path, tmp_path / "copy.db")
    change(path)
    with GalleryStore.open(path, read_only=True) as open_store:
        seen = open_store.data_version()
        restored = restore(path, tmp_path / "copy.db")
        assert open_store.data_version() != seen
        assert open_store.revision == 2
    assert content(path) == ALL_FOUR
    assert restored.kept is not None
    assert content(restored.kept) == CHANGED, "what was there is kept"


def test_a_restore_holds_even_while_somebody_reads_the_old_state(
    path: Path, tmp_path: Path
) -> None:
    back_up(path, tmp_path / "copy.db")
    change(path)
    with reader(path):
        restore(path, tmp_path / "copy.db")
        assert content(path) == ALL_FOUR
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", crashed / f"gallery.db{suffix}")
    assert content(crashed / "gallery.db") == ALL_FOUR, "the power failed before the write-back"


def test_a_damaged_gallery_is_put_away_with_its_log(path: Path, tmp_path: Path) -> None:
    back_up(path, tmp_path / "copy.db")
    path.write_bytes(b"SQLite format 3\0" + bytes(8176) + path.read_bytes()[8192:])
    Path(f"{path}-wal").write_bytes(b"old log")
    restored = restore(path, tmp_path / "copy.db")
    assert content(path) == ALL_FOUR
    assert restored.kept is not None
    assert Path(f"{restored.kept}-wal").read_bytes() == b"old log"


def test_a_restore_into_nothing_makes_the_gallery(path: Path, tmp_path: Path) -> None:
    assert restore(tmp_path / "new.db", path).kept is None
    assert content(tmp_path / "new.db") == ALL_FOUR


def test_what_is_no_sound_gallery_is_not_restored(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    back_up(path, copy)
    damaged = sqlite3.connect(copy)
    damaged.execute("UPDATE pictures SET encoded = x'00' WHERE id = 2")
    damaged.commit()
    damaged.close()
    with pytest.raises(GalleryError, match="nothing was restored"):
        restore(path, copy)
    copy.write_bytes(b"hello")
    with pytest.raises(GalleryError, match="not a gallery file"):
        restore(path, copy)
    assert content(path) == ALL_FOUR


def test_a_database_of_another_program_is_no_place_to_restore_to(
    path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(GalleryError, match="another program"):
        restore(other, path)
    assert other.read_bytes() == before


def test_a_file_that_was_replaced_is_read_anew(path: Path, tmp_path: Path) -> None:
    with GalleryStore.open(tmp_path / "new.db", create=True) as store:
        store.add("door", [enrolled(9)])
    with GalleryStore.open(path, read_only=True) as store:
        seen = store.data_version()
        (tmp_path / "new.db").replace(path)
        assert store.data_version() != seen
        assert store.watches() == ("door",)


def test_a_change_of_a_file_that_is_gone_is_no_success(path: Path) -> None:
    with GalleryStore.open(path) as store:
        path.unlink()
        with pytest.raises(GalleryError, match="is gone"):
            store.add("bowl", [enrolled(9)])
        with pytest.raises(GalleryError, match="is gone"):
            store.data_version()


def test_a_change_during_which_the_file_goes_is_no_success(path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "moved.db"
    with GalleryStore.open(path) as store:
        with pytest.raises(GalleryError, match="moved, removed or replaced"):  # noqa: SIM117
            with store.changing("add", "1 to bowl (open)"):
                path.rename(kept)
        kept.rename(path)
        assert store.revision == 2


def put_over(copy: Path, path: Path) -> None:
    """Write a copy into the file that is there, as `cp` does."""
    with path.open("r+b") as file:
        file.write(copy.read_bytes())
        file.truncate()


@pytest.mark.parametrize("later", [0, 3, 40], ids=["same size", "a little later", "much later"])
@pytest.mark.parametrize("is_older", [True, False], ids=["older copy", "newer copy"])
def test_a_copy_written_over_an_open_gallery_is_read_and_changed_whole(
    path: Path, tmp_path: Path, later: int, is_older: bool
) -> None:
    copy = tmp_path / "copy.db"
    back_up(path, copy)
    grown = path if is_older else copy
    with GalleryStore.open(grown) as store:
        for number in range(later):
            store.add("bowl", [enrolled(100 + number)])
    with GalleryStore.open(path) as store:
        seen, loaded = store.data_version(), store.gallery("bowl")
        assert loaded
        put_over(copy, path)
        assert store.data_version() != seen
        assert store.revision == 2 + (0 if is_older else later)
        assert len(store.gallery("bowl")) == 4 + (0 if is_older else later)
        store.tag(["r1"], add=["new"])
        assert store.check() == ()
    with GalleryStore.open(path, read_only=True) as store:
        assert store.record("r1").tags == ("new",)
        assert store.check() == ()


def test_a_change_over_a_copy_that_was_just_written_there_is_made_in_the_copy(
    path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    back_up(path, copy)
    with GalleryStore.open(path) as store:
        store.remove(["r1", "r2", "r3"])
        assert len(store.gallery("bowl")) == 1
        put_over(copy, path)
        store.add("bowl", [enrolled(9)])
        assert (store.revision, len(store.records()), store.check()) == (3, 5, ())


def test_own_changes_and_those_of_others_are_no_copies(path: Path) -> None:
    with GalleryStore.open(path) as store:
        before = store.data_version()
        store.tag(["r1"], add=["mine"])
        assert store.data_version() == before
        change(path)
        assert store.data_version() >> 32 == before >> 32
        assert store.revision == 6


def test_something_else_written_over_an_open_gallery_is_one_line(path: Path) -> None:
    with GalleryStore.open(path) as store:
        assert store.gallery("bowl")
        path.write_bytes(b"no gallery at all" * 1000)
        with pytest.raises(GalleryError, match="is not a gallery file"):
            store.gallery("bowl")
        with pytest.raises(GalleryError, match="is not a gallery file"):
            store.add("bowl", [enrolled(9)])
    assert path.read_bytes() == b"no gallery at all" * 1000
