"""What is forgotten is gone from the disk, and cannot be brought back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.errors import GalleryError
from edge_sim.gallery.copies import back_up, restore
from edge_sim.gallery.import_export import export_states
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import enrolled, picture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed gallery of four references; r2 was relabelled, r3 removed."""
    place = tmp_path / "gallery.db"
    with GalleryStore.open(place, create=True) as store:
        store.add("bowl", [enrolled(number) for number in (1, 2, 3, 4)])
        store.relabel(["r2"], "shut")
        store.remove(["r3"])
    return place


def is_on_disk(path: Path, number: int) -> bool:
    body = picture(number)[60:-20]
    return any(
        body[:100] in item.read_bytes() or body[-100:] in item.read_bytes()
        for item in path.parent.iterdir()
    )


@pytest.mark.parametrize("reference", ["r1", "r2", "r3"])
def test_a_picture_that_is_forgotten_is_on_the_disk_no_more(path: Path, reference: str) -> None:
    number = int(reference[1:])
    with GalleryStore.open(path) as store:
        assert is_on_disk(path, number)
        revision = store.forget([reference])
        assert (revision.verb, revision.detail) == ("forget", reference)
        assert not is_on_disk(path, number), "also while the file is open"
        with pytest.raises(GalleryError):
            store.crop(reference)
        assert store.check() == ()
        assert is_on_disk(path, 4)
    assert not is_on_disk(path, number)


def test_undo_and_rollback_bring_nothing_back(path: Path) -> None:
    with GalleryStore.open(path) as store:
        store.forget(["r1", "r3"])
        store.rollback(1)
        assert [item.reference_id for item in store.records()] == ["r2", "r4"]
        store.undo()
        assert store.check() == ()


def test_an_id_is_not_given_again(path: Path) -> None:
    with GalleryStore.open(path) as store:
        store.forget(["r4"])
        revision = store.add("bowl", [enrolled(9)])
        assert revision.appeared == ("r5",)


def test_a_picture_that_another_reference_shows_stays(path: Path) -> None:
    with GalleryStore.open(path) as store:
        store.add("door", [enrolled(1)])
        store.forget(["r1"])
        assert store.crop("r5") == picture(1)
        assert store.check() == ()


def test_purge_deletes_what_no_present_reference_needs(path: Path) -> None:
    with GalleryStore.open(path) as store:
        before = store.records()
        revision = store.purge()
        assert revision is not None
        assert not is_on_disk(path, 3)
        assert store.records() == before
        assert store.check() == ()
        assert store.purge() is None


def test_who_never_was_cannot_be_forgotten(path: Path) -> None:
    with GalleryStore.open(path) as store:
        with pytest.raises(GalleryError, match="no reference 'r9'"):
            store.forget(["r1", "r9"])
        with pytest.raises(GalleryError, match="nothing to forget"):
            store.forget([])
        assert store.crop("r1") == picture(1)


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o640), (0o022, 0o640), (0o077, 0o600)])
def test_a_gallery_is_private_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "gallery.db"
    before = os.umask(umask)
    try:
        with GalleryStore.open(path, create=True) as store:
            store.add("bowl", [enrolled(1)])
            modes = {item.stat().st_mode & 0o777 for item in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {mode}


def test_exported_pictures_are_private_whatever_the_umask(path: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with GalleryStore.open(path) as store:
            export_states(store, "bowl", tmp_path / "out")
    finally:
        os.umask(before)
    pictures = list((tmp_path / "out").rglob("*.png"))
    assert pictures
    assert {item.stat().st_mode & 0o777 for item in pictures} == {0o640}


@pytest.mark.parametrize("verb", [["purge"], ["rm", "--forget", "r1"]], ids=lambda verb: verb[0])
def test_the_places_that_are_not_purged_are_named(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: list[str],
) -> None:
    monkeypatch.chdir(path.parent)
    arguments = ["gallery", *verb, "--gallery", "gallery.db"]
    assert main(arguments) == 0
    assert "copies, exports, explanations and review folders" in capsys.readouterr().err
    back_up(path, path.with_name("copy.db"))
    restore(path, path.with_name("copy.db"))
    Path("review").mkdir()
    Path("explanations.jsonl").write_text("")
    Path("config.yaml").write_text(
        "gallery: {path: gallery.db}\nsources: {cam: {uri: in}}\nwatches: {bowl: {}}\n"
        "review: {path: review}\nexplanations: {path: explanations.jsonl}\n"
    )
    assert main(["gallery", "purge", "-c", "config.yaml"]) == 0
    said = capsys.readouterr().err
    for place in ("gallery.db.before-restore-1", "explanations.jsonl", "review"):
        assert f"/{place}" in said
    assert "were not touched" in said
