"""Embeddings and pictures that wait for their events, in bounded memory."""

from __future__ import annotations

import binascii
from collections import OrderedDict
from threading import Lock

import msgspec
import numpy as np

from edge_sim.io.sinks.capabilities import EventAttachment
from edge_sim.io.sinks.mqtt.topics import Message, Topics
from edge_sim.io.sinks.options import MqttOptions

MOST_BYTES = 8_000_000
"""All that waits together: the oldest are given up first, their events are sent without them."""
MOST_PICTURE_BYTES = 900_000
"""Largest picture: a collector reads no message of a megabyte or more."""


class Attachments:
    """Messages by the id of their event; any thread.

    Args:
        options: Options of the sink: what may leave the device.
        topics: Topics of the device.
    """

    def __init__(self, options: MqttOptions, topics: Topics) -> None:
        self._options = options
        self._topics = topics
        self._lock = Lock()
        self._waiting: OrderedDict[str, list[Message]] = OrderedDict()
        self._bytes = 0

    def keep(self, attachment: EventAttachment) -> None:
        """Keep what the options allow."""
        messages = self._messages(attachment)
        if not messages:
            return
        with self._lock:
            self._drop(attachment.event.id)
            self._waiting[attachment.event.id] = messages
            self._bytes += _size(messages)
            while self._bytes > MOST_BYTES:
                self._drop(next(iter(self._waiting)))

    def of(self, event_id: str) -> list[Message]:
        """Return the messages of an event."""
        with self._lock:
            return list(self._waiting.get(event_id, ()))

    def drop(self, event_id: str) -> None:
        """Forget those of an event, which the broker has confirmed."""
        with self._lock:
            self._drop(event_id)

    def _drop(self, event_id: str) -> None:
        self._bytes -= _size(self._waiting.pop(event_id, []))

    def _messages(self, attachment: EventAttachment) -> list[Message]:
        event, embedding, jpeg = attachment.event, attachment.embedding, attachment.jpeg
        found = []
        if self._options.embeddings and embedding is not None:
            halves = np.asarray(embedding.vector, "<f2").tobytes()
            body = {
                "id": event.id,
                "at": event.at,
                "state": event.after,
                "model": embedding.model_id,
                "vector": binascii.b2a_base64(halves, newline=False).decode(),
            }
            found.append(Message(self._topics.embedding(event.watch), msgspec.json.encode(body)))
        if self._options.event_pictures and jpeg is not None and len(jpeg) <= MOST_PICTURE_BYTES:
            found.append(Message(self._topics.picture(event.watch, event.id), jpeg))
        return found


def _size(messages: list[Message]) -> int:
    return sum(len(message.payload) for message in messages)
