"""What far ends are told of the device, and when; pictures only where somebody wants them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_sim.core.events import Event
from edge_sim.core.images import decode
from edge_sim.core.types import Roi
from edge_sim.decision.pipeline import Watch
from edge_sim.errors import ConfigError
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import DeviceStats, EventAttachment
from edge_sim.runtime.config import parse_config
from edge_sim.runtime.daemon.outputs import EventDispatcher
from edge_sim.runtime.daemon.recording import attach_to_events, show_pictures
from edge_sim.runtime.daemon.reporting import ProcessStats, resident_mb
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.runtime.loop import Step
from edge_sim.vision.probe import Region
from tests.builders import flat_frame
from tests.decision.test_pipeline import STAGES
from tests.io.outbox.events import changed

COUNTS = OutboxCounts(
    waiting=3,
    waiting_bytes=900,
    unsaved=0,
    pending={},
    delivered={},
    dropped={("mqtt", "age"): 2, ("hook", "size"): 1},
    written_bytes=5_000_000,
    written_bytes_last_day=2_500_000,
    over_budget=False,
)


class FarEnd:
    """A sink that shows everything."""

    name = "far"
    wants_pictures = True
    wants_embeddings = True
    wants_event_pictures = True
    stats_interval_s = 60.0

    def __init__(self) -> None:
        self.pictures: list[tuple[str, bytes]] = []
        self.figures: list[DeviceStats] = []
        self.attached: list[EventAttachment] = []

    def emit(self, event: Event) -> None:
        return

    def close(self) -> None:
        return

    def attach(self, attachment: EventAttachment) -> None:
        self.attached.append(attachment)

    def show_picture(self, watch: str, jpeg: bytes) -> None:
        self.pictures.append((watch, jpeg))

    def show_stats(self, stats: DeviceStats) -> None:
        self.figures.append(stats)


def post_to(far: FarEnd, folder: Path) -> EventDispatcher:
    config = parse_config("outbox: {storage: memory}", where="c.yaml", folder=str(folder))
    return EventDispatcher(config, lambda command: None, open_sinks=lambda config: [far])


def test_the_share_of_the_processor_is_that_since_the_last_figures() -> None:
    used = iter([1.0, 1.5, 4.5])
    now = [100.0]
    vitals = ProcessStats(
        StatusBoard("shed", clock=lambda: now[0]), used=lambda: next(used), memory_mb=lambda: 99.0
    )
    now[0] = 110.0
    first = vitals.stats(COUNTS)
    now[0] = 120.0
    second = vitals.stats(COUNTS)
    assert (first.cpu_share, second.cpu_share) == (0.05, 0.3)
    assert (first.uptime_s, second.uptime_s) == (10.0, 20.0)
    assert (first.outbox_waiting, first.outbox_dropped, first.written_mb_last_day) == (3, 3, 2.5)
    assert first.rss_mb == 99.0


def test_the_memory_of_this_process_is_known() -> None:
    found = resident_mb()
    assert found is not None
    assert 10.0 < found < 10_000.0


def test_figures_are_told_at_the_interval_of_each_sink(tmp_path: Path) -> None:
    far = FarEnd()
    post = post_to(far, tmp_path)
    vitals = ProcessStats(StatusBoard("shed"))
    for now_s in (1000.0, 1001.0, 1059.0, 1060.0, 1119.0, 1120.0):
        post.report(now_s, vitals.stats)
    post.close()
    assert len(far.figures) == 3


def device_with_gate(*, private: bool, region: Region | None = None) -> Any:
    text = (
        f"sources: {{yard: {{uri: synthetic:gate}}}}\nwatches:\n"
        f"  gate: {{source: yard, private: {str(private).lower()}}}\n"
    )
    watch = Watch("gate", Gallery(), STAGES, region=region or Region())
    return SimpleNamespace(config=parse_config(text, where="c.yaml"), watches={"gate": watch})


@pytest.mark.parametrize("private", [False, True])
def test_the_region_of_a_change_is_shown_where_it_is_wanted_unless_its_watch_is_private(
    tmp_path: Path, private: bool
) -> None:
    far = FarEnd()
    post = post_to(far, tmp_path)
    device = device_with_gate(private=private, region=Region(Roi(0.0, 0.0, 0.5, 1.0)))
    show_pictures(device, Step(flat_frame(90), (), ()), post)
    assert far.pictures == [], "nothing was decided"
    show_pictures(device, Step(flat_frame(90), (), (changed(1),)), post)
    post.close()
    shown = [(watch, decode(jpeg).shape) for watch, jpeg in far.pictures]
    assert shown == ([] if private else [("gate", (24, 16, 3))])


@pytest.mark.parametrize("private", [False, True])
def test_what_goes_with_an_event_is_sent_unless_its_watch_is_private(
    tmp_path: Path, private: bool
) -> None:
    far, event = FarEnd(), changed(1)
    post = post_to(far, tmp_path)
    device = device_with_gate(private=private)
    outcome: Any = SimpleNamespace(watch=event.watch, probe=SimpleNamespace(embedding="vector"))
    attach_to_events(device, Step(None, (outcome,), (event,)), post)
    assert far.attached == [], "there is no picture of a lost camera"
    attach_to_events(device, Step(flat_frame(90), (outcome,), (event,)), post)
    post.close()
    sent = [(item.event, str(item.embedding), item.jpeg is None) for item in far.attached]
    assert sent == ([] if private else [(event, "vector", False)])


def test_no_picture_is_made_where_nobody_wants_one(tmp_path: Path) -> None:
    far = FarEnd()
    far.wants_pictures = False
    post = post_to(far, tmp_path)
    device = device_with_gate(private=False)
    show_pictures(device, Step(flat_frame(), (), (changed(1),)), post)
    post.close()
    assert far.pictures == []


def test_a_device_that_keeps_nothing_of_an_event_shows_no_pictures() -> None:
    for key, place in (("image", "broker"), ("event_pictures", "collector")):
        text = f"outbox: {{storage: memory}}\nsinks:\n  - {{kind: mqtt, {key}: true}}\n"
        with pytest.raises(ConfigError, match=rf"c.yaml:3: sinks\[0\].{key}: the {place} keeps"):
            parse_config(text, where="c.yaml")
