"""What the process uses, over the frames, and whether that grows."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_sim.analysis.report import write_page
from edge_sim.analysis.report.figures import Axis, Diagram, Series, diagrams_page


@dataclasses.dataclass(frozen=True)
class Sample:
    """Of the process, after so many frames."""

    frames: int
    rss_mb: float
    descriptors: int
    threads: int
    cpu_s: float = 0.0


LIMITS = {"rss_mb": 3.0, "descriptors": 1.5, "threads": 1.5}
"""How much may be gained from a third of the run to its end."""


def sample(frames: int) -> Sample:
    """Return the figures of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    rss_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    cpu_s = round(sum(os.times()[:2]), 2)
    return Sample(frames, round(rss_mb, 2), descriptors, threading.active_count(), cpu_s)


def growth(samples: Sequence[Sample], key: str) -> float:
    """Return how much a figure grows over the last two thirds, by a straight line through them."""
    kept = samples[len(samples) // 3 :]
    if len(kept) < 3:
        return 0.0
    x = [item.frames for item in kept]
    per_frame = np.polyfit(x, [getattr(item, key) for item in kept], 1)[0]
    return float(per_frame) * (x[-1] - x[0])


def grown(samples: Sequence[Sample]) -> list[str]:
    """Return what grew by more than chance."""
    return [
        f"{key} grew by {growth(samples, key):.2f}"
        for key, limit in LIMITS.items()
        if growth(samples, key) > limit
    ]


def draw(samples: Sequence[Sample], path: Path, *, title: str) -> None:
    """Write a page with every figure over the frames."""
    end = max(samples[-1].frames, 1) if samples else 1
    in_millions = end >= 100_000
    unit = 1e6 if in_millions else 1.0
    across = Axis(
        "million frames" if in_millions else "frames",
        high=end / unit,
        digits=2 if in_millions else 0,
    )
    panels = []
    for key, name, colour in (
        ("rss_mb", "memory (RSS), MB", "state0"),
        ("descriptors", "open descriptors", "state1"),
        ("threads", "threads", "state2"),
        ("cpu_s", "CPU time, s", "state3"),
    ):
        values = [float(getattr(item, key)) for item in samples]
        high = _round_top(max([*values, 1.0]) * 1.05)
        points = tuple(
            (item.frames / unit, value) for item, value in zip(samples, values, strict=True)
        )
        up = Axis("", high=high, digits=0 if high >= 5.0 else 1)
        panels.append(Diagram(name, across, up, (Series("", points, colour),)))
    write_page(path, diagrams_page(title, panels))


def _round_top(value: float) -> float:
    """Return the next number above that five equal steps divide into round ones."""
    decade = 10.0 ** math.floor(math.log10(value))
    return next(step * decade for step in (1.0, 1.5, 2.0, 2.5, 5.0, 10.0) if step * decade >= value)
