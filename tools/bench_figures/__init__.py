"""Figures of whole processes and files, not call by call. `FIGURES` is the only table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_sim.analysis.benchmark import Figure


@dataclass(frozen=True, slots=True)
class Effort:
    """Length of the measurements.

    Args:
        repeats: Runs of each process or pass; the median counts.
        memory_frames: Frames that the process goes through whose memory is measured.
    """

    repeats: int = 5
    memory_frames: int = 100_000


Measure = Callable[[Effort], Sequence[Figure]]
"""Function that raises ImportError or FileNotFoundError where a requirement is absent."""


def _prepared(module: str) -> Measure:
    def measure(effort: Effort) -> Sequence[Figure]:
        found: Sequence[Figure] = importlib.import_module(f"bench_figures.{module}").measure(effort)
        return found

    return measure


FIGURES: Mapping[str, Measure] = {
    "start": _prepared("start"),
    "video": _prepared("video"),
    "memory": _prepared("memory"),
    "jpeg": _prepared("jpeg"),
    "usb": _prepared("usb"),
    "camera": _prepared("camera"),
    "latency": _prepared("latency"),
}
