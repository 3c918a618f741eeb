"""A frame leaves nothing behind in memory."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_sim.core.types import Frame
from edge_sim.runtime.assembly import Environment
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.runtime.loop import Step
from tests.runtime.daemon.cameras import lamp_config, pictures

WARM, END = 400, 1200
"""Steps: by the first everything that is bounded is full, such as the 64 readings of the gate."""
PER_FRAME = 16
"""Bytes that a frame may add: less than the smallest object of Python takes."""


class Still:
    """A scene that stands still, with the noise of a sensor."""

    name = "camera"

    def __init__(self) -> None:
        self._index = 0
        rng = np.random.default_rng(1)
        clean = pictures("on")[0]
        self._frames = [
            replace(clean, pixels=np.clip(noisy, 0, 255).astype(np.uint8))
            for noisy in (
                clean.pixels.astype(np.int16) + rng.integers(-2, 3, clean.pixels.shape)
                for _ in range(5)
            )
        ]

    def read(self) -> Frame | None:
        if self._index > END:
            return None
        frame = self._frames[self._index % 5]
        self._index += 1
        at_s = float(self._index)
        return replace(frame, index=self._index, captured_at_s=at_s, unix_time_s=1.7e9 + at_s)

    def close(self) -> None:
        return


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    traced: dict[int, int] = {}
    steps = 0

    def count(source: str, step: Step) -> None:
        nonlocal steps
        steps += 1
        if steps in (WARM, END):
            gc.collect()
            traced[steps] = tracemalloc.get_traced_memory()[0]

    world = Environment(
        open_source=lambda config, name: Still(), is_live=lambda uri: False, on_step=count
    )
    config = lamp_config(tmp_path)
    daemon = Daemon(config, reload=lambda: config, environment=world)
    tracemalloc.start()
    try:
        daemon.run()
    finally:
        tracemalloc.stop()
    grown = traced[END] - traced[WARM]
    assert grown < PER_FRAME * (END - WARM), f"{grown} bytes in {END - WARM} frames"
