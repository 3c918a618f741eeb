"""A small device for tests: a drawn scene, a gallery file and a configuration, in one folder."""

from __future__ import annotations

from pathlib import Path

from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.synthetic.source import reference_frames, scene_roi, scene_states
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region


def make_gallery(path: Path, scene: str, *, watch: str, model: str = "thumbnail") -> None:
    """Enrol five pictures of every state of a drawn scene."""
    embedder = open_embedder(model)
    with GalleryStore.open(path, create=True) as store:
        for state in scene_states(scene):
            frames = reference_frames(scene, state, 5)
            candidates = [
                EnrolmentCandidate(f"{state}-{frame.index}", frame.pixels) for frame in frames
            ]
            plan = EnrolmentPlan(watch, state, region=Region(scene_roi(scene)), force=True)
            enrol(store, embedder, candidates, plan=plan, now=lambda: 0.0)


def make_device(folder: Path, scene: str = "lamp", *, uri: str = "", extra: str = "") -> Path:
    """Write gallery and configuration of a watch named like the scene; return the latter."""
    make_gallery(folder / "gallery.db", scene, watch=scene)
    roi = scene_roi(scene)
    uri = uri or f"synthetic:{scene}?seed=1&frames=120&dwell_s=6"
    config = folder / "config.yaml"
    config.write_text(
        f"model: {{path: thumbnail}}\n"
        f"sources:\n  camera: {{uri: '{uri}'}}\n"
        f"watches:\n  {scene}: {{roi: [{roi.x1}, {roi.y1}, {roi.x2}, {roi.y2}]}}\n{extra}"
    )
    return config
