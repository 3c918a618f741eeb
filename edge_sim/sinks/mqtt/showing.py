"""What a broker is shown beside states and events: the last picture of a watch, device figures."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

import msgspec

from edge_sim.sinks.mqtt.topics import Message, Topics
from edge_sim.sinks.remote import DeviceStats


class Showing:
    """Remembers the newest of each, so that a new connection begins with it.

    Args:
        topics: Of the device.
        images: Whether pictures are shown at all.
    """

    def __init__(self, topics: Topics, *, images: bool) -> None:
        self._topics = topics
        self._images = images
        self._lock = Lock()
        self._pictures: dict[str, bytes] = {}
        self._stats: DeviceStats | None = None

    def picture(self, watch: str, jpeg: bytes) -> list[Message]:
        """Return what shows a picture; nothing if none are to be shown."""
        if not self._images:
            return []
        with self._lock:
            self._pictures[watch] = jpeg
        return [Message(self._topics.image(watch), jpeg, retain=True)]

    def stats(self, stats: DeviceStats) -> list[Message]:
        """Return what shows the figures of the device."""
        with self._lock:
            self._stats = stats
        return [Message(self._topics.stats, msgspec.json.encode(stats), retain=True)]

    def keep(self, watches: Iterable[str]) -> None:
        """Forget the pictures of all other watches."""
        kept = frozenset(watches)
        with self._lock:
            self._pictures = {name: jpeg for name, jpeg in self._pictures.items() if name in kept}

    def messages(self) -> list[Message]:
        """Return everything as it is now."""
        with self._lock:
            pictures, stats = dict(self._pictures), self._stats
        found = [Message(self._topics.image(w), jpeg, retain=True) for w, jpeg in pictures.items()]
        return found + ([] if stats is None else self.stats(stats))
