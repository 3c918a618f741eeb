"""Events as bytes, and what identifies them."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any, TypeVar, Union, get_args

import msgspec

from edge_sim.domain import EventDraft
from edge_sim.errors import ConfigError
from edge_sim.events.kinds import Event, OfWatch

_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_BUILT_IN: dict[str, type[Any]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(Event)
}
_REGISTERED: dict[str, type[OfWatch]] = {}
_Kind = TypeVar("_Kind", bound=type[OfWatch])


def register_event(kind: _Kind) -> _Kind:
    """Make a kind of event one that every sink, the outbox and `from_json_line` understand.

        @register_event
        class VisitorCounted(WatchEvent, frozen=True, tag="visitor_counted", tag_field="type"):
            visitors: int

    A follower reports it with `draft(VisitorCounted, visitors=3)`. Registering the same kind again
    changes nothing.

    Args:
        kind: Subclass of `WatchEvent` with `frozen=True`, a `tag` and `tag_field="type"`; its own
            fields are of types that JSON can hold.

    Raises:
        ConfigError: It is no such class, or the tag is taken.
    """
    global _DECODER
    is_kind = isinstance(kind, type) and issubclass(kind, OfWatch)
    config = kind.__struct_config__ if is_kind else None
    if config is None or config.tag_field != "type" or not config.frozen:
        raise ConfigError(
            f"{getattr(kind, '__name__', kind)!r} is no kind of event: derive it from WatchEvent, "
            f'with frozen=True, tag="..." and tag_field="type"'
        )
    tag = str(config.tag)
    if tag in _BUILT_IN or _REGISTERED.get(tag, kind) is not kind:
        raise ConfigError(f"the type {tag!r} of events is taken; choose another tag")
    if tag in _REGISTERED:
        return kind
    try:
        decoder: Any = msgspec.json.Decoder(_union((*event_kinds().values(), kind)))
    except TypeError as error:
        raise ConfigError(f"events of the type {tag!r} cannot be written: {error}") from error
    _REGISTERED[tag] = kind
    _DECODER = decoder
    return kind


def event_kinds() -> dict[str, type[Any]]:
    """Return every kind of event by its `type`: those of edge_sim, then registered ones."""
    return {**_BUILT_IN, **_REGISTERED}


def draft(kind: type[OfWatch], **facts: Any) -> EventDraft:
    """Return an event for a follower to report; the pipeline adds origin, time and id.

    Args:
        kind: A registered kind.
        facts: Values of the fields that the kind adds.

    Raises:
        ConfigError: The kind is not registered.
        TypeError: A field is missing, or there is no such field.
    """
    if kind not in _REGISTERED.values():
        raise ConfigError(f"{kind.__name__} is not registered; call register_event first")
    own = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in msgspec.structs.fields(OfWatch):
        own.pop(name.name)
    unknown = sorted(facts.keys() - own.keys())
    missing = [name for name, field in own.items() if field.required and name not in facts]
    if unknown or missing:
        what = f"no field {unknown[0]!r}" if unknown else f"no value for {missing[0]!r}"
        raise TypeError(f"{kind.__name__}: {what} (its fields are {', '.join(own)})")
    return EventDraft(kind, facts)


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
    return msgspec.json.schema(_union(tuple(event_kinds().values())))


def _union(kinds: tuple[type[Any], ...]) -> Any:
    return Union[kinds]  # noqa: UP007 a union that is only known while running
