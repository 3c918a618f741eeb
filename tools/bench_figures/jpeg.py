"""JPEG cameras and photos: decoded at the size that is needed, beside decoding in full."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from bench_figures import Effort
from edge_sim.analysis.benchmark import Figure
from edge_sim.analysis.demo import DemoPlan, enrolled
from edge_sim.core.images import decode, encode_jpeg
from edge_sim.core.raw_pictures import JpegPicture, RawFrame
from edge_sim.core.types import FULL_FRAME, Frame, Roi
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.io.sources.synthetic.source import reference_frames
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

PLAN = DemoPlan("parking", seed=3, frames=8, nuisances=("noise",))
FRAMES = 40
PHOTOS = 100
VGA = Roi(0.25, 1 / 6, 0.75, 5 / 6)
QUARTERS = tuple(Roi(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5))


def measure(effort: Effort) -> Sequence[Figure]:
    """Return the ratios of processor time; each in turn with decoding in full."""
    shots = [encode_jpeg(_noisy(seed, (1280, 720)), 85) for seed in range(8)]
    ways = {
        "a JPEG camera of 720p, whole frame observed / decoding in full": ([FULL_FRAME], 0.7),
        "a JPEG camera of 720p, 640x480 observed / decoding in full": ([VGA], 0.7),
    }
    found = [
        Figure(name, _ratio(effort, _watching(shots, rois), _decoding(shots)), "ratio", goal)
        for name, (rois, goal) in ways.items()
    ]
    four = _ratio(
        effort, _watching(shots, QUARTERS), _watching(shots, QUARTERS[:1]), scale=len(QUARTERS)
    )
    found.append(Figure("4 watches on quarters of a JPEG frame / 4 x one", four, "ratio", 0.8))
    return [*found, *_indexing(effort)]


def _ratio(
    effort: Effort, case: Callable[[], None], against: Callable[[], None], *, scale: float = 1.0
) -> float:
    ratios = []
    for _ in range(max(effort.repeats, 1) + 1):
        started_s = time.process_time()
        case()
        middle_s = time.process_time()
        against()
        ratios.append((middle_s - started_s) / (time.process_time() - middle_s) / scale)
    return round(statistics.median(ratios[1:]), 3)


def _decoding(shots: Sequence[bytes]) -> Callable[[], None]:
    def run() -> None:
        for number in range(FRAMES):
            decode(shots[number % len(shots)])

    return run


def _watching(shots: Sequence[bytes], rois: Sequence[Roi]) -> Callable[[], None]:
    embedder = open_embedder("default")
    stages = stages_of(Config(), WatchConfig())
    watches = [
        Watch(str(number), enrolled(PLAN, region, embedder), stages, region=region, gate=Gate())
        for number, region in enumerate(map(Region, rois))
    ]
    pipeline = Pipeline(embedder, watches, "bench")
    numbers = iter(range(10**9))
    part = 1

    def run() -> None:
        nonlocal part
        for _ in range(FRAMES):
            number = next(numbers)
            picture = JpegPicture(shots[number % len(shots)], part)
            frame: Frame = RawFrame(picture, number / 5, number / 5, number, "bench")
            pipeline.process(frame)
            part = pipeline.part_of(frame)

    return run


def _indexing(effort: Effort) -> Sequence[Figure]:
    """Return photos indexed per second of processor time; they are drawn, noisy, 1080p."""
    embedder = open_embedder("default")
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for seed in range(PHOTOS):
            (photos / f"{seed}.jpg").write_bytes(encode_jpeg(_noisy(seed, (1920, 1080)), 90))
        for repeat in range(max(effort.repeats, 1)):
            plan = IndexPlan(photos, embedder.model_id)
            with IndexStore.open(Path(folder) / f"{repeat}.index", create=plan) as store:
                started_s = time.process_time()
                update(store, embedder)
                rates.append(PHOTOS / (time.process_time() - started_s))
    return [Figure("1080p photos indexed per CPU second", round(statistics.median(rates)), "")]


def _noisy(seed: int, size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    scene = reference_frames(PLAN.scene, "free", 1)[0].pixels
    large = cv2.resize(scene, size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = np.random.default_rng(seed).integers(-4, 5, large.shape, np.int16)
    return np.asarray(np.clip(large + noise, 0, 255), np.uint8)
