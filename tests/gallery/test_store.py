"""The gallery file gives back what was put in, and every revision can be rebuilt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.core.types import THUMBNAIL_PX, Embedding
from edge_sim.errors import GalleryError
from edge_sim.gallery.records import Enrolled, Reworked
from edge_sim.gallery.store import GalleryStore
from tests import strategies
from tests.gallery.builders import AT, embedding, enrolled, picture


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GalleryStore]:
    ticks = itertools.count(1_700_000_000)
    with GalleryStore.open(
        tmp_path / "gallery.db", create=True, clock=lambda: float(next(ticks))
    ) as opened:
        yield opened


def ids(store: GalleryStore, *, watch: str | None = None, state: str | None = None) -> list[str]:
    return [record.reference_id for record in store.records(watch=watch, state=state)]


@settings(max_examples=20)
@given(items=st.lists(strategies.enrolled(), min_size=1, max_size=5), watch=strategies.names)
def test_what_was_put_in_comes_out_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, items: list[Enrolled], watch: str
) -> None:
    path = tmp_path_factory.mktemp("store") / "gallery.db"
    with GalleryStore.open(path, create=True) as writer:
        added = writer.add(watch, items).appeared
    with GalleryStore.open(path, read_only=True) as reader:
        assert reader.check() == () or all("cannot be decoded" in line for line in reader.check())
        gallery = reader.gallery(watch, model_id=strategies.MODEL)
        assert [reference.reference_id for reference in gallery] == list(added)
        for reference, item in zip(gallery, items, strict=True):
            assert reference.state == item.state
            assert reference.condition == item.condition
            assert reference.enrolled_at == item.enrolled_at
            assert reference.metadata == item.metadata
            assert reference.embedding.model_id == item.embedding.model_id
            np.testing.assert_array_equal(reference.embedding.vector, item.embedding.vector)
            np.testing.assert_array_equal(reference.embedding.spatial, item.embedding.spatial)
            np.testing.assert_array_equal(reference.thumbnail, item.thumbnail)
            assert reader.crop(reference.reference_id) == item.crop


def test_a_new_file_is_an_empty_gallery_at_revision_0(store: GalleryStore) -> None:
    assert (store.revision, store.watches(), store.records(), store.log()) == (0, (), (), ())
    gallery = store.gallery("bowl", model_id="any@1")
    assert (len(gallery), gallery.revision) == (0, 0)


def test_arrays_that_come_out_cannot_be_written_to(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1)])
    (reference,) = store.gallery("bowl")
    assert not reference.thumbnail.flags.writeable
    assert not reference.embedding.vector.flags.writeable


def test_watches_do_not_see_each_other(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1, "food")])
    store.add("gate", [enrolled(2, "open"), enrolled(3, "shut")])
    assert store.watches() == ("bowl", "gate")
    assert [item.reference_id for item in store.gallery("gate")] == ["r2", "r3"]
    assert ids(store, watch="bowl") == ["r1"]
    assert ids(store, state="shut") == ["r3"]
    assert len(store.gallery("door")) == 0


def test_a_change_is_one_revision_with_time_verb_and_ids(store: GalleryStore) -> None:
    revision = store.add("bowl", [enrolled(1), enrolled(2)])
    assert (revision.number, revision.verb) == (1, "add")
    assert revision.appeared == ("r1", "r2")
    assert revision.at.timestamp() == 1_700_000_000
    assert revision.at.utcoffset() is not None
    assert store.log() == (revision,)


def test_the_log_has_the_newest_first_and_can_be_cut(store: GalleryStore) -> None:
    for number in range(4):
        store.add("bowl", [enrolled(number)])
    assert [item.number for item in store.log()] == [4, 3, 2, 1]
    assert [item.number for item in store.log(limit=2)] == [4, 3]


def test_a_gallery_of_the_past_can_be_had(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1), enrolled(2)])
    store.remove(["r1"])
    store.relabel(["r2"], "shut")
    assert [item.reference_id for item in store.gallery("bowl", revision=1)] == ["r1", "r2"]
    assert [item.state for item in store.gallery("bowl", revision=2)] == ["open"]
    assert [item.state for item in store.gallery("bowl")] == ["shut"]
    assert store.gallery("bowl", revision=1).revision == 1
    assert len(store.gallery("bowl", revision=0)) == 0


@pytest.mark.parametrize("revision", [-1, 2, 10**9])
def test_a_revision_that_never_was_is_refused(store: GalleryStore, revision: int) -> None:
    store.add("bowl", [enrolled(1)])
    with pytest.raises(GalleryError, match=f"no revision {revision}; the gallery is at 1"):
        store.gallery("bowl", revision=revision)
    with pytest.raises(GalleryError, match=f"no revision {revision}"):
        store.diff(0, revision)


def test_removed_references_are_gone_but_their_pictures_are_kept_for_undo(
    store: GalleryStore,
) -> None:
    store.add("bowl", [enrolled(1), enrolled(2)])
    assert store.remove(["r1"]).gone == ("r1",)
    assert ids(store) == ["r2"]
    assert store.crop("r1") == picture(1)


def test_an_id_is_never_given_twice(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1)])
    store.undo()
    assert store.add("bowl", [enrolled(2)]).appeared == ("r2",)


@pytest.mark.parametrize("missing", ["r9", "", "r", "x1", "r-1", "r1x", "r" + "9" * 40, "r²"])
def test_a_change_that_names_a_missing_reference_changes_nothing(
    store: GalleryStore, missing: str
) -> None:
    store.add("bowl", [enrolled(1), enrolled(2)])
    changes: list[Callable[[], object]] = [
        lambda: store.remove(["r1", missing]),
        lambda: store.relabel(["r1", missing], "shut"),
        lambda: store.move(["r1", missing], "gate"),
        lambda: store.tag(["r1", missing], add=["night"]),
        lambda: store.rework([Reworked(missing, embedding(1), enrolled(1).thumbnail)]),
        lambda: store.record(missing),
    ]
    for change in changes:
        with pytest.raises(GalleryError, match="no reference"):
            change()
    assert store.revision == 1
    assert ids(store, watch="bowl", state="open") == ["r1", "r2"]


def test_a_change_of_nothing_is_refused(store: GalleryStore) -> None:
    with pytest.raises(GalleryError, match="nothing to add"):
        store.add("bowl", [])
    with pytest.raises(GalleryError, match="nothing to change"):
        store.remove([])
    assert store.revision == 0


@pytest.mark.parametrize("name", ["", "a b", "unknown", "none", "x" * 65])
def test_names_are_checked_before_anything_is_written(store: GalleryStore, name: str) -> None:
    store.add("bowl", [enrolled(1)])
    changes: list[Callable[[], object]] = [
        lambda: store.add(name, [enrolled(2)]),
        lambda: store.relabel(["r1"], name),
        lambda: store.move(["r1"], name),
        lambda: store.tag(["r1"], add=[name]),
    ]
    for change in changes:
        with pytest.raises(GalleryError, match="cannot be the name"):
            change()
    assert store.revision == 1


def test_relabel_move_and_tag_keep_the_place_in_the_order(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(number) for number in range(3)])
    assert store.relabel(["r1"], "shut").altered == ("r1",)
    store.tag(["r2"], add=["night", "snow", "night"])
    store.tag(["r2"], drop=["snow", "never"])
    assert ids(store) == ["r1", "r2", "r3"]
    assert store.record("r1").state == "shut"
    assert store.record("r2").tags == ("night",)
    store.move(["r2"], "gate")
    assert store.watches() == ("bowl", "gate")
    assert ids(store, watch="bowl") == ["r1", "r3"]


def test_a_gallery_of_another_model_is_refused_with_both_names_and_the_way_out(
    store: GalleryStore,
) -> None:
    store.add("bowl", [enrolled(1, model_id="old@1")])
    with pytest.raises(GalleryError, match=r"old@1, not with new@2.*edge-sim gallery reembed"):
        store.gallery("bowl", model_id="new@2")
    with pytest.raises(GalleryError, match=r"new@2 and old@1.*edge-sim gallery reembed"):
        store.add("bowl", [enrolled(2, model_id="new@2")])
    store.add("gate", [enrolled(2, model_id="new@2")])
    with pytest.raises(GalleryError, match="mix"):
        store.move(["r2"], "bowl")
    assert store.revision == 2


def test_rework_replaces_the_embedding_and_undo_brings_the_old_one_back(
    store: GalleryStore,
) -> None:
    store.add("bowl", [enrolled(1, model_id="old@1"), enrolled(2, model_id="old@1")])
    new = [
        Reworked(name, embedding(7 + at, model_id="new@2", dimension=4), enrolled(9).thumbnail)
        for at, name in enumerate(["r1", "r2"])
    ]
    with pytest.raises(GalleryError, match="mix"):
        store.rework(new[:1])
    assert store.rework(new).altered == ("r1", "r2")
    gallery = store.gallery("bowl", model_id="new@2")
    np.testing.assert_array_equal(gallery.matrix[0], new[0].embedding.vector)
    assert store.crop("r1") == picture(1)
    store.undo()
    np.testing.assert_array_equal(
        store.gallery("bowl", model_id="old@1").matrix[1], embedding(2).vector
    )


def test_the_same_picture_is_stored_once(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1, side_px=200)])
    before = store.path.stat().st_size + _wal(store.path)
    for number in range(5):
        store.add(f"watch{number}", [enrolled(1, side_px=200)])
    assert store.path.stat().st_size + _wal(store.path) - before < 4 * len(picture(1, 200))


def _wal(path: Path) -> int:
    wal = Path(f"{path}-wal")
    return wal.stat().st_size if wal.exists() else 0


def test_undo_walks_back_change_by_change_and_is_itself_a_revision(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1)])
    store.add("bowl", [enrolled(2)])
    store.relabel(["r1"], "shut")
    assert store.undo().altered == ("r1",)
    assert store.record("r1").state == "open"
    assert store.undo().gone == ("r2",)
    assert store.undo().gone == ("r1",)
    assert store.records() == ()
    with pytest.raises(GalleryError, match="no change to undo"):
        store.undo()
    assert store.revision == 6
    assert [item.verb for item in store.log(limit=3)] == ["undo"] * 3
    assert store.log(limit=1)[0].detail == "revision 1"


def test_undo_after_a_new_change_takes_that_one_back_first(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1)])
    store.add("bowl", [enrolled(2)])
    store.undo()
    store.add("bowl", [enrolled(3)])
    store.undo()
    assert ids(store) == ["r1"]
    store.undo()
    assert ids(store) == []


def test_rollback_rebuilds_and_can_be_undone(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1), enrolled(2)])
    store.remove(["r1"])
    store.add("bowl", [enrolled(3)])
    revision = store.rollback(1)
    assert (revision.appeared, revision.gone) == (("r1",), ("r3",))
    assert ids(store) == ["r1", "r2"]
    store.undo()
    assert ids(store) == ["r2", "r3"]
    store.rollback(0)
    assert ids(store) == []


@pytest.mark.parametrize("revision", [-1, 2, 3, 10**9])
def test_rollback_to_the_present_or_the_future_is_refused(
    store: GalleryStore, revision: int
) -> None:
    store.add("bowl", [enrolled(1)])
    store.add("bowl", [enrolled(2)])
    with pytest.raises(GalleryError, match=f"cannot roll back to revision {revision}"):
        store.rollback(revision)
    assert store.revision == 2


def test_diff_tells_what_came_went_and_changed(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1), enrolled(2)])
    store.add("bowl", [enrolled(3)])
    store.remove(["r1"])
    store.relabel(["r2"], "shut")
    found = store.diff(1, 4)
    assert [item.reference_id for item in found.appeared] == ["r3"]
    assert [item.reference_id for item in found.gone] == ["r1"]
    assert [(item.before.state, item.after.state) for item in found.altered] == [("open", "shut")]
    back = store.diff(4, 1)
    assert [item.reference_id for item in back.appeared] == ["r1"]


def test_diff_of_a_change_and_its_undo_is_nothing(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1)])
    store.relabel(["r1"], "shut")
    store.undo()
    found = store.diff(1, 3)
    assert (found.appeared, found.gone, found.altered) == ((), (), ())


def test_the_data_version_tells_of_changes_by_others_only(store: GalleryStore) -> None:
    store.add("bowl", [enrolled(1)])
    with GalleryStore.open(store.path, read_only=True) as reader:
        seen = reader.data_version()
        assert reader.data_version() == seen
        store.remove(["r1"])
        assert reader.data_version() != seen
        assert len(reader.gallery("bowl")) == 0
        own = store.data_version()
        store.undo()
        assert store.data_version() == own


def test_a_closed_store_says_so_and_closing_twice_is_fine(store: GalleryStore) -> None:
    store.close()
    store.close()
    assert "closed" in repr(store)
    with pytest.raises(GalleryError, match="is closed"):
        store.records()
    with pytest.raises(GalleryError, match="is closed"):
        store.add("bowl", [enrolled(1)])


def test_an_enrolled_picture_needs_crop_thumbnail_and_time_zone() -> None:
    good = enrolled(1)
    side = THUMBNAIL_PX
    for change, message in (
        ({"crop": b""}, "needs its crop"),
        ({"thumbnail": np.zeros((side, 4), np.uint8)}, "thumbnail must be"),
        ({"thumbnail": np.zeros((side, side), np.float32)}, "thumbnail must be"),
        ({"enrolled_at": AT.replace(tzinfo=None)}, "time zone"),
    ):
        values = {name: getattr(good, name) for name in good.__slots__}
        with pytest.raises(ValueError, match=message):
            Enrolled(**{**values, **change})


def test_a_model_without_spatial_descriptor_is_stored_as_such(store: GalleryStore) -> None:
    flat = Embedding(embedding(1).vector, None, "flat@1")
    item = enrolled(1)
    values = {name: getattr(item, name) for name in item.__slots__}
    store.add("bowl", [Enrolled(**{**values, "embedding": flat})])
    (reference,) = store.gallery("bowl")
    assert reference.embedding.spatial is None
    assert store.check() == ()
