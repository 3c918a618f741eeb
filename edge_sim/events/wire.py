"""Events as bytes, and what identifies them."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any

import msgspec

from edge_sim.events.kinds import Event

_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def event_id(*parts: str) -> str:
    """Return 16 hexadecimal digits that depend on every part."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def utc_text(unix_time_s: float) -> str:
    """Return ISO 8601 with milliseconds and Z, as in `2026-01-31T12:00:00.250Z`."""
    moment = datetime.fromtimestamp(unix_time_s, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_time_s(text: str) -> float:
    """Return seconds since 1970 of a time as `utc_text` writes it.

    Raises:
        ValueError: It is none.
    """
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def tag_of(event: Event) -> str:
    """Return the `type` of `event`, as in `state_changed`."""
    return str(event.__struct_config__.tag)


def to_json_line(event: Event) -> bytes:
    """Return `event` as one line of JSON, newline included."""
    return msgspec.json.encode(event) + b"\n"


def from_json_line(line: bytes) -> Event:
    """Return the event in one line of JSON.

    Raises:
        ValueError: The line is no event of this schema.
    """
    return _DECODER.decode(line)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `Event`."""
    return msgspec.json.schema(Event)
