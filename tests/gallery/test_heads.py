"""A learned head is part of the gallery's history, and holds only for what it was learned from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_sim.analysis.adaptation import fit_head
from edge_sim.errors import GalleryError
from edge_sim.gallery.head import Head
from edge_sim.gallery.heads import KeptHead, keep_heads, kept_head
from edge_sim.gallery.records import Reworked
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import embedding, enrolled


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GalleryStore]:
    with GalleryStore.open(tmp_path / "g.db", create=True) as store:
        store.add("gate", [enrolled(n, "open" if n % 2 else "closed") for n in range(8)])
        yield store


def learn(store: GalleryStore, watch: str = "gate") -> Head:
    head = fit_head(store.gallery(watch))
    keep_heads(store, {watch: head}, revision=store.revision, detail="gate")
    return head


def kept(store: GalleryStore, revision: int | None = None) -> KeptHead | None:
    return kept_head(store, "gate", store.gallery("gate", revision=revision))


def in_force(store: GalleryStore) -> Head:
    found = kept(store)
    assert found is not None
    assert found.outdated is None
    return found.head


def outdated(store: GalleryStore) -> str:
    found = kept(store)
    assert found is not None
    return str(found.outdated)


def test_a_head_comes_back_as_it_was_learned(store: GalleryStore) -> None:
    head = learn(store)
    found = in_force(store)
    probe = embedding(99)
    np.testing.assert_array_equal(found.adapted(probe).vector, head.adapted(probe).vector)
    assert store.check() == ()
    assert (found.states, found.model_id) == (("closed", "open"), head.model_id)


def test_a_head_for_a_model_without_cells_comes_back_too(store: GalleryStore) -> None:
    flat = [replace(enrolled(n, "open" if n % 2 else "closed")) for n in range(20, 28)]
    flat = [replace(item, embedding=replace(item.embedding, spatial=None)) for item in flat]
    store.add("door", flat)
    head = learn(store, "door")
    found = kept_head(store, "door", store.gallery("door"))
    assert found is not None
    assert found.head.cells is None
    np.testing.assert_array_equal(found.head.vector.weights, head.vector.weights)


def test_learning_is_one_revision_that_can_be_undone(store: GalleryStore) -> None:
    learn(store)
    assert [(item.number, item.verb) for item in store.log()] == [(2, "adapt"), (1, "add")]
    store.undo()
    assert kept(store) is None
    assert len(store.gallery("gate")) == 8
    store.rollback(2)
    in_force(store)


def test_undo_brings_the_older_head_back(store: GalleryStore) -> None:
    older = learn(store)
    store.add("gate", [enrolled(50, "open")])
    learn(store)
    store.undo()
    np.testing.assert_array_equal(in_force(store).bias, older.bias)


def test_undoing_something_else_leaves_the_head(store: GalleryStore) -> None:
    learn(store)
    store.add("gate", [enrolled(50, "open")])
    store.undo()
    in_force(store)
    store.rollback(1)
    assert kept(store) is None


def test_a_head_can_be_looked_up_as_it_was(store: GalleryStore) -> None:
    learn(store)
    assert kept(store, revision=1) is None
    store.undo()
    assert kept(store) is None
    assert kept(store, revision=2) is not None


def test_a_head_can_be_taken_out(store: GalleryStore) -> None:
    learn(store)
    keep_heads(store, {"gate": None}, revision=2, detail="gate taken out")
    assert kept(store) is None
    assert kept(store, revision=2) is not None


def test_more_references_of_the_same_states_leave_the_head_in_force(store: GalleryStore) -> None:
    learn(store)
    store.add("gate", [enrolled(50, "open")])
    in_force(store)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.add("gate", [enrolled(50, "ajar")]), "learned for the states closed, open"),
        (lambda s: s.remove(["r1"]), "1 of its references are gone or relabelled"),
        (lambda s: s.relabel(["r1", "r2"], "open"), "1 of its references are gone or relabelled"),
        (lambda s: s.move(["r1"], "door"), "1 of its references are gone or relabelled"),
        (
            lambda s: s.rework(
                [
                    Reworked(f"r{n}", embedding(n, model_id="new@2"), enrolled(n).thumbnail)
                    for n in range(1, 9)
                ]
            ),
            "learned for the model model@1",
        ),
    ],
    ids=["new state", "removed", "relabelled", "moved", "other model"],
)
def test_what_it_was_learned_from_must_still_be_there(
    store: GalleryStore, change: object, reason: str
) -> None:
    learn(store)
    assert callable(change)
    change(store)
    assert reason in outdated(store)
    store.undo()
    in_force(store)


def test_a_head_learned_on_an_older_gallery_is_not_kept(store: GalleryStore) -> None:
    head = fit_head(store.gallery("gate"))
    store.add("gate", [enrolled(50, "open")])
    with pytest.raises(GalleryError, match="changed while the heads were learned"):
        keep_heads(store, {"gate": head}, revision=1, detail="gate")
    assert store.revision == 2
    assert kept(store) is None


@pytest.mark.parametrize("column", ["numbers", "facts"])
def test_a_damaged_head_is_named_with_the_fix(store: GalleryStore, column: str) -> None:
    learn(store)
    with sqlite3.connect(store.path) as other:
        other.execute(f"UPDATE heads SET {column} = substr({column}, 1, 40)")
    other.close()
    with pytest.raises(GalleryError, match=r"head of watch 'gate' is damaged .*model adapt"):
        kept(store)
    assert any("head of watch 'gate'" in line for line in store.check())


def test_a_file_that_never_had_a_head_is_sound_and_has_none(store: GalleryStore) -> None:
    assert kept(store) is None
    assert store.check() == ()
    store.remove(["r1"])
    store.undo()
    assert kept(store) is None


def test_a_read_only_gallery_keeps_no_head(store: GalleryStore) -> None:
    head = fit_head(store.gallery("gate"))
    with (
        GalleryStore.open(store.path, read_only=True) as reader,
        pytest.raises(GalleryError, match="read-only"),
    ):
        keep_heads(reader, {"gate": head}, revision=1, detail="gate")
