"""A watch keeps of its references what a look needs, and nothing more."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np

from edge_sim.core.types import Frame, Reference
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.gallery.gallery import Gallery, ReferenceLoader
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from tests import pictured

EACH = 40
KEPT_THUMBNAILS = 8
"""More than the view needs to tell how far a camera was knocked."""

Weak = weakref.ReferenceType[np.ndarray]


def made(recall: ReferenceLoader | None) -> tuple[Gallery, list[Weak], list[Weak]]:
    """A gallery whose thumbnails and cells nobody else holds, and how to see that they are gone."""
    own: list[Reference] = []
    cells: list[Weak] = []
    for item in pictured.gallery(EACH, ("left", "right")):
        assert item.embedding.spatial is not None
        mine = item.embedding.spatial.copy()
        cells.append(weakref.ref(mine))
        embedding = replace(item.embedding, spatial=mine)
        own.append(replace(item, embedding=embedding, thumbnail=item.thumbnail.copy()))
    thumbnails = [weakref.ref(item.thumbnail) for item in own]
    return Gallery(own, recall=recall), thumbnails, cells


def look_at(watch: Watch, state: str, count: int) -> None:
    pipeline = Pipeline(pictured.CellsEmbedder(), [watch], "porch")
    for at in range(count):
        pipeline.process(Frame(pictured.picture(state, at), float(at), float(at), at, "cam"))


def test_thumbnails_and_cells_are_let_go_where_they_can_be_had_again() -> None:
    gallery, thumbnails, cells = made(lambda reference_ids: {})
    watch = Watch("w", gallery, stages_of(Config(), WatchConfig()), gate=Gate())
    del gallery
    look_at(watch, "left", 10)
    assert watch.decider.state.name == "left"
    assert [item() for item in cells if item() is not None] == []
    assert sum(item() is not None for item in thumbnails) <= KEPT_THUMBNAILS
    assert len(thumbnails) == 2 * EACH


def test_a_gallery_that_is_in_memory_only_is_kept() -> None:
    gallery, thumbnails, _ = made(None)
    watch = Watch("w", gallery, stages_of(Config(), WatchConfig()))
    del gallery
    assert all(item() is not None for item in thumbnails)
    assert set(watch.gallery.recall(["left-100", "right-201"])) == {"left-100", "right-201"}
