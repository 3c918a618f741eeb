"""USB cameras of 720p behind a stand-in for the driver, beside decoding or converting in full."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench_figures import Effort
from bench_figures.jpeg import PLAN, noisy
from edge_sim.analysis.benchmark import QUARTERS, Figure
from edge_sim.analysis.demo import enrolled
from edge_sim.core.images import encode_jpeg
from edge_sim.core.types import FULL_FRAME, Roi
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.io.sources.cameras import OpenCvCamera
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import CaptureSource, Clocks
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.loop import SourceRunner
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

FRAMES = 40
SIZE = 1280, 720
FPS = 5.0
VGA = Roi(0.25, 1 / 6, 0.75, 5 / 6)
_GOAL = 0.7


class StillCamera:
    """Stand-in for `cv2.VideoCapture` with the V4L2 backend: a still scene with noise, for ever.

    Args:
        kind: `MJPG` or `YUYV`.
    """

    def __init__(self, kind: str) -> None:
        shots = [noisy(seed, SIZE) for seed in range(8)]
        self._kind = kind
        self._shots = cycle([_jpeg(shot) if kind == "MJPG" else _yuyv(shot) for shot in shots])
        self._converts = True

    def __call__(self, path: str, backend: int) -> StillCamera:  # noqa: ARG002
        return self

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return True

    def get(self, prop: int) -> float:
        return {
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(self._kind.encode(), "little")),
            cv2.CAP_PROP_FRAME_WIDTH: float(SIZE[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(SIZE[1]),
        }[prop]

    def set(self, prop: int, value: float) -> bool:
        if prop == cv2.CAP_PROP_CONVERT_RGB:
            self._converts = bool(value)
        return True

    def grab(self) -> bool:
        return True

    def retrieve(self) -> tuple[bool, NDArray[Any]]:
        frame = next(self._shots)
        if self._converts and self._kind == "MJPG":
            frame = np.asarray(cv2.imdecode(frame, cv2.IMREAD_COLOR), np.uint8)
        elif self._converts:
            frame = np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_YUYV), np.uint8)
        return True, frame.copy()  # as OpenCV, which keeps its own

    def release(self) -> None:
        return


def measure(effort: Effort) -> Sequence[Figure]:
    """Return the ratios of processor time; each in turn with decoding or converting in full."""
    found = []
    for kind, against in (("MJPG", "decoding in full"), ("YUYV", "converting in full")):
        for what, roi in (("whole frame", FULL_FRAME), ("640x480", VGA)):
            ratio = _ratio(effort, _watching(kind, [roi]), _reading(kind))
            name = f"a camera of 720p, {kind}, {what} observed / {against}"
            found.append(Figure(name, ratio, "ratio", _GOAL))
        four = _ratio(
            effort, _watching(kind, QUARTERS), _watching(kind, QUARTERS[:1]), scale=len(QUARTERS)
        )
        found.append(Figure(f"4 watches on quarters, {kind} / 4 x one", four, "ratio", 0.8))
    return found


def _ratio(
    effort: Effort, case: Callable[[], None], against: Callable[[], None], *, scale: float = 1.0
) -> float:
    ratios = []
    for _ in range(3 * max(effort.repeats, 1) + 1):
        started_s = time.process_time()
        case()
        middle_s = time.process_time()
        against()
        ratios.append((middle_s - started_s) / (time.process_time() - middle_s) / scale)
    return round(statistics.median(ratios[1:]), 3)


def _reading(kind: str) -> Callable[[], None]:
    camera = StillCamera(kind)

    def run() -> None:
        for _ in range(FRAMES):
            camera.retrieve()

    return run


def _watching(kind: str, rois: Sequence[Roi]) -> Callable[[], None]:
    """Return a run of some frames, from the driver's bytes to the decision."""
    embedder = open_embedder("default")
    stages = stages_of(Config(), WatchConfig())
    watches = [
        Watch(str(number), enrolled(PLAN, region, embedder), stages, region=region, gate=Gate())
        for number, region in enumerate(map(Region, rois))
    ]
    times = (number / FPS for number in range(10**9))
    options = SourceOptions(name="bench")
    with tempfile.NamedTemporaryFile() as device:
        camera = OpenCvCamera(device.name, "bench", options, StillCamera(kind))
    source = CaptureSource(camera, options, Clocks(lambda: next(times), lambda: 0.0))
    pipeline = Pipeline(embedder, watches, "bench")
    runner = SourceRunner(source, pipeline, live=True, now=lambda: 0.0)

    def run() -> None:
        for _ in range(FRAMES):
            runner.step()

    return run


def _jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(encode_jpeg(pixels, 85), np.uint8)


def _yuyv(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 2) YUYV, its colours those of every other row."""
    width, height = SIZE
    planes = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420), np.uint8)
    colour = planes[height:].reshape(2, height // 2, width // 2).repeat(2, axis=1)
    packed = np.empty((height, width, 2), np.uint8)
    packed[:, :, 0], packed[:, ::2, 1], packed[:, 1::2, 1] = planes[:height], *colour
    return packed
