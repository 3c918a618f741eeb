"""A gallery goes out to folders, one per state, and comes back the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_sim.core.types import Roi
from edge_sim.errors import GalleryError, SourceError
from edge_sim.gallery.candidates import EnrolmentCandidate, Unreadable
from edge_sim.gallery.enrolment import Batch, EnrolmentPlan, enrol, enrol_batches
from edge_sim.gallery.import_export import export_states, pictures_of, state_name, states_in
from edge_sim.gallery.store import GalleryStore
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region
from tests.gallery.pictures import saved, scene

EMBEDDER = open_embedder("thumbnail")


def imported(folder: Path, *, region: Region | None = None) -> list[Batch]:
    return [
        (EnrolmentPlan("gate", state, region or Region()), list(pictures_of(folder, folders)))
        for state, folders in states_in(folder).items()
    ]


def filled(path: Path) -> GalleryStore:
    store = GalleryStore.open(path, create=True)
    for state, layouts in (("open", (1, 2)), ("shut", (3,))):
        found = [EnrolmentCandidate(f"{state} {n}", scene(n)) for n in layouts]
        enrol(store, EMBEDDER, found, plan=EnrolmentPlan("gate", state))
    return store


def test_what_was_exported_can_be_imported_to_the_same_references(tmp_path: Path) -> None:
    with filled(tmp_path / "a.db") as one, GalleryStore.open(tmp_path / "b.db", create=True) as two:
        records = export_states(one, "gate", tmp_path / "out")
        batches = imported(tmp_path / "out")
        report = enrol_batches(two, EMBEDDER, batches)
        assert len(records) == len(report.accepted) == 3
        np.testing.assert_array_equal(one.gallery("gate").matrix, two.gallery("gate").matrix)
        assert one.gallery("gate").states == two.gallery("gate").states


def test_the_export_has_a_folder_per_state_and_a_list(tmp_path: Path) -> None:
    with filled(tmp_path / "a.db") as store:
        export_states(store, "gate", tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert names == ["open/r1.png", "open/r2.png", "shut/r3.png"]
    listed = json.loads((out / "references.json").read_text())
    assert [item["reference_id"] for item in listed["references"]] == ["r1", "r2", "r3"]


def test_an_export_never_writes_into_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with filled(tmp_path / "a.db") as store:
        with pytest.raises(GalleryError, match="is not empty"):
            export_states(store, "gate", tmp_path / "out")
        with pytest.raises(GalleryError, match="cannot write"):
            export_states(store, "gate", tmp_path / "out" / "mine.txt")
        with pytest.raises(GalleryError, match="no references"):
            export_states(store, "door", tmp_path / "other")
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert not (tmp_path / "other").exists()


def test_a_folder_without_folders_or_with_an_impossible_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folders"):
        states_in(tmp_path)
    with pytest.raises(SourceError, match="No such file"):
        states_in(tmp_path / "gone")
    saved(tmp_path / ".hidden", "1.png", scene(1))
    saved(tmp_path / "open", "1.png", scene(1))
    (tmp_path / "empty").mkdir()
    assert list(states_in(tmp_path)) == ["open"]
    for name in ("開", "none", "Unknown", "x" * 65):
        saved(tmp_path / name, "1.png", scene(1))
        with pytest.raises(GalleryError, match=r"rename the folder"):
            states_in(tmp_path)
        (tmp_path / name / "1.png").unlink()


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("Class 1", "Class_1"),
        ("öffen!", "offen"),
        ("a\nb", "a_b"),
        ("--x--", "--x--"),
        ("1.5 bar", "1_5_bar"),
        ("../up", "up"),
    ],
)
def test_the_name_of_a_folder_becomes_that_of_a_state(name: str, state: str) -> None:
    assert state_name(name) == state


def test_two_folders_never_become_one_state_unseen(tmp_path: Path) -> None:
    for name in ("a b", "a_b"):
        saved(tmp_path / name, "1.png", scene(1))
    with pytest.raises(GalleryError, match="'a b' and 'a_b' would both be the state 'a_b'"):
        states_in(tmp_path)


LAYOUTS = {
    "plain": ["open/1.png", "shut/1.png", "notes.txt"],
    "frigate": ["dataset/open/1.webp", "dataset/shut/1.png", "train/16-open-0.9.webp"],
    "teachable machine": ["open-samples/0.jpg", "shut-samples/0.jpg", "__MACOSX/x/0.jpg"],
    "hidden files": ["open/1.png", "shut/1.png", "shut/._1.png", "thumbs/._1.png"],
}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=list(LAYOUTS))
def test_layouts_of_other_programs_drop_in(tmp_path: Path, files: list[str]) -> None:
    for layout, file in enumerate(files, 1):
        path = tmp_path / file
        if path.suffix == ".txt":
            path.write_text("nothing")
        else:
            saved(path.parent, path.name, scene(layout))
    found = states_in(tmp_path)
    assert list(found) == ["open", "shut"]
    for folders in found.values():
        (picture,) = pictures_of(tmp_path, folders)
        assert isinstance(picture, EnrolmentCandidate)


def test_the_layout_of_anomalib_gives_good_and_every_defect(tmp_path: Path) -> None:
    files = ("train/good/0", "test/good/0", "test/cut/0", "test/hole/0", "ground_truth/cut/0_mask")
    for layout, file in enumerate(files, 1):
        path = tmp_path / f"{file}.png"
        saved(path.parent, path.name, scene(layout))
    found = states_in(tmp_path)
    assert {
        state: len(list(pictures_of(tmp_path, folders))) for state, folders in found.items()
    } == {"cut": 1, "good": 2, "hole": 1}


def test_links_that_lead_in_circles_do_no_harm(tmp_path: Path) -> None:
    saved(tmp_path / "open", "1.png", scene(1))
    (tmp_path / "open" / "again").symlink_to(tmp_path)
    (tmp_path / "open" / "2.png").symlink_to("2.png")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "up").symlink_to(tmp_path)
    found = states_in(tmp_path)
    assert list(found) == ["open"]
    picture, link = pictures_of(tmp_path, found["open"])
    assert isinstance(picture, EnrolmentCandidate)
    assert isinstance(link, Unreadable)
    assert "symbolic links" in link.fault


def test_an_import_brings_back_all_that_an_export_knew(tmp_path: Path) -> None:
    plan = EnrolmentPlan("gate", "open", Region(Roi(0.0, 0.0, 0.5, 1.0)), metadata={"by": "Ann"})
    with GalleryStore.open(tmp_path / "a.db", create=True) as one:
        enrol(
            one, EMBEDDER, [EnrolmentCandidate("cam#1", scene(1), 1e9)], plan=plan, now=lambda: 2e9
        )
        one.tag(["r1"], add=["night"])
        (record,) = export_states(one, "gate", tmp_path / "out")
        vectors = one.gallery("gate").matrix
    with GalleryStore.open(tmp_path / "b.db", create=True) as two:
        enrol_batches(two, EMBEDDER, imported(tmp_path / "out", region=plan.region))
        (again,) = two.records()
        assert (again.metadata, again.tags) == (record.metadata, record.tags)
        assert again.enrolled_at == record.enrolled_at
        assert again.metadata["from"] == "cam#1"
        np.testing.assert_array_equal(two.gallery("gate").matrix, vectors)  # not cropped twice
        assert two.revision == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nonsense", "no list of references"),
        ('{"schema": 1, "references": [{"reference_id": "r1"}]}', "no list of references"),
        ('{"schema": 2, "references": []}', "schema 2"),
        (None, "no time zone"),
    ],
)
def test_a_damaged_list_is_named_and_nothing_is_imported(
    tmp_path: Path, content: str | None, words: str
) -> None:
    with filled(tmp_path / "a.db") as store:
        export_states(store, "gate", tmp_path / "out")
    path = tmp_path / "out" / "references.json"
    path.write_text(
        path.read_text().replace("+00:00", "").replace("Z", "") if content is None else content
    )
    with GalleryStore.open(tmp_path / "b.db", create=True) as two:
        with pytest.raises(GalleryError, match=words):
            enrol_batches(two, EMBEDDER, imported(tmp_path / "out"))
        assert two.revision == 0


def test_a_list_cannot_smuggle_what_is_not_printable(tmp_path: Path) -> None:
    with filled(tmp_path / "a.db") as store:
        export_states(store, "gate", tmp_path / "out")
    path = tmp_path / "out" / "references.json"
    path.write_text(path.read_text().replace("open 1", r"a\u001b[2Jb\nc"))
    with GalleryStore.open(tmp_path / "b.db", create=True) as two:
        enrol_batches(two, EMBEDDER, imported(tmp_path / "out"))
        assert two.records()[0].metadata["from"] == r"a\x1b[2Jb\nc"


def test_a_name_that_a_terminal_would_obey_is_escaped_in_the_error(tmp_path: Path) -> None:
    folder = tmp_path / "in\x1b[2J"
    folder.mkdir()
    with pytest.raises(SourceError) as caught:
        states_in(folder)
    assert str(caught.value).isprintable()
