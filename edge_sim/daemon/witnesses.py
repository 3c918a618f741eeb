"""All that takes note of what was seen beside the events: for people who look, ask or correct."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_sim.config import Config
from edge_sim.daemon.doubts import Doubts
from edge_sim.daemon.post import Post
from edge_sim.daemon.records import Records
from edge_sim.daemon.rig import Rig
from edge_sim.daemon.teaching import Teacher
from edge_sim.enrolment import as_stored
from edge_sim.events import StateChanged
from edge_sim.imaging import encode_jpeg
from edge_sim.loop import Step
from edge_sim.pipeline import Watch

_JPEG_QUALITY = 85


class Witnesses:
    """Pictures for corrections, explanations, doubtful looks, and pictures for far ends.

    Args:
        config: In force.
        now: Seconds since 1970 UTC.
    """

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        self.teacher = Teacher(now)
        self._config = config
        self._doubts = Doubts(config)
        self._records = Records(config)

    def note(self, rig: Rig, source: str, step: Step) -> None:
        """Take note of one step."""
        watches = rig.watches
        self.teacher.note(rig, source, step)
        self._records.note(watches, step)
        self._doubts.note(watches, step)

    def use(self, config: Config) -> None:
        """Go on by another configuration."""
        self._records.close()
        self._records = Records(config)
        if config.review != self._config.review:
            self._doubts = Doubts(config)
        self._config = config

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        self._records.close()


def show_pictures(watches: Mapping[str, Watch], step: Step, post: Post) -> None:
    """Show far ends the region of every watch that has just decided, if one wants to see it."""
    if step.frame is None or not post.wants_pictures:
        return
    for event in step.events:
        if isinstance(event, StateChanged):
            pixels = watches[event.watch].region.pixels_of(step.frame.pixels)
            post.show_picture(event.watch, encode_jpeg(as_stored(pixels), _JPEG_QUALITY))
