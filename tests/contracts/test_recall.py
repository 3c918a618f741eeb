"""Contract of `gallery.ReferenceLoader`: references read again for those who kept the summary."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.records import Reworked
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import embedding, enrolled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


@pytest.fixture(params=["memory", "file"])
def gallery(request: pytest.FixtureRequest, path: Path) -> Gallery:
    with GalleryStore.open(path, create=True) as store:
        store.add("bowl", [enrolled(number, "food") for number in range(4)])
        found = store.gallery("bowl")
    return found if request.param == "file" else Gallery(found.references, revision=found.revision)


def test_what_is_asked_for_comes_as_it_was(gallery: Gallery) -> None:
    found = gallery.summary().recall(["r3", "r1"])
    assert set(found) == {"r3", "r1"}
    for name, reference in found.items():
        assert (reference.reference_id, reference.state) == (name, "food")
        np.testing.assert_array_equal(reference.thumbnail, gallery[name].thumbnail)
        np.testing.assert_array_equal(reference.embedding.vector, gallery[name].embedding.vector)


def test_what_never_was_is_left_out(gallery: Gallery) -> None:
    assert set(gallery.summary().recall(["r1", "r99", "", "x", "r" + "9" * 40])) == {"r1"}
    assert gallery.summary().recall([]) == {}


def test_any_thread_may_ask(gallery: Gallery) -> None:
    recall = gallery.summary().recall
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: set(recall(["r2"])), range(8)))
    assert found == [{"r2"}] * 8


def test_it_is_of_the_revision_that_was_read(path: Path) -> None:
    with GalleryStore.open(path, create=True) as store:
        store.add("bowl", [enrolled(1, "food"), enrolled(2, "food")])
        recall = store.gallery("bowl").summary().recall
        before = recall(["r1", "r2"])
        store.remove(["r1"])
        store.rework([Reworked("r2", embedding(9), enrolled(9).thumbnail)])
        store.relabel(["r2"], "empty")
        store.add("bowl", [enrolled(3, "food")])
        after = recall(["r1", "r2", "r3"])
    assert set(after) == {"r1", "r2"}
    for name, reference in after.items():
        assert reference.state == "food"
        np.testing.assert_array_equal(reference.embedding.vector, before[name].embedding.vector)


@pytest.mark.parametrize("fault", ["gone", "junk", "other"])
def test_a_file_that_cannot_be_read_any_more_is_said_and_no_error(
    path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    with GalleryStore.open(path, create=True) as store:
        store.add("bowl", [enrolled(1, "food")])
        recall = store.gallery("bowl").summary().recall
    path.unlink()
    if fault == "junk":
        path.write_bytes(b"junk" * 5000)
    if fault == "other":
        GalleryStore.open(path, create=True).close()
    with caplog.at_level(logging.WARNING):
        assert recall(["r1"]) == {}
    assert ("cannot be read again" in caplog.text) == (fault != "other")
