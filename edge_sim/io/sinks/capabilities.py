"""Optional sink capabilities: receive commands, publish status, resume after reconnecting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from edge_sim.core.events import StateChanged
from edge_sim.core.types import Embedding


@dataclass(frozen=True, slots=True)
class WatchInfo:
    """Description of a watch for a receiver.

    Args:
        name: Name of the watch.
        source: Name of its source.
        states: States that it can report, without `unknown`.
        sensitivity: Sensitivity in force now, 0 to 1.
        problems: Open problems with the picture -> start time; None if none is ever reported.
        overdue: True while its state lasts too long; None if no state can.
        private: Whether no picture of it may leave the device.
    """

    name: str
    source: str
    states: tuple[str, ...]
    sensitivity: float
    problems: Mapping[str, str] | None = None
    overdue: bool | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Description of a device for a receiver.

    Args:
        watches: All watches.
        model: Id of the embedding model.
    """

    watches: tuple[WatchInfo, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class Teach:
    """Enrol the picture of a watch as `state`: that of now, or of the event with that id.

    With `force`, also where the gallery is sure that it shows another state; the result says so.
    """

    watch: str
    state: str
    event_id: str | None = None
    force: bool = True


@dataclass(frozen=True, slots=True)
class SetSensitivity:
    """Set the sensitivity of a watch, 0 to 1."""

    watch: str
    sensitivity: float


Command: TypeAlias = Teach | SetSensitivity


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """Figures of a running device.

    Args:
        uptime_s: Seconds since its daemon started.
        rss_mb: Memory of the process, megabytes; None where the system does not report it.
        cpu_share: Share of one core since the last figures.
        frames: Frames processed since the start.
        observations: Observations of all watches since the start.
        events: Events reported since the start.
        sources: Number of configured sources.
        sources_up: Number of those that give frames.
        outbox_waiting: Events that at least one sink has not received.
        outbox_dropped: Events that a sink never receives, since the start.
        written_mb_last_day: Megabytes that the outbox wrote in the last 24 hours.
        disk_free_mb: Free space where the device keeps its files, megabytes; None if unknown.
    """

    uptime_s: float
    rss_mb: float | None
    cpu_share: float
    frames: int
    observations: int
    events: int
    sources: int
    sources_up: int
    outbox_waiting: int
    outbox_dropped: int
    written_mb_last_day: float
    disk_free_mb: float | None = None


@runtime_checkable
class Illustrated(Protocol):
    """A sink that can show a picture of a watch."""

    @property
    def wants_pictures(self) -> bool:
        """True where pictures may leave the device by the configuration."""

    def show_picture(self, watch: str, jpeg: bytes) -> None:
        """Show the region as it was when the watch decided; returns at once."""


@dataclass(frozen=True, slots=True, eq=False)
class EventAttachment:
    """Picture and embedding of a change of state, sent after the event itself.

    Args:
        event: The change.
        embedding: Embedding of the region; None is not sent.
        jpeg: Region as JPEG; None is not sent.
    """

    event: StateChanged
    embedding: Embedding | None
    jpeg: bytes | None


@runtime_checkable
class Attaching(Protocol):
    """A sink that can send more of a change of state than its event."""

    @property
    def wants_embeddings(self) -> bool:
        """True where embeddings may leave the device by the configuration."""

    @property
    def wants_event_pictures(self) -> bool:
        """True where pictures of events may leave the device by the configuration."""

    def attach(self, attachment: EventAttachment) -> None:
        """Send it with its event, whose delivery comes later; returns at once."""


@runtime_checkable
class Reporting(Protocol):
    """A sink that can show figures of the device."""

    @property
    def name(self) -> str:
        """Safe to log."""

    @property
    def stats_interval_s(self) -> float:
        """Seconds between two reports; 0 wants none."""

    def show_stats(self, stats: DeviceStats) -> None:
        """Show the figures; returns at once."""


@runtime_checkable
class Remote(Protocol):
    """A sink that receives commands."""

    def describe(self, device_info: DeviceInfo) -> None:
        """Announce the device as it is now; called at the start and after every change."""

    def listen(self, on_command: Callable[[Command], None]) -> None:
        """Hand checked commands to `on_command`, which must return at once.

        It is called on a thread of the sink. A `CommandError` that it raises is logged.
        """


@runtime_checkable
class Dated(Protocol):
    """A sink that shows since when a watch has been in its state."""

    def correct_times(self, step_s: float) -> None:
        """Move the times shown, which were noted before the clock was set; returns at once.

        Args:
            step_s: Step of the clock, seconds.
        """


@runtime_checkable
class Resumable(Protocol):
    """A sink that shows the last state of every watch and reports when it is connected."""

    def resume(self, latest: Sequence[StateChanged]) -> None:
        """Show these states again, without events; called once, before the first event."""

    def when_ready(self, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` whenever a connection stands; it must return at once."""
