"""Messages of devices, read into what a collection stores of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from edge_sim.core.events import unix_time_s, utc_text
from edge_sim.fleet.vectors import MOST_DIMENSIONS, CollectedVector

MAX_PAYLOAD_BYTES = 1 << 20
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_ID = 64
_MAX_MODEL = 200
_JPEG = b"\xff\xd8\xff"
_EARLIEST_S, _LATEST_S = unix_time_s("0002-01-01T00:00:00Z"), unix_time_s("9999-01-01T00:00:00Z")
"""Times that Python reads from PostgreSQL in every time zone, seconds since 1970: one row with
another would end every reading of its table."""


@dataclass(frozen=True, slots=True)
class Received:
    """Message of a device.

    Args:
        topic: Topic below the prefix of the site, such as `porch/bowl/event`.
        payload: Content.
        at_s: Time of arrival, seconds since 1970.
        is_retained: The broker had kept it: it says nothing about when the device was heard.
    """

    topic: str
    payload: bytes
    at_s: float
    is_retained: bool = False


class ReceivedEvent(msgspec.Struct, frozen=True):
    """Fields of an event of any kind that the tables need."""

    id: str
    type: str
    at: str
    watch: str | None = None
    after: str | None = None
    reason: str | None = None

    @property
    def state(self) -> str | None:
        """State after a change; None for an event of another kind."""
        return self.after if self.type == "state_changed" and self.watch else None


class ReceivedEmbedding(msgspec.Struct, frozen=True):
    """Embedding of the picture of an event; `vector` is float16, little-endian, in Base64."""

    id: str
    at: str
    model: str
    vector: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class EventPicture:
    """Picture of an event.

    Args:
        device: Device.
        id: Id of the event.
        at: Time of its arrival, as `utc_text` writes it.
        watch: Name of the watch.
        jpeg: Content.
    """

    device: str
    id: str
    at: str
    watch: str
    jpeg: bytes


@dataclass(slots=True)
class Batch:
    """Content of some messages of one site.

    Args:
        seen: Device -> time at which it was last heard, seconds since 1970; 0 says nothing.
        events: Device, event, and its text, in the order of arrival.
        available: Device -> whether it is available.
        stats: Device -> its figures, as text.
        vectors: Embeddings.
        pictures: Pictures.
        rejected: Number of messages that are none of a device.
    """

    seen: dict[str, float] = field(default_factory=dict)
    events: list[tuple[str, ReceivedEvent, str]] = field(default_factory=list)
    available: dict[str, bool] = field(default_factory=dict)
    stats: dict[str, str] = field(default_factory=dict)
    vectors: list[CollectedVector] = field(default_factory=list)
    pictures: list[EventPicture] = field(default_factory=list)
    rejected: int = 0

    def states(self) -> dict[tuple[str, str], ReceivedEvent]:
        """Return the latest change of every device and watch."""
        found: dict[tuple[str, str], ReceivedEvent] = {}
        for device, event, _ in self.events:
            if event.state is not None:
                key = (device, str(event.watch))
                known = found.get(key)
                if known is None or unix_time_s(known.at) <= unix_time_s(event.at):
                    found[key] = event
        return found


def batch_of(site: str, messages: Iterable[Received]) -> Batch:
    """Return the content of messages; what is none of a device is counted and left out."""
    batch = Batch()
    for message in messages:
        batch.rejected += not _put(batch, site, message)
    return batch


def _put(batch: Batch, site: str, message: Received) -> bool:
    """Add one message; return False if it is none of a device."""
    device, *parts = message.topic.split("/")
    if not NAME.fullmatch(device) or len(message.payload) > MAX_PAYLOAD_BYTES or not parts:
        return False
    if not message.is_retained:
        batch.seen[device] = max(batch.seen.get(device, 0.0), message.at_s)
    if parts == ["available"]:
        batch.seen.setdefault(device, 0.0)
        batch.available[device] = message.payload == b"online"
    elif parts == ["stats"]:
        text = _text_of_json(message.payload)
        if text is None:
            return False
        batch.stats[device] = text
    elif parts[-1] == "event" and len(parts) <= 2:
        return _put_event(batch, device, message.payload)
    elif len(parts) == 2 and parts[1] == "embedding":
        return _put_embedding(batch, site, device, parts[0], message.payload)
    elif len(parts) == 3 and parts[1] == "picture":
        return _put_picture(batch, device, parts[0], parts[2], message)
    return True  # other topics repeat what the events say


def _put_event(batch: Batch, device: str, payload: bytes) -> bool:
    text = _text_of_json(payload)
    if text is None:  # first: what is nested too deeply ends the other decoding as well
        return False
    try:
        event = msgspec.json.decode(payload, type=ReceivedEvent)
        _check_time(event.at)
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return False
    # Parts of a key: PostgreSQL fails on a long one as it does when it is away, and the message
    # would be tried for ever.
    if not 1 <= len(event.id) <= _MAX_ID or len(event.type) > _MAX_ID:
        return False
    if event.watch is not None and not NAME.fullmatch(event.watch):
        return False
    if event.after is not None and len(event.after) > _MAX_ID:
        return False
    batch.events.append((device, event, text))
    return True


def _put_embedding(batch: Batch, site: str, device: str, watch: str, payload: bytes) -> bool:
    try:
        found = msgspec.json.decode(payload, type=ReceivedEmbedding)
        data = base64.b64decode(found.vector, validate=True)
        at = utc_text(_check_time(found.at))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return False
    is_sound = (
        1 <= len(found.id) <= _MAX_ID
        and 1 <= len(found.model) <= _MAX_MODEL
        and NAME.fullmatch(watch)
        and len(found.state) <= _MAX_ID
        and 2 <= len(data) <= 2 * MOST_DIMENSIONS
        and len(data) % 2 == 0
    )
    vector = np.frombuffer(data, "<f2").astype(np.float32) if is_sound else np.zeros(1, np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        return False
    batch.vectors.append(
        CollectedVector(site, device, found.id, at, found.model, vector, watch, found.state)
    )
    return True


def _put_picture(batch: Batch, device: str, watch: str, name: str, message: Received) -> bool:
    is_sound = NAME.fullmatch(watch) and NAME.fullmatch(name) and message.payload.startswith(_JPEG)
    if is_sound:
        at = utc_text(message.at_s)
        batch.pictures.append(EventPicture(device, name, at, watch, message.payload))
    return bool(is_sound)


def _check_time(text: str) -> float:
    """Return seconds since 1970.

    Raises:
        ValueError: It is no time, or none that can be stored.
    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None or not _EARLIEST_S <= moment.timestamp() < _LATEST_S:
        raise ValueError(text)
    return moment.timestamp()


def _text_of_json(payload: bytes) -> str | None:
    try:
        # Values, too: PostgreSQL stores numbers so long that Python does not read them again.
        msgspec.json.decode(payload, type=dict[str, Any])
        return payload.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
