"""`run` is the daemon's loop: a silent camera holds nobody up."""

from __future__ import annotations

from pathlib import Path

from edge_sim.assembly import Device
from edge_sim.daemon.bell import Bell
from edge_sim.daemon.foreground import foreground_steps
from edge_sim.events import Event
from edge_sim.gallery_store import GalleryStore
from edge_sim.loop import Lane
from edge_sim.pipeline import Pipeline
from tests.builders import BrightnessEmbedder, flat_frame
from tests.daemon.cameras import Camera


class Sink:
    name = "list"

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        return


def lane(camera: Camera, *, live: bool = True) -> Lane:
    pipeline = Pipeline(BrightnessEmbedder(), [], "shed")
    return Lane(camera, pipeline, live=live, now=lambda: 0.0, clock=lambda: 0.0)


def test_a_silent_camera_holds_nobody_up(tmp_path: Path) -> None:
    silent, busy = Camera("silent"), Camera("busy")
    with GalleryStore.open(tmp_path / "gallery.db", create=True) as store:
        device = Device([lane(silent), lane(busy)], [Sink()], store)
        steps = foreground_steps(device, stop=lambda: False, bell=Bell())
        for index in range(5):
            busy.give(flat_frame(index=index))
            assert next(steps).frame is not None
        steps.close()
    assert silent.closed
    assert busy.closed


def test_it_ends_with_the_last_source_or_when_asked(tmp_path: Path) -> None:
    camera = Camera()
    camera.give(flat_frame(), None)
    asked = [False]
    with GalleryStore.open(tmp_path / "gallery.db", create=True) as store:
        device = Device([lane(camera, live=False)], [Sink()], store)
        assert len(list(foreground_steps(device, stop=lambda: asked[0], bell=Bell()))) == 2
        asked[0] = True
        device = Device([lane(Camera())], [Sink()], store)
        assert list(foreground_steps(device, stop=lambda: asked[0], bell=Bell())) == []
