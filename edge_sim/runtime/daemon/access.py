"""Access of the web server to the running daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from edge_sim.core.events import Event
from edge_sim.core.protocols import Embedder
from edge_sim.core.raw_pictures import region_of
from edge_sim.core.types import FULL_FRAME, BgrImage, Frame
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import Teach
from edge_sim.runtime.assembly import Device
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.teaching import Flip, Lesson
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.runtime.stills import DiverseStills
from edge_sim.vision.probe import FrameFeatures, Region

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class WatchPicture:
    """Newest frame of a watch, and the region that it observes now.

    Args:
        frame: Newest frame of its source.
        region: Region in force; it may have followed a camera that was moved a little.
        embedder: Embedder of the device; only its facts are for other threads.
    """

    frame: Frame
    region: Region
    embedder: Embedder

    @property
    def region_pixels(self) -> BgrImage:
        """(H, W, 3) uint8 BGR of the region, grey where the mask hides it."""
        return self.region.pixels_of(self.frame.pixels)

    def region_at(self, side_px: int) -> BgrImage:
        """Return the region for a view of this width: (h, w, 3) uint8 BGR, masked, perhaps larger.

        The whole picture of a camera is not converted for it.
        """
        pixels = region_of(self.frame, self.region.roi, side_px)
        return pixels if self.region.mask is None else self.region.mask.hide(pixels)

    def frame_at(self, side_px: int) -> BgrImage:
        """Return the frame for a view of this width: (h, w, 3) uint8 BGR, perhaps larger."""
        return region_of(self.frame, FULL_FRAME, side_px)

    @property
    def model_pixels(self) -> BgrImage:
        """(S, S, 3) uint8 BGR: exactly what the model is given."""
        return FrameFeatures(self.frame, self.embedder).of(self.region).model_pixels


class DeviceAccess(Protocol):
    """Everything that the web server may ask of a daemon, from any thread."""

    board: StatusBoard
    config_path: Path | None
    """File of the configuration; None where it is not in a file."""

    @property
    def config(self) -> Config:
        """Configuration in force."""

    @property
    def written_bytes(self) -> int:
        """Bytes written to the disk beside the outbox since the start."""

    def counts(self) -> OutboxCounts:
        """Return the counts of waiting, delivered and dropped events."""

    def failing(self) -> Mapping[str, int]:
        """Return the number of failures in a row of each sink that fails."""

    def frame(self, source: str) -> Frame | None:
        """Return the newest frame of a source; None before the first."""

    def event_picture(self, event_id: str) -> tuple[str, bytes] | None:
        """Return watch and encoded picture of a recent event; None if it is not in memory."""

    def picture(self, watch: str) -> WatchPicture | None:
        """Return the newest frame of a watch and its region; None before the first.

        Raises:
            CommandError: There is no such watch.
        """

    def teach(self, command: Teach, limit_s: float = 10.0) -> Lesson:
        """Enrol the present picture of a watch, or that of an event, as a reference.

        Raises:
            EdgeSimError: The picture or the command is rejected.
        """

    def call(self, job: Callable[[Device], T], limit_s: float = 10.0) -> T:
        """Return the result of a quick `job`, run between two frames in the thread of the daemon.

        Raises:
            CommandError: Too many jobs wait, or the daemon did not get to it in time.
        """

    def reload(self, limit_s: float = 30.0) -> Config:
        """Read the configuration again; return it once it is in force.

        Raises:
            EdgeSimError: It cannot be used, and the old one stays in force; or the daemon did not
                get to it in time.
        """

    def refresh_gallery(self, limit_s: float = 10.0) -> None:
        """Read the gallery file again if it has changed, and show it.

        Raises:
            CommandError: The daemon did not get to it in time.
        """

    def read_config(self) -> Config:
        """Return the configuration of the file as it is now.

        Raises:
            ConfigError: It cannot be used.
        """

    @property
    def stills(self) -> DiverseStills:
        """Most different recent pictures of each watch."""

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        """Return the recent events of a watch that would give another state with a gallery."""


class RunningWebServer(Protocol):
    """Web server as the daemon sees it."""

    @property
    def fault(self) -> str:
        """Error while it does not answer; empty otherwise. It restarts by itself."""

    def close(self) -> None:
        """Stop answering and close all connections. Safe to call twice."""


class UpdateAccess(Protocol):
    """Everything that the part which takes packs may ask of a daemon, from its own thread."""

    board: StatusBoard

    def report(self, event: Event) -> None:
        """Report an event as one of the daemon's own: stored for every sink when this returns.

        Raises:
            CommandError: The daemon did not get to it in time.
        """

    def recent_pictures(self, watch: str) -> int:
        """Return how many pictures of recent events of a watch are in memory."""

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        """Return the recent events of a watch that would give another state with a gallery."""


class RunningUpdater(Protocol):
    """Thread that takes packs, as the daemon sees it."""

    @property
    def fault(self) -> str:
        """Unexpected error of the last check; empty otherwise. It goes on by itself."""

    def use(self, config: Config) -> None:
        """Check again at once, with this configuration; returns at once."""

    def close(self) -> None:
        """Take nothing more; a check that has begun ends by itself. Safe to call twice."""


OpenUpdater = Callable[[Config, UpdateAccess], RunningUpdater]
"""Opener of the thread that takes packs; raises `ConfigError` if an extra is missing."""
OpenWebServer = Callable[[Config, DeviceAccess], RunningWebServer]
"""Opener of the web server of a configuration; raises `ConfigError` if it cannot listen."""
