"""Places that cannot be accessed, and names that are too long or no text, of every verb."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_sim.errors import EdgeSimError, GalleryError, SearchError
from edge_sim.gallery.copies import back_up, restore
from edge_sim.gallery.import_export import export_states, states_in
from edge_sim.gallery.store import GalleryStore
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from tests.gallery.builders import enrolled

LONG = "x" * 300
LATIN = os.fsdecode(b"caf\xe9")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A gallery of one reference."""
    place = tmp_path / "gallery.db"
    with GalleryStore.open(place, create=True) as store:
        store.add("bowl", [enrolled(1)])
    return place


def export(path: Path, folder: Path) -> None:
    with GalleryStore.open(path, read_only=True) as store:
        export_states(store, "bowl", folder)


GALLERY_VERBS: dict[str, Callable[[Path, Path], object]] = {
    "open": lambda path, other: GalleryStore.open(other),
    "create": lambda path, other: GalleryStore.open(other, create=True),
    "create below": lambda path, other: GalleryStore.open(other / "g.db", create=True),
    "backup to": back_up,
    "backup below": lambda path, other: back_up(path, other / "copy.db"),
    "backup of": lambda path, other: back_up(other, path.with_name("copy.db")),
    "restore of": restore,
    "restore to": lambda path, other: restore(other, path),
    "export": export,
}
INDEX_VERBS: dict[str, Callable[[Path], object]] = {
    "open": IndexStore.open,
    "create": lambda other: IndexStore.open(other, create=IndexPlan(other.parent, "m@1")),
    "create below": lambda other: IndexStore.open(
        other / "i", create=IndexPlan(other.parent, "m@1")
    ),
}


@pytest.fixture(params=["too long", "closed"])
def denied(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place that the system denies: its name is too long, or its folder may not be entered."""
    if request.param == "too long":
        return tmp_path / LONG
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    real = os.stat

    def stat(path: str | Path, **options: int) -> os.stat_result:
        if closed in (Path(path), *Path(path).parents) and Path(path) != closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)
    return closed / "place"


def refused(attempt: Callable[[], object], kind: type[EdgeSimError], place: Path) -> None:
    with pytest.raises(kind) as caught:
        attempt()
    text = str(caught.value)
    assert "\n" not in text
    assert text.count(str(place)) == 1
    assert "too long" in text or "permission" in text.lower()


@pytest.mark.parametrize("verb", GALLERY_VERBS)
def test_a_gallery_in_a_denied_place_is_one_line(path: Path, denied: Path, verb: str) -> None:
    refused(lambda: GALLERY_VERBS[verb](path, denied), GalleryError, denied)
    with GalleryStore.open(path, read_only=True) as store:
        assert (store.check(), store.revision) == ((), 1)


@pytest.mark.parametrize("verb", INDEX_VERBS)
def test_an_index_in_a_denied_place_is_one_line(denied: Path, verb: str) -> None:
    refused(lambda: INDEX_VERBS[verb](denied), SearchError, denied)


def test_folders_to_import_in_a_denied_place_are_one_line(denied: Path) -> None:
    refused(lambda: states_in(denied), EdgeSimError, denied)


def test_names_that_are_no_text_are_taken(tmp_path: Path, path: Path) -> None:
    copy, folder = tmp_path / f"{LATIN}.db", tmp_path / LATIN
    assert back_up(path, copy) == 1
    assert restore(copy, path).revision == 1
    export(copy, folder)
    assert set(states_in(folder)) == {"open"}
    plan = IndexPlan(folder, "m@1", model=LATIN)
    with IndexStore.open(tmp_path / f"{LATIN}.index", create=plan) as store:
        assert (store.plan.root, store.plan.model) == (folder, LATIN)
