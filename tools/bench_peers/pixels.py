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
