"""What the broker retains of a watch besides its state: trouble with the picture, and overdue."""

from __future__ import annotations

from collections.abc import Iterator

from edge_sim.events import Event, SceneCleared, SceneImpaired, StateOverdue, StateOverdueCleared
from edge_sim.sinks.mqtt.topics import Message, Topics, overdue_message, problems_message
from edge_sim.sinks.remote import WatchCard


class RetainedMessages:
    """Follows the events of all watches; used under the lock of the sink.

    Args:
        topics: Of the device.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._problems: dict[str, dict[str, str]] = {}
        self._overdue: dict[str, bool] = {}

    def describe(self, card: WatchCard) -> None:
        """Take over what a watch said before the first event; events know better."""
        if card.problems is not None:
            self._problems.setdefault(card.name, dict(card.problems))
        if card.overdue is not None:
            self._overdue.setdefault(card.name, card.overdue)

    def after(self, event: Event) -> list[Message]:
        """Return what is to be retained because of `event`."""
        if isinstance(event, SceneImpaired | SceneCleared):
            lasting = self._problems.setdefault(event.watch, {})
            if isinstance(event, SceneImpaired):
                lasting[event.problem.value] = event.since
            else:
                lasting.pop(event.problem.value, None)
            return [problems_message(event.watch, lasting, self._topics)]
        if isinstance(event, StateOverdue | StateOverdueCleared):
            self._overdue[event.watch] = isinstance(event, StateOverdue)
            overdue = self._overdue[event.watch]
            return [overdue_message(event.watch, self._topics, overdue=overdue)]
        return []

    def messages(self, card: WatchCard) -> Iterator[Message]:
        """Yield what is retained of a watch, as far as it can ever be said."""
        if card.problems is not None:
            yield problems_message(card.name, self._problems.get(card.name, {}), self._topics)
        if card.overdue is not None:
            overdue = self._overdue.get(card.name, False)
            yield overdue_message(card.name, self._topics, overdue=overdue)
