"""Other ways to compare pictures pixel by pixel."""

from __future__ import annotations

from itertools import cycle

import cv2
import numpy as np
from numpy.typing import NDArray

from bench_peers import Peer, Workbench
from edge_sim.analysis.benchmark import Case, SpeedRatio, bench_frames


def scikit_image(workbench: Workbench) -> Peer:  # noqa: ARG001
    """scikit-image's structural similarity at 96 px, the same formula as ours."""
    from skimage.metrics import structural_similarity

    a, b = (_picture(seed, 96, 96)[:, :, 0].copy() for seed in (1, 2))

    def run() -> object:
        return structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )

    return Peer(
        {"scikit-image SSIM 96 px": run},
        (SpeedRatio("SSIM 1:1 / scikit-image", "SSIM 1:1", "scikit-image SSIM 96 px", 0.1),),
    )


def mog2(workbench: Workbench) -> Peer:  # noqa: ARG001
    """OpenCV's background subtraction, on the frames of our own cases."""
    subtractor = cv2.createBackgroundSubtractorMOG2()
    pictures = cycle([frame.pixels for frame in bench_frames()])
    return _peer("MOG2", lambda: subtractor.apply(next(pictures)))


class RunningAverageMotion:
    """Motion by the difference to a running average of small grey pictures.

    Written after what Frigate's documentation says of its detector: 100 rows, contrast improved,
    blurred, compared with a slow average, a threshold of 30, areas of 10 pixels and more.
    """

    _ROWS = 100
    _THRESHOLD = 30
    _LEAST_AREA = 10
    _ALPHA = 0.01
    _TAIL = 0.04  # darkest and brightest part that is clipped
    _KERNEL = np.ones((3, 3), np.uint8)

    def __init__(self) -> None:
        self._average: NDArray[np.float32] | None = None

    def observe(self, luma: NDArray[np.uint8]) -> int:
        """Return the number of moving areas of a (H, W) uint8 picture."""
        width = luma.shape[1] * self._ROWS // luma.shape[0]
        small = cv2.resize(luma, (width, self._ROWS), interpolation=cv2.INTER_NEAREST)
        calm = cv2.GaussianBlur(self._stretched(np.asarray(small, np.uint8)), (3, 3), 1.0)
        if self._average is None:
            self._average = calm.astype(np.float32)
        apart = cv2.absdiff(calm, cv2.convertScaleAbs(self._average))
        cv2.accumulateWeighted(calm, self._average, self._ALPHA)
        moving = cv2.dilate(
            cv2.threshold(apart, self._THRESHOLD, 255, cv2.THRESH_BINARY)[1], self._KERNEL
        )
        outlines = cv2.findContours(moving, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        return sum(cv2.contourArea(outline) >= self._LEAST_AREA for outline in outlines)

    def _stretched(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        counts = np.cumsum(np.bincount(plane.ravel(), minlength=256))
        low, high = np.searchsorted(counts, plane.size * np.array([self._TAIL, 1.0 - self._TAIL]))
        if low >= high:
            return plane
        levels = np.clip((np.arange(256) - low) * (255.0 / (high - low)), 0.0, 255.0)
        return np.asarray(cv2.LUT(plane, levels.astype(np.uint8)), np.uint8)


def running_average(workbench: Workbench) -> Peer:  # noqa: ARG001
    """Motion by a running average, on the luma of the frames of our own cases."""
    motion = RunningAverageMotion()
    planes = cycle([cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY) for frame in bench_frames()])
    return _peer("motion as in Frigate", lambda: motion.observe(np.asarray(next(planes), np.uint8)))


def pyscenedetect(workbench: Workbench) -> Peer:  # noqa: ARG001
    """PySceneDetect's content score, on the frames of our own cases."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector = ContentDetector()
    pictures = cycle([frame.pixels for frame in bench_frames()])
    numbers = iter(range(10**9))
    return _peer(
        "PySceneDetect",
        lambda: detector.process_frame(FrameTimecode(next(numbers), 25.0), next(pictures)),
    )


def _peer(name: str, case: Case) -> Peer:
    """Return a detector of change beside an observation of ours, gate open and shut."""
    return Peer(
        {name: case},
        (
            SpeedRatio(f"process / {name}", "process", name),
            SpeedRatio(f"process, gate shut / {name}", "process, gate shut", name),
        ),
    )


def _picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
