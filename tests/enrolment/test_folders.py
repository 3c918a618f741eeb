"""A gallery goes out to folders, one per state, and comes back the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_sim.embedders import open_embedder
from edge_sim.enrolment import (
    Candidate,
    EnrolmentPlan,
    candidates_in,
    enrol,
    enrol_batches,
    export_states,
    states_in,
)
from edge_sim.errors import GalleryError, SourceError
from edge_sim.gallery_store import GalleryStore
from tests.enrolment.pictures import scene

EMBEDDER = open_embedder("thumbnail")


def filled(path: Path) -> GalleryStore:
    store = GalleryStore.open(path, create=True)
    for state, layouts in (("open", (1, 2)), ("shut", (3,))):
        found = [Candidate(f"{state} {n}", scene(n)) for n in layouts]
        enrol(store, EMBEDDER, found, plan=EnrolmentPlan("gate", state))
    return store


def test_what_was_exported_can_be_imported_to_the_same_references(tmp_path: Path) -> None:
    with filled(tmp_path / "a.db") as one, GalleryStore.open(tmp_path / "b.db", create=True) as two:
        records = export_states(one, "gate", tmp_path / "out")
        batches = [
            (EnrolmentPlan("gate", state), list(candidates_in([str(folder)])))
            for state, folder in states_in(tmp_path / "out").items()
        ]
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
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "open").mkdir()
    assert list(states_in(tmp_path)) == ["open"]
    (tmp_path / "no way").mkdir()
    with pytest.raises(GalleryError, match="'no way' cannot be the name of a state"):
        states_in(tmp_path)
