"""Photos indexed: JPEG decoded at the size that is needed."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench_figures import Effort
from edge_sim.analysis.benchmark import Figure
from edge_sim.analysis.demo import DemoPlan
from edge_sim.core.images import encode_jpeg
from edge_sim.io.sources.synthetic.source import reference_frames
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder

PLAN = DemoPlan("parking", seed=3, frames=8, nuisances=("noise",))
PHOTOS = 100
SIZES = ((1920, 1080), (1000, 750))


def measure(effort: Effort) -> Sequence[Figure]:
    """Return photos indexed per second of processor time; they are drawn and noisy."""
    return [_indexed(effort, size) for size in SIZES]


def _indexed(effort: Effort, size: tuple[int, int]) -> Figure:
    embedder = open_embedder("default")
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for seed in range(PHOTOS):
            (photos / f"{seed}.jpg").write_bytes(encode_jpeg(noisy(seed, size), 90))
        for repeat in range(max(effort.repeats, 1)):
            plan = IndexPlan(photos, embedder.model_id)
            with IndexStore.open(Path(folder) / f"{repeat}.index", create=plan) as store:
                started_s = time.process_time()
                update(store, embedder)
                rates.append(PHOTOS / (time.process_time() - started_s))
    name = f"photos of {size[0]} x {size[1]} indexed per CPU second"
    return Figure(name, round(statistics.median(rates)), "")


def noisy(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a drawn scene with noise, (H, W, 3) uint8 BGR.

    Args:
        seed: Of the noise.
        size: Width and height, pixels.
    """
    scene = reference_frames(PLAN.scene, "free", 1)[0].pixels
    large = cv2.resize(scene, size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = np.random.default_rng(seed).integers(-4, 5, large.shape, np.int16)
    return np.asarray(np.clip(large + noise, 0, 255), np.uint8)
