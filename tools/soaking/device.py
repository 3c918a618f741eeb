"""The device of a soak: gallery, and a configuration that can be written in several ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.store import GalleryStore
from edge_sim.vision.embedders import open_embedder
from soaking.pictures import STATES, picture

CAMERAS = 4
WATCH_OF = {f"c{number}": f"w{number}" for number in range(CAMERAS)}
_REFERENCES = 5


def make_gallery(folder: Path, model: str) -> None:
    """Write a gallery of four watches of the same kind of thing."""
    embedder = open_embedder(model)
    rng = np.random.default_rng(7)
    with GalleryStore.open(folder / "gallery.db", create=True) as store:
        for watch in WATCH_OF.values():
            for state in STATES:
                shown = [
                    EnrolmentCandidate(f"{state}{at}", picture(state, rng))
                    for at in range(_REFERENCES)
                ]
                enrol(store, embedder, shown, plan=EnrolmentPlan(watch, state, force=True))


def write_config(folder: Path, model: str, port: int, *, reopened: str = "") -> Path:
    """Write the configuration; the source `reopened` differs, so that it is opened again.

    Observes every five seconds, every second while a change is pending, as on a battery.
    """
    lines = [f"model: {{path: {model}}}", "sources:"]
    for number, source in enumerate(WATCH_OF):
        fps = 2 if source == reopened else 1
        lines.append(f"  {source}: {{uri: 'rtsp://soak/{number}', fps: {fps}}}")
    lines += ["watches:"]
    lines += [
        f"  {watch}: {{source: {source}, interval_s: 5, recheck_s: 1}}"
        for source, watch in WATCH_OF.items()
    ]
    lines += ["sinks:", "  - {kind: file, path: events.jsonl, max_mb: 0.5, keep: 1000}"]
    lines += [f"  - {{kind: webhook, url: 'http://127.0.0.1:{port}/hook', timeout_s: 2}}"]
    path = folder / "config.yaml"
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n")
    fresh.replace(path)
    return path
