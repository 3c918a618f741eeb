"""A 1080p H.264 file from decoding to decision, beside decoding alone, on one decoding thread."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2

from bench_figures import Effort
from edge_sim.analysis.benchmark import Figure
from edge_sim.analysis.demo import DemoPlan, enrolled
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.io.sources import open_source
from edge_sim.io.sources.synthetic.source import scene_roi
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.loop import SourceRunner, steps
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

PLAN = DemoPlan("parking", seed=3, frames=250, nuisances=("noise",))
SIZE = "1920:1080"


def measure(effort: Effort) -> Sequence[Figure]:
    """Return the ratio of both, for a watch on the scene's region and on the whole frame.

    Raises:
        FileNotFoundError: ffmpeg is not installed.
    """
    # Read by OpenCV when a file is opened; by default its decoder takes every core.
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "threads;1"
    with tempfile.TemporaryDirectory() as folder:
        path = _film(Path(folder))
        regions = {"a region": Region(scene_roi(PLAN.scene)), "the whole frame": Region()}
        alone: list[float] = []
        ratios: dict[str, list[float]] = {name: [] for name in regions}
        spared = dict.fromkeys(regions, 0.0)
        for _ in range(max(effort.repeats, 1)):
            decoding_s = _decoding_s(path)
            alone.append(1000.0 * decoding_s / PLAN.frames)
            for name, region in regions.items():
                elapsed_s, spared[name] = _deciding_s(path, region)
                ratios[name].append(elapsed_s / decoding_s)
    found = [Figure("decode a 1080p H.264 frame", statistics.median(alone), "ms")]
    for name in regions:
        label = f"end to end on 1080p, {name} / decode"
        found.append(Figure(label, statistics.median(ratios[name]), "ratio", 1.3))
        found.append(Figure(f"observations that the gate spared, {name}", spared[name], "share"))
    return [Figure(item.name, round(item.value, 3), item.unit, item.goal) for item in found]


def _film(folder: Path) -> Path:
    """Write the drawn scene as H.264 with the noise of a camera."""
    if shutil.which("ffmpeg") is None:
        raise FileNotFoundError("needs ffmpeg; apt install ffmpeg")
    path = folder / "scene.mp4"
    with closing(open_source(PLAN.uri)) as source:
        frames = list(iter(source.read, None))
    height, width = frames[0].pixels.shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", "5", "-i", "-"]
    coding = ["-vf", f"scale={SIZE}", "-c:v", "libx264", "-preset", "fast", "-pix_fmt", "yuv420p"]
    subprocess.run(
        ["ffmpeg", "-v", "error", *raw, *coding, str(path)],
        input=b"".join(frame.pixels.tobytes() for frame in frames),
        check=True,
    )
    return path


def _decoding_s(path: Path) -> float:
    capture = cv2.VideoCapture(str(path))
    started_s = time.process_time()
    while capture.read()[0]:
        pass
    return time.process_time() - started_s


def _deciding_s(path: Path, region: Region) -> tuple[float, float]:
    """Return the processor's seconds for the whole file, and the share of frames not embedded."""
    embedder = open_embedder("default")
    gallery = enrolled(PLAN, region, embedder)
    stages = stages_of(Config(), WatchConfig())
    watch = Watch("scene", gallery, stages, region=region, gate=Gate())
    with closing(open_source(str(path))) as source:
        runner = SourceRunner(
            source, Pipeline(embedder, [watch], "bench"), live=False, now=lambda: 0.0
        )
        started_s = time.process_time()
        observations = [outcome.embedded for step in steps([runner]) for outcome in step.outcomes]
        elapsed_s = time.process_time() - started_s
    return elapsed_s, 1.0 - sum(observations) / max(len(observations), 1)
