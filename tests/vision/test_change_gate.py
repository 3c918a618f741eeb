"""The gate spares work and changes no decision."""

from __future__ import annotations

from contextlib import closing

import cv2
import numpy as np
import pytest

from edge_sim.analysis.demo import DemoPlan, enrolled
from edge_sim.core.types import Frame, GrayImage, State
from edge_sim.decision.pipeline import Outcome, Pipeline, Watch
from edge_sim.io.sources import open_source
from edge_sim.io.sources.synthetic.nuisances import NUISANCES
from edge_sim.io.sources.synthetic.source import scene_roi
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region


def noisy(level: float, seed: int, sigma: float = 3.0) -> GrayImage:
    noise = np.random.default_rng(seed).normal(level, sigma, (96, 96))
    return noise.clip(0, 255).astype(np.uint8)


def settled(sigma: float = 3.0) -> Gate:
    """A gate that has learned the noise of a still scene and embedded one picture of it."""
    gate = Gate()
    for at in range(20):
        if not gate.is_shut(noisy(100, at, sigma), at / 5):
            gate.embedded(noisy(100, at, sigma), at / 5)
    return gate


@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0], ids=str)
def test_noise_alone_keeps_the_gate_shut(sigma: float) -> None:
    gate = settled(sigma)
    assert all(gate.is_shut(noisy(100, 100 + at, sigma), 4 + at / 5) for at in range(50))


def test_the_first_looks_are_embedded_while_the_noise_is_unknown() -> None:
    gate = Gate()
    assert not any(gate.is_shut(noisy(100, at), at / 5) for at in range(8))


@pytest.mark.parametrize("side_px", [5, 8, 30])
def test_a_small_object_opens_the_gate(side_px: int) -> None:
    picture = noisy(100, 77)
    picture[40 : 40 + side_px, 20 : 20 + side_px] = 180
    assert not settled().is_shut(picture, 4.0)


@pytest.mark.parametrize("shape", [(24, 480), (25, 481), (30, 240), (13, 36), (46, 90)])
def test_one_changed_block_is_measured_as_its_mean_whatever_the_size(
    shape: tuple[int, int],
) -> None:
    height, width = shape
    before = np.random.default_rng(0).integers(0, 200, shape, np.uint8)
    after = before.copy()
    top, left = height // 2, width // 3
    after[top:, left : left + width // 12] += 2
    difference = cv2.absdiff(before, after).astype(np.float32)
    blocks = cv2.resize(difference, (12, 12), interpolation=cv2.INTER_AREA)
    gate = Gate()
    for at in range(9):
        gate.is_shut(before if at % 2 else after, at / 5)
    assert 0.75 < gate.level < 5.0
    assert gate.level == pytest.approx(1.6 * float(blocks.max()), rel=1e-4)


def test_slow_drift_opens_the_gate_in_the_end() -> None:
    gate = settled(0.0)
    opened = [not gate.is_shut(noisy(100 + at * 0.05, 1, 0.0), 4 + at / 5) for at in range(100)]
    assert any(opened)


def test_a_picture_is_embedded_now_and_then_in_any_case() -> None:
    gate = settled()
    assert gate.is_shut(noisy(100, 50), 5.0)
    assert not gate.is_shut(noisy(100, 51), 60.0)


def test_time_that_runs_backwards_opens_the_gate() -> None:
    gate = settled()
    assert not gate.is_shut(noisy(100, 50), -1.0)


def test_the_level_follows_the_noise_of_the_last_looks() -> None:
    gate = settled(1.0)
    quiet = gate.level
    for at in range(70):
        gate.is_shut(noisy(100, at, 12.0), 5 + at / 5)
    assert gate.level > 2.0 * quiet
    for at in range(70):
        gate.is_shut(noisy(100, at, 1.0), 30 + at / 5)
    assert gate.level == pytest.approx(quiet, rel=0.1)


def test_a_picture_of_another_size_opens_the_gate() -> None:
    gate = settled()
    assert not gate.is_shut(noisy(100, 50)[:48], 5.0)
    gate.embedded(noisy(100, 50)[:48], 5.0)
    assert gate.is_shut(noisy(100, 51)[:48], 5.2)


def test_the_gate_knows_the_very_same_picture_from_one_like_it() -> None:
    gate = settled()
    gate.is_shut(noisy(100, 50), 5.0)
    assert not gate.is_repeated
    gate.is_shut(noisy(100, 50), 5.2)
    assert gate.is_repeated


def outcomes_of(plan: DemoPlan, frames: list[Frame], gate: Gate | None) -> list[Outcome]:
    embedder = open_embedder("thumbnail")
    region = Region(scene_roi(plan.scene))
    stages = stages_of(Config(), WatchConfig())
    gallery = enrolled(plan, region, embedder)
    watch = Watch(plan.scene, gallery, stages, region=region, gate=gate)
    pipeline = Pipeline(embedder, [watch], "d")
    return [outcome for frame in frames for outcome in pipeline.process(frame)]


def changes_of(outcomes: list[Outcome]) -> list[tuple[int, State]]:
    return [(item.observation.frame_index, item.state) for item in outcomes if item.change]


@pytest.mark.parametrize("nuisance", ["", *sorted(NUISANCES)])
def test_decisions_are_the_same_with_and_without_the_gate(nuisance: str) -> None:
    scene = ("bowl", "gate", "lamp", "parking")[len(nuisance) % 4]
    plan = DemoPlan(scene, 1, 100, (nuisance,) if nuisance else ())
    with closing(open_source(plan.uri + "&dwell_s=5")) as source:
        frames = list(iter(source.read, None))
    with_gate = outcomes_of(plan, frames, Gate())
    assert changes_of(with_gate) == changes_of(outcomes_of(plan, frames, None))
    assert sum(item.embedded for item in with_gate) < 0.75 * len(with_gate)
