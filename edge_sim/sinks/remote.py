"""What some sinks can do beyond taking events: be asked, be told, and come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from edge_sim.events import StateChanged


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
class Site:
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


@runtime_checkable
class Remote(Protocol):
    """A sink through which people can talk back."""

    def describe(self, site: Site) -> None:
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
