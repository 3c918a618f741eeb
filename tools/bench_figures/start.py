"""Time from the start of a process to its first output and event."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench_figures import Effort
from edge_sim.analysis.benchmark import Figure
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.synthetic.source import reference_frames, scene_roi, scene_states
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

SCENE = "lamp"
PROGRAM = [sys.executable, "-m", "edge_sim"]


def measure(effort: Effort) -> Sequence[Figure]:
    """Return milliseconds to the version, and to the first event of `run` on a drawn clip."""
    with tempfile.TemporaryDirectory() as folder:
        config = str(_device(Path(folder)))
        version = [_to_first_line([*PROGRAM, "--version"]) for _ in range(effort.repeats)]
        decision = [_to_first_line([*PROGRAM, "run", "-c", config]) for _ in range(effort.repeats)]
    return (
        Figure("edge-sim --version", statistics.median(version), "ms", 120.0),
        Figure("edge-sim run, to the first event", statistics.median(decision), "ms", 600.0),
    )


def _to_first_line(command: Sequence[str]) -> float:
    """Return milliseconds from the start of a process to its first line of output."""
    started_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    line = process.stdout.readline()
    elapsed_s = time.perf_counter() - started_s
    process.kill()
    process.communicate()
    if not line:
        raise FileNotFoundError(f"{' '.join(command)} printed nothing")
    return round(1000.0 * elapsed_s, 1)


def _device(folder: Path) -> Path:
    """Write a gallery and a configuration of one watch with the default model."""
    embedder = open_embedder("default")
    region = Region(scene_roi(SCENE))
    with GalleryStore.open(folder / "gallery.db", create=True) as store:
        for state in scene_states(SCENE):
            frames = reference_frames(SCENE, state, 5)
            pictures = [
                EnrolmentCandidate(f"{state}-{frame.index}", frame.pixels) for frame in frames
            ]
            plan = EnrolmentPlan(SCENE, state, region=region, force=True)
            enrol(store, embedder, pictures, plan=plan, now=lambda: 0.0)
    roi = region.roi
    config = folder / "config.yaml"
    config.write_text(
        f"sources:\n  camera: {{uri: 'synthetic:{SCENE}?seed=1&frames=120&dwell_s=6'}}\n"
        f"watches:\n  {SCENE}: {{roi: [{roi.x1}, {roi.y1}, {roi.x2}, {roi.y2}]}}\n"
    )
    return config
