"""Memory of a process that watches one camera with three watches and 1,000 references."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench_figures import Effort
from edge_sim import heap
from edge_sim.benchmark import Figure
from edge_sim.config import Config, WatchConfig
from edge_sim.domain import Frame, Roi
from edge_sim.embedders import open_embedder
from edge_sim.enrolment import reference_of
from edge_sim.gallery import Gallery
from edge_sim.gate import Gate
from edge_sim.imaging import crop
from edge_sim.pipeline import Pipeline, Region, Watch
from edge_sim.protocols import Embedder
from edge_sim.sources.synthetic import reference_frames, scene_states
from edge_sim.stages import stages_of

SCENE = "parking"
REFERENCES = 1_000
ROIS = (Roi(), Roi(0.0, 0.0, 0.6, 0.6), Roi(0.3, 0.3, 1.0, 1.0))
WARM_UP_FRAMES = 2_000
TRACED_FRAMES = 2_000
SCENE_CHANGES_EVERY = 50  # frames; most are spared by the gate, as with a camera


def measure(effort: Effort) -> Sequence[Figure]:
    """Return megabytes at the end, their growth after warming up, and traced growth per frame."""
    command = [sys.executable, "-m", "bench_figures.memory", str(effort.memory_frames)]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # as for `edge-sim daemon`
    )
    told = json.loads(done.stdout)
    frames = f"{effort.memory_frames:,} frames"
    return (
        Figure(f"resident after {frames}", told["resident_mb"], "MB", 120.0),
        Figure(f"growth over {frames}", told["growth_mb"], "MB", 1.0),
        Figure("traced growth per frame", told["traced_bytes_per_frame"], "bytes", 1.0),
    )


def main(frames: int) -> None:
    """Process the frames and print what was measured as JSON."""
    pipeline, pictures = _pipeline(), _frames()
    next(pictures)  # drawn by now, which takes some megabytes for a moment
    heap.give_back()  # as the daemon does
    for _ in range(WARM_UP_FRAMES):
        pipeline.process(next(pictures))
    warm_mb = _resident_mb()
    for _ in range(frames):
        pipeline.process(next(pictures))
    end_mb = _resident_mb()
    tracemalloc.start()
    for _ in range(TRACED_FRAMES):
        pipeline.process(next(pictures))
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(TRACED_FRAMES):
        pipeline.process(next(pictures))
    grown = tracemalloc.get_traced_memory()[0] - before
    told = {
        "resident_mb": round(end_mb, 1),
        "growth_mb": round(end_mb - warm_mb, 2),
        "traced_bytes_per_frame": round(grown / TRACED_FRAMES, 2),
    }
    print(json.dumps(told))


def _pipeline() -> Pipeline:
    embedder = open_embedder("default")
    stages = stages_of(Config(), WatchConfig())
    watches = [
        Watch(f"watch-{at}", _gallery(embedder, roi), stages, region=Region(roi), gate=Gate())
        for at, roi in enumerate(ROIS)
    ]
    return Pipeline(embedder, watches, "bench")


def _gallery(embedder: Embedder, roi: Roi) -> Gallery:
    states = scene_states(SCENE)
    each = -(-REFERENCES // len(ROIS) // len(states))
    references = []
    for state in states:
        few = reference_frames(SCENE, state, 5)
        for number in range(each):
            # A little lighter each time: other pictures, of the same state.
            pixels = few[number % len(few)].pixels // 2 + number // 4
            name = f"{state}-{number}"
            references.append(reference_of(embedder, crop(pixels, roi), name, state))
    return Gallery(references)


def _frames() -> Iterator[Frame]:
    """Yield frames without end: the states in turn, one picture each, with two levels of light.

    Each in a buffer of its own, as a camera hands them over.
    """
    bases = [reference_frames(SCENE, state, 1)[0].pixels // 2 for state in scene_states(SCENE)]
    index = 0
    while True:
        pixels = bases[index // SCENE_CHANGES_EVERY % len(bases)] + np.uint8(index % 2)
        yield Frame(pixels, index * 0.2, index * 0.2, index, "bench")
        index += 1


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise FileNotFoundError("/proc/self/status does not tell the resident memory")


if __name__ == "__main__":
    main(int(sys.argv[1]))
