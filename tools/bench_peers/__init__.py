"""Alternatives to edge_sim, each as timed cases. `PEERS` is the only table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_sim.analysis.benchmark import Case, SpeedRatio
from edge_sim.core.protocols import Embedder


@dataclass(frozen=True, slots=True, eq=False)
class Workbench:
    """Inputs of the measurements.

    Args:
        embedder: Embedder of edge_sim.
        official: Google's quantized MobileNetV3-Small classifier; None skips it.
        rows: Vectors in the search benchmark.
    """

    embedder: Embedder
    official: Path | None
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """Timed cases, their comparisons, and a function to call at the end."""

    cases: dict[str, Case]
    comparisons: tuple[SpeedRatio, ...]
    close: Callable[[], object] = tuple


Prepare = Callable[[Workbench], Peer]
"""Raises ImportError or FileNotFoundError where the peer is absent."""


def _prepared(module: str, function: str) -> Prepare:
    def prepare(workbench: Workbench) -> Peer:
        import importlib

        peer: Peer = getattr(importlib.import_module(f"bench_peers.{module}"), function)(workbench)
        return peer

    return prepare


PEERS: Mapping[str, Prepare] = {
    "official": _prepared("models", "official"),
    "mediapipe": _prepared("models", "mediapipe"),
    "imagededup": _prepared("models", "imagededup"),
    "scikit-image": _prepared("pixels", "scikit_image"),
    "mog2": _prepared("pixels", "mog2"),
    "running average": _prepared("pixels", "running_average"),
    "pyscenedetect": _prepared("pixels", "pyscenedetect"),
    "exact search": _prepared("search", "exact"),
    "faiss": _prepared("search", "faiss"),
    "hnswlib": _prepared("search", "hnswlib"),
    "usearch": _prepared("search", "usearch"),
    "sqlite-vec": _prepared("search", "sqlite_vec"),
}
