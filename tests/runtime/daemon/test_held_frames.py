"""Whole frames are held per camera, and none per watch."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_sim.core.types import BgrImage, Frame
from edge_sim.io.sources.synthetic.source import scene_roi
from edge_sim.runtime.assembly import Environment
from edge_sim.runtime.config import load_config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.runtime.loop import Step
from tests.devices import make_gallery
from tests.runtime.daemon.cameras import pictures

FRAMES = 48
HELD = 3
"""The frame in hand, the one before it for a correction, and the last one in a local variable."""


class Clip:
    """Clip of a lamp that changes every eight frames; knows which pictures are still held."""

    name = "camera"

    def __init__(self) -> None:
        self._index = 0
        self._given: list[weakref.ref[BgrImage]] = []

    @property
    def held(self) -> int:
        return sum(given() is not None for given in self._given)

    def read(self) -> Frame | None:
        index = self._index
        if index == FRAMES:
            return None
        self._index += 1
        frame = pictures(("on", "off")[index // 8 % 2])[index % 5]
        pixels = np.array(frame.pixels)
        self._given.append(weakref.ref(pixels))
        return replace(frame, pixels=pixels, index=index, captured_at_s=float(index))

    def close(self) -> None:
        return


@pytest.mark.parametrize("watches", [1, 4])
def test_no_watch_holds_a_whole_frame(tmp_path: Path, watches: int) -> None:
    names = [f"w{number}" for number in range(watches)]
    for name in names:
        make_gallery(tmp_path / "gallery.db", "lamp", watch=name)
    roi = scene_roi("lamp")
    box = f"[{roi.x1}, {roi.y1}, {roi.x2}, {roi.y2}]"
    path = tmp_path / "config.yaml"
    path.write_text(
        "model: {path: thumbnail}\nsources: {camera: {uri: clip}}\nwatches:\n"
        + "".join(f"  {name}: {{roi: {box}}}\n" for name in names)
        + "explanations: {pictures: true}\nreview: {path: review}\n"
        + "sinks: [{kind: file, path: events.jsonl}]\n"
    )
    config, clip = load_config(path), Clip()
    held: list[int] = []

    def count(source: str, step: Step) -> None:
        if step.frame is not None and step.frame.index % 4 == 3:
            gc.collect()
            held.append(clip.held)

    world = Environment(
        open_source=lambda config, name: clip, is_live=lambda uri: False, on_step=count
    )
    Daemon(config, reload=lambda: config, environment=world).run()
    assert len((tmp_path / "events.jsonl").read_bytes().splitlines()) >= 5 * watches
    assert len(held) == FRAMES // 4
    assert max(held) <= HELD
