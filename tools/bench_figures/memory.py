"""Memory of a process that watches one camera with three watches and 1,000 references."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench_figures import Effort
from edge_sim.analysis.benchmark import Figure
from edge_sim.core import resources
from edge_sim.core.types import Frame, Roi
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.synthetic.source import reference_frames, scene_states
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

SCENE = "parking"
REFERENCES = 1_000
ROIS = {
    "whole": Roi(),
    "left": Roi(0.0, 0.0, 0.6, 0.6),
    "right": Roi(0.3, 0.3, 1.0, 1.0),
}
WARM_UP_FRAMES = 2_000
TRACED_FRAMES = 2_000
SCENE_CHANGES_EVERY = 50  # frames; most are spared by the gate, as with a camera


def measure(effort: Effort) -> Sequence[Figure]:
    """Return megabytes at the end, their growth after warming up, and traced growth per frame."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.db"
        _enrol(path)
        done = subprocess.run(
            [sys.executable, "-m", "bench_figures.memory", str(path), str(effort.memory_frames)],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # as for `edge-sim daemon`
        )
    figures = json.loads(done.stdout)
    frames = f"{effort.memory_frames:,} frames"
    return (
        Figure(f"resident after {frames}", figures["resident_mb"], "MB", 120.0),
        Figure(f"growth over {frames}", figures["growth_mb"], "MB", 1.0),
        Figure("traced growth per frame", figures["traced_bytes_per_frame"], "bytes", 1.0),
    )


def main(gallery: Path, frames: int) -> None:
    """Process the frames and print the figures as JSON."""
    pipeline, pictures = _pipeline(gallery), _frames()
    next(pictures)  # drawn by now, which takes some megabytes for a moment
    resources.release_free_memory()  # as the daemon does
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
    figures = {
        "resident_mb": round(end_mb, 1),
        "growth_mb": round(end_mb - warm_mb, 2),
        "traced_bytes_per_frame": round(grown / TRACED_FRAMES, 2),
    }
    print(json.dumps(figures))


def _enrol(path: Path) -> None:
    """Make a gallery file; in another process than the one whose memory counts."""
    embedder = open_embedder("default")
    states = scene_states(SCENE)
    each = -(-REFERENCES // len(ROIS) // len(states))
    with GalleryStore.open(path, create=True) as store:
        for watch, roi in ROIS.items():
            for state in states:
                few = [frame.pixels // 2 for frame in reference_frames(SCENE, state, 5)]
                # A little lighter each time: other pictures, of the same state.
                shown = [
                    EnrolmentCandidate(f"{state}-{number}", few[number % len(few)] + number // 4)
                    for number in range(each)
                ]
                plan = EnrolmentPlan(watch, state, region=Region(roi), force=True)
                enrol(store, embedder, shown, plan=plan)


def _pipeline(gallery: Path) -> Pipeline:
    embedder = open_embedder("default")
    stages = stages_of(Config(), WatchConfig())
    with GalleryStore.open(gallery, read_only=True) as store:
        watches = [
            Watch(name, store.gallery(name), stages, region=Region(roi), gate=Gate())
            for name, roi in ROIS.items()
        ]
    return Pipeline(embedder, watches, "bench")


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
    main(Path(sys.argv[1]), int(sys.argv[2]))
