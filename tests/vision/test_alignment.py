"""A region follows a camera that was knocked a little, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import BgrImage, Frame, GrayImage, Reference, Roi
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.gallery.gallery import Gallery
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.alignment import EVERY_S, SMALL_SHIFT, RegionStabilizer, SceneView
from edge_sim.vision.probe import Region, make_probe
from tests.pictured import CellsEmbedder, enrolled

HOME = Region(Roi(0.2, 0.2, 0.8, 0.8))


def scenery(seed: int, *, right: int = 0, down: int = 0, thing: int | None = None) -> BgrImage:
    """A rough wall of 200 x 200, seen by a camera turned aside, with a square thing on it."""
    rough = np.random.default_rng(5).integers(40, 200, (34, 34, 3)).astype(np.uint8)
    wall = cv2.resize(rough, (260, 260), interpolation=cv2.INTER_CUBIC)
    if thing is not None:
        cv2.rectangle(wall, (thing, 110), (thing + 36, 150), (20, 230, 230), -1)
    seen = wall[30 - down : 230 - down, 30 - right : 230 - right].astype(np.int16)
    grain = np.random.default_rng([seed, 9]).integers(-4, 5, seen.shape)
    return np.asarray(np.clip(seen + grain, 0, 255), np.uint8)


def references(count: int = 4) -> Gallery:
    made: list[Reference] = []
    for at in range(count):
        probe = make_probe(CellsEmbedder(), HOME.pixels_of(scenery(at)))
        like = enrolled("empty", at, name=f"r{at}")
        made.append(replace(like, embedding=probe.embedding, thumbnail=probe.thumbnail))
    return Gallery(made)


def watched(pictures: Sequence[BgrImage], *, step_s: float = EVERY_S) -> list[tuple[float, float]]:
    """Return the shift of the region from home after each picture."""
    watch = Watch("w", references(), stages_of(Config(), WatchConfig()), region=HOME)
    pipeline = Pipeline(CellsEmbedder(), [watch], "test")
    places = []
    for at, pixels in enumerate(pictures):
        pipeline.process(Frame(np.ascontiguousarray(pixels), at * step_s, at * step_s, at, "s"))
        places.append(watch.region.offset_from(HOME))
    return places


@pytest.mark.parametrize(("right", "down"), [(4, 0), (-3, 5), (0, -8)])
def test_a_region_follows_a_knock(right: int, down: int) -> None:
    knocked = [scenery(at, right=right, down=down) for at in range(20)]
    x, y = watched(knocked)[-1]
    # The region is 120 pixels wide and high.
    assert 120 * x == pytest.approx(right, abs=1.0)
    assert 120 * y == pytest.approx(down, abs=1.0)


def test_a_camera_that_is_put_back_is_followed_back() -> None:
    there, back = [scenery(at, right=6) for at in range(15)], [scenery(at) for at in range(25)]
    places = watched(there + back)
    assert 120 * places[14][0] == pytest.approx(6.0, abs=1.0)
    assert 120 * places[-1][0] == pytest.approx(0.0, abs=1.0)


def test_nothing_moves_in_a_scene_that_stands() -> None:
    assert set(watched([scenery(at) for at in range(30)])) == {(0.0, 0.0)}


def test_a_thing_that_moves_is_not_followed() -> None:
    passing = [scenery(at, thing=70 + 2 * at) for at in range(30)]
    assert set(watched(passing)) == {(0.0, 0.0)}


def test_one_shaky_picture_moves_nothing() -> None:
    shaken = [scenery(at, right=6 if at % 4 == 0 else 0) for at in range(30)]
    assert set(watched(shaken)) == {(0.0, 0.0)}


def test_the_region_moves_by_a_tenth_of_its_side_at_most() -> None:
    x, _ = watched([scenery(at, right=18) for at in range(40)])[-1]
    assert abs(x) <= SMALL_SHIFT + 1e-9


def test_without_references_nothing_moves() -> None:
    probe = make_probe(CellsEmbedder(), HOME.pixels_of(scenery(1, right=5)))
    steadier = RegionStabilizer(Gallery())
    for at in range(20):
        look = replace(probe, captured_at_s=at * EVERY_S)
        assert steadier.follow(look, HOME, HOME) is HOME


def test_frames_that_follow_fast_are_estimated_every_few_seconds_only() -> None:
    knocked = [scenery(at, right=6) for at in range(40)]
    assert set(watched(knocked, step_s=0.2)) == {(0.0, 0.0)}
    assert watched(knocked, step_s=EVERY_S / 2)[-1] != (0.0, 0.0)


def test_a_picture_that_the_gate_spared_is_not_estimated_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[GrayImage] = []

    def counted(view: SceneView, thumbnail: GrayImage) -> tuple[float, float]:
        asked.append(thumbnail)
        return 0.0, 0.0

    monkeypatch.setattr(SceneView, "shift_of", counted)
    first, second = (
        make_probe(CellsEmbedder(), HOME.pixels_of(scenery(at, right=6))) for at in range(2)
    )
    steadier = RegionStabilizer(references())
    for at, probe in enumerate([first] * 5 + [second] * 5):
        steadier.follow(replace(probe, captured_at_s=at * EVERY_S), HOME, HOME)
    assert [id(item) for item in asked] == [id(first.thumbnail), id(second.thumbnail)]


def test_time_that_runs_backwards_counts_as_due() -> None:
    probe = make_probe(CellsEmbedder(), HOME.pixels_of(scenery(1, right=6)))
    steadier = RegionStabilizer(references())
    region = HOME
    for at in range(12):
        region = steadier.follow(replace(probe, captured_at_s=-100.0 * at), HOME, region)
    assert region is not HOME


def test_the_shift_of_a_view_is_that_of_the_whole_picture() -> None:
    view = SceneView([item.thumbnail for item in references().references])
    moved = make_probe(CellsEmbedder(), HOME.pixels_of(scenery(7, right=5, down=-5))).thumbnail
    x, y = view.shift_of(moved)
    assert x == pytest.approx(4.0, abs=0.5)
    assert y == pytest.approx(-4.0, abs=0.5)
    assert SceneView([]).shift_of(moved) == (0.0, 0.0)


@given(x=st.floats(-2, 2), y=st.floats(-2, 2), low=st.floats(0, 0.45), high=st.floats(0.55, 1))
def test_a_moved_region_stays_in_the_frame_and_keeps_its_size(
    x: float, y: float, low: float, high: float
) -> None:
    home = Region(Roi(low, 1.0 - high, high, 1.0 - low))
    roi = home.moved(x, y).roi
    assert roi.x2 - roi.x1 == pytest.approx(high - low)
    assert roi.y2 - roi.y1 == pytest.approx(high - low)
    assert 0.0 <= roi.x1 < roi.x2 <= 1.0
    assert 0.0 <= roi.y1 < roi.y2 <= 1.0
    aside = home.moved(0.0, 0.0).offset_from(home)
    assert max(map(abs, aside)) == pytest.approx(0.0, abs=1e-12)
