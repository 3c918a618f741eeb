"""Course: what would have been decided with some settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_sim.deciding import AdaptiveDecider, Settings
from edge_sim.domain import Observation, StateChange
from edge_sim.errors import DataError
from edge_sim.events import EventOrigin, StateChanged, state_changed
from edge_sim.score_log import DeciderLine, memory_of


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings to decide with in place of those in the log; None keeps what the log says.

    Args:
        sensitivity: 0 to 1.
        matches: Votes that a change takes.
        of: Votes that count.
        enter: Level at which every state is entered, 0 to 1.
        leave: Level below which every state is left, 0 to 1.
    """

    sensitivity: float | None = None
    matches: int | None = None
    of: int | None = None
    enter: float | None = None
    leave: float | None = None

    def granted(self, settings: Settings) -> Settings:
        """Return the settings that come of it.

        Raises:
            DataError: They contradict each other.
        """
        wanted = {
            name: value
            for name, value in (
                ("sensitivity", self.sensitivity),
                ("matches", self.matches),
                ("of", self.of),
                ("enter", self.enter),
                ("leave", self.leave),
            )
            if value is not None
        }
        try:
            return replace(settings, **wanted)  # type: ignore[arg-type]
        except ValueError as error:
            raise DataError(f"these settings make no sense together: {error}") from error


class ReplayRun:
    """Decides the looks of a log with the settings of then, or with some of them changed.

    Args:
        wish: What is changed.
    """

    def __init__(self, wish: Overrides | None = None) -> None:
        self.wish = wish or Overrides()
        self.events: list[tuple[int, StateChanged]] = []
        """(number of the look, event), in the order of the log."""
        self._deciders: dict[str, AdaptiveDecider] = {}
        self._origins: dict[str, EventOrigin] = {}

    @property
    def deciders(self) -> Mapping[str, AdaptiveDecider]:
        """In force now, per watch."""
        return self._deciders

    def begin(self, line: DeciderLine) -> None:
        """Decide the looks of a watch as this decider from now on.

        Raises:
            DataError: The wish does not go with its settings, or the line contradicts itself.
        """
        decider = AdaptiveDecider.following(self.wish.granted(line.settings))
        try:
            decider.restore(memory_of(line))
        except ValueError as error:
            raise DataError(f"the decider of {line.watch!r} makes no sense: {error}") from error
        self._deciders[line.watch] = decider
        self._origins[line.watch] = EventOrigin(
            line.device, line.source, line.watch, line.model, line.gallery_revision
        )

    def decide(self, watch: str, look: int, observation: Observation) -> StateChange | None:
        """Return the change that a look gives; its watch has begun."""
        change = self._deciders[watch].observe(observation)
        if change is not None:
            self.events.append((look, state_changed(change, self._origins[watch])))
        return change
