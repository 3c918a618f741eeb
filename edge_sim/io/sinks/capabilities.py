"""What some sinks can do beyond taking events: be asked, be told, and come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from edge_sim.core.events import StateChanged


@dataclass(frozen=True, slots=True)
class WatchCard:
    """What a far end must know of a watch.

    Args:
        name: Of the watch.
        source: Name of its source.
        states: That it can say, without `unknown`.
        sensitivity: In force now, 0 to 1.
        problems: Trouble with the picture -> since when; None if none is ever told.
        overdue: Whether its state lasts too long; None if no state can.
    """

    name: str
    source: str
    states: tuple[str, ...]
    sensitivity: float
    problems: Mapping[str, str] | None = None
    overdue: bool | None = None


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a far end must know of a device.

    Args:
        watches: All of them.
        model: Id of the embedding model.
    """

    watches: tuple[WatchCard, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class Teach:
    """What the watch shows is `state`: now, or at the event with that id."""

    watch: str
    state: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class SetSensitivity:
    """The watch gets another sensitivity, 0 to 1."""

    watch: str
    sensitivity: float


Command: TypeAlias = Teach | SetSensitivity


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """How a device does.

    Args:
        uptime_s: Since its daemon started.
        rss_mb: Memory of the process, megabytes; None where the system does not tell.
        cpu_share: Of one core, since the last figures.
        frames: Looked at since the start.
        looks: Of watches, since the start.
        events: Told since the start.
        sources: Configured.
        sources_up: Of them, those that give frames.
        outbox_waiting: Events that a sink has not got.
        outbox_dropped: Events that a sink never gets, since the start.
        written_mb_last_day: To the disk, outbox only.
    """

    uptime_s: float
    rss_mb: float | None
    cpu_share: float
    frames: int
    looks: int
    events: int
    sources: int
    sources_up: int
    outbox_waiting: int
    outbox_dropped: int
    written_mb_last_day: float


@runtime_checkable
class Illustrated(Protocol):
    """A sink that can show a picture of a watch."""

    @property
    def wants_pictures(self) -> bool:
        """Whether it is to show them: pictures leave the device only where that is configured."""

    def show_picture(self, watch: str, jpeg: bytes) -> None:
        """Show the region as it was when the watch decided; returns at once."""


@runtime_checkable
class Reporting(Protocol):
    """A sink that can show how the device does."""

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
    """A sink through which people can talk back."""

    def describe(self, device_info: DeviceInfo) -> None:
        """Announce the device as it is now; called at the start and after every change."""

    def listen(self, on_command: Callable[[Command], None]) -> None:
        """Hand checked commands to `on_command`, which must return at once.

        It is called on a thread of the sink. A `CommandError` that it raises is logged.
        """


@runtime_checkable
class Resumable(Protocol):
    """A sink that shows the last state of every watch and can tell when it is connected."""

    def resume(self, latest: Sequence[StateChanged]) -> None:
        """Show these states again, without events; called once, before the first event."""

    def when_ready(self, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` whenever a connection stands; it must return at once."""
