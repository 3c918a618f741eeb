"""The detectors that ours is timed beside find what they are meant to find."""

from __future__ import annotations

import numpy as np
from bench_peers.pixels import RunningAverageMotion


def test_motion_is_an_area_that_differs_from_the_running_average() -> None:
    rng = np.random.default_rng(0)
    motion = RunningAverageMotion()
    still = np.kron(rng.integers(40, 200, (12, 16)), np.ones((40, 40))).astype(np.uint8)

    def noisy(plane: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
        return motion.observe(np.clip(plane + rng.normal(0, 2, plane.shape), 0, 255).astype("u1"))

    assert [noisy(still) for _ in range(20)] == [0] * 20
    moved = still.copy()
    moved[100:200, 100:180] = 255 - moved[100:200, 100:180]
    assert noisy(moved) >= 1
    for _ in range(600):
        motion.observe(moved)
    assert motion.observe(moved) == 0  # what stays becomes part of the average
    assert RunningAverageMotion().observe(np.full((480, 640), 7, np.uint8)) == 0
