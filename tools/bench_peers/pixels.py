"""Other ways to compare pictures pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bench_peers import Peer, Workbench
from edge_sim.analysis.benchmark import SpeedRatio


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
    """OpenCV's background subtraction, per 640x480 frame."""
    subtractor = cv2.createBackgroundSubtractorMOG2()
    frame = _picture(3, 480, 640)
    return Peer(
        {"MOG2 frame": lambda: subtractor.apply(frame)},
        (SpeedRatio("process / MOG2 frame", "process", "MOG2 frame"),),
    )


class RunningAverageMotion:
    """Motion by the difference to a running average of small grey pictures, as NVRs find it.

    The steps are those of Frigate's detector: 100 rows, contrast stretched, blurred, compared,
    thresholded, dilated, outlined.
    """

    _ROWS = 100

    def __init__(self) -> None:
        self._average: NDArray[np.float32] | None = None

    def observe(self, luma: NDArray[np.uint8]) -> int:
        """Return the number of moving areas of a (H, W) uint8 picture."""
        width = luma.shape[1] * self._ROWS // luma.shape[0]
        small = cv2.resize(luma, (width, self._ROWS), interpolation=cv2.INTER_NEAREST)
        low, high = np.percentile(small, 4), np.percentile(small, 96)
        if high > low:
            small = (((np.clip(small, low, high) - low) / (high - low)) * 255).astype(np.uint8)
        blurred = cv2.GaussianBlur(small, (3, 3), 1.0).astype(np.float32)
        if self._average is None:
            self._average = blurred.copy()
        delta = cv2.convertScaleAbs(cv2.absdiff(blurred, self._average))
        mask = cv2.threshold(delta, 30, 255, cv2.THRESH_BINARY)[1]
        areas = cv2.findContours(
            cv2.dilate(mask, None, iterations=1),  # type: ignore[call-overload]
            cv2.RETR_EXTERNAL,
            cv2.CHAIN_APPROX_SIMPLE,
        )[0]
        cv2.accumulateWeighted(blurred, self._average, 0.01)
        return sum(cv2.contourArea(area) > 10 for area in areas)


def running_average(workbench: Workbench) -> Peer:  # noqa: ARG001
    """Motion by a running average, per 640x480 frame whose luma is at hand."""
    motion = RunningAverageMotion()
    frames = [_picture(seed, 480, 640)[:, :, 0].copy() for seed in range(2)]
    numbers = iter(range(10**9))
    name = "motion, running average"
    return Peer(
        {name: lambda: motion.observe(frames[next(numbers) % 2])},
        (
            SpeedRatio(f"process / {name}", "process", name),
            SpeedRatio(f"process, gate shut / {name}", "process, gate shut", name),
        ),
    )


def pyscenedetect(workbench: Workbench) -> Peer:  # noqa: ARG001
    """PySceneDetect's content score, per 640x480 frame."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector = ContentDetector()
    frames = [_picture(seed, 480, 640) for seed in range(2)]
    numbers = iter(range(10**9))

    def run() -> object:
        number = next(numbers)
        return detector.process_frame(FrameTimecode(number, 25.0), frames[number % 2])

    return Peer(
        {"PySceneDetect frame": run},
        (SpeedRatio("process / PySceneDetect frame", "process", "PySceneDetect frame"),),
    )


def _picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
