"""Every fast path gives the events, matches or neighbours of the plain computation.

Equality is exact unless a test states a tolerance. The change gate is the one path that promises
the same changes at the same frames, not the same figures: behind a shut gate they are those of the
last embedded picture. Every nuisance with and without it is in tests/vision/test_change_gate.py,
one and two workers are in tests/runtime/test_workers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import cv2
import numpy as np
import pytest

from edge_sim.analysis.demo import DemoPlan, enrolled
from edge_sim.core.events import Event, StateChanged
from edge_sim.core.images import edges_of, halved
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import FULL_FRAME, Embedding, Frame, GrayImage, Quality, Roi
from edge_sim.decision.features import features_of, stacked_features
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.io.sources import open_source
from edge_sim.io.sources.synthetic.source import scene_roi
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.search.indexes import open_index
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import FrameFeatures, Mask, Region, RegionFeatures

MOVING = DemoPlan("lamp", 1, 110, ("noise",))
STILL = DemoPlan("bowl", 2, 60)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder("default")


def frames_of(plan: DemoPlan, dwell_s: int) -> list[Frame]:
    with closing(open_source(f"{plan.uri}&dwell_s={dwell_s}")) as source:
        return list(iter(source.read, None))


def watch_of(
    plan: DemoPlan, region: Region, embedder: Embedder, *, name: str = "watch", gate: bool = False
) -> Watch:
    gallery = enrolled(plan, region, embedder)
    stages = stages_of(Config(), WatchConfig())
    return Watch(name, gallery, stages, region=region, gate=Gate() if gate else None)


def events_of(frames: Sequence[Frame], watches: Sequence[Watch], embedder: Embedder) -> list[Event]:
    pipeline = Pipeline(embedder, watches, "device")
    return [
        event for frame in frames for event in pipeline.events_of(pipeline.process(frame), "source")
    ]


def changes_of(events: Sequence[Event]) -> list[tuple[int, str | None, str, str | None]]:
    return [
        (event.frame, event.before, event.after, event.reason)
        for event in events
        if isinstance(event, StateChanged)
    ]


@pytest.mark.parametrize(("plan", "dwell_s", "least"), [(MOVING, 5, 3), (STILL, 60, 1)])
def test_the_gate_changes_no_state_and_no_frame_of_a_change(
    plan: DemoPlan, dwell_s: int, least: int, embedder: Embedder
) -> None:
    frames, region = frames_of(plan, dwell_s), Region(scene_roi(plan.scene))
    plain, gated = (
        events_of(frames, [watch_of(plan, region, embedder, gate=gate)], embedder)
        for gate in (False, True)
    )
    assert len(changes_of(plain)) >= least
    assert changes_of(gated) == changes_of(plain)


def test_watches_that_share_a_frame_report_what_each_reports_alone(embedder: Embedder) -> None:
    frames, home = frames_of(MOVING, 5), scene_roi(MOVING.scene)
    plane = np.full((40, 40), 255, np.uint8)
    plane[:, 30:] = 0
    regions = {
        "first": Region(home),
        "same": Region(home),
        "masked": Region(home, Mask(plane)),
        "whole": Region(FULL_FRAME),
    }

    def watches(*names: str) -> list[Watch]:
        return [
            watch_of(MOVING, regions[name], embedder, name=name, gate=name != "same")
            for name in names
        ]

    together = events_of(frames, watches(*regions), embedder)
    for name in regions:
        alone = events_of(frames, watches(name), embedder)
        assert len(alone) >= 3
        assert [event for event in together if getattr(event, "watch", None) == name] == alone


class Recomputed(RegionFeatures):
    """Features that are computed anew, from the pixels of the frame, each time they are read."""

    def _fresh(self) -> RegionFeatures:
        return RegionFeatures(self._pixels, self._embedder, mask=self._mask)

    @property
    def coarse_image(self) -> GrayImage:
        return self._fresh().coarse_image

    @property
    def readings(self) -> tuple[GrayImage, Quality]:
        return self._fresh().readings

    @property
    def is_slate(self) -> bool:
        return self._fresh().is_slate

    @property
    def edges(self) -> np.ndarray:
        return edges_of(self.readings[0])

    @property
    def embedding(self) -> Embedding:
        return self._fresh().embedding


@pytest.mark.parametrize("gate", [False, True])
def test_kept_thumbnails_edges_readings_and_embeddings_change_no_event(
    gate: bool, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, region = frames_of(MOVING, 5), Region(scene_roi(MOVING.scene))

    def run() -> list[Event]:
        return events_of(frames, [watch_of(MOVING, region, embedder, gate=gate)], embedder)

    kept = run()

    def of(features: FrameFeatures, region: Region) -> RegionFeatures:
        pixels = Region(region.roi).pixels_of(features.frame.pixels)
        return Recomputed(pixels, embedder, mask=region.mask)

    monkeypatch.setattr(FrameFeatures, "of", of)
    assert len(kept) >= 3
    assert run() == kept


def test_a_mask_fitted_before_hides_what_a_new_one_hides() -> None:
    plane = np.zeros((7, 9), np.uint8)
    plane[2:5, 3:] = 255
    kept = Mask(plane)
    pictures = [frame.pixels for frame in frames_of(STILL, 60)[:3]]
    for picture in pictures:
        for side in (picture, picture[::2, ::3], picture[5:, 7:]):
            np.testing.assert_array_equal(kept.hide(side), Mask(plane).hide(side))


def test_readings_from_the_input_of_the_model_are_those_of_the_same_picture(
    embedder: Embedder,
) -> None:
    pixels = frames_of(STILL, 60)[0].pixels
    features = RegionFeatures(pixels, embedder)
    assert features.embedding.vector.any()  # the small picture is there first
    thumbnail, quality = RegionFeatures(pixels, embedder).readings
    np.testing.assert_array_equal(features.readings[0], thumbnail)
    assert features.readings[1] == quality


def test_stacked_features_are_those_of_one_reference_at_a_time(embedder: Embedder) -> None:
    references = enrolled(MOVING, Region(scene_roi(MOVING.scene)), embedder).references
    stacked = stacked_features(references)
    assert len(stacked) == 4
    for row, reference in enumerate(references):
        for name, vector in features_of(reference).items():
            np.testing.assert_array_equal(stacked[name][row], vector)


def test_halving_in_strips_is_halving_at_once() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (720, 1280, 3)).astype(np.uint8)
    at_once = cv2.resize(pixels, (640, 360), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(halved(pixels, 360, 640), at_once)


@pytest.mark.parametrize("least", [False, True])
def test_exact_int8_finds_what_exact_finds(least: bool, embedder: Embedder) -> None:
    """Scores within 1e-6: the sums are taken in another order."""
    frames = frames_of(MOVING, 5)
    corners = np.random.default_rng(1).uniform(0.0, 0.5, (4, 2))
    rois = [Roi(x, y, x + 0.5, y + 0.5) for x, y in corners]
    rows = np.stack(
        [
            RegionFeatures(Region(roi).pixels_of(frame.pixels), embedder).embedding.vector
            for frame in frames
            for roi in rois
        ]
    )
    exact, small = open_index("exact", rows), open_index("exact-int8", rows)
    for query in rows[::29]:
        wanted, found = (index.search(query, 10, least=least) for index in (exact, small))
        np.testing.assert_array_equal(found.rows, wanted.rows)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6, rtol=0)
