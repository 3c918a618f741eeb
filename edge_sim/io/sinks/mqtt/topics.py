"""The topics of a device, the messages on them, and the commands that arrive there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from edge_sim.core.clock_steps import corrected
from edge_sim.core.events import (
    Event,
    IndexReady,
    PackReported,
    SourceLost,
    StateChanged,
    WatchEvent,
    to_json_line,
    unix_time_s,
    utc_text,
)
from edge_sim.errors import CommandError
from edge_sim.io.sinks.capabilities import Command, DeviceInfo, SetSensitivity, Teach, WatchInfo

ONLINE, OFFLINE = b"online", b"offline"
MAX_BYTES = 256
"""Longest payload of a command."""

VERBS = ("teach", "sensitivity")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RATIO = re.compile(r"[01](\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish, at quality of service 1, so that the broker confirms it."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics below `<prefix>/<device>`."""

    prefix: str
    device: str

    @property
    def available(self) -> str:
        """`online` or `offline`, retained; the latter from the broker when the device vanishes."""
        return f"{self._base}/available"

    @property
    def events(self) -> str:
        """Events that belong to no watch: of a source, or of a pack."""
        return f"{self._base}/event"

    def source_available(self, source: str) -> str:
        """`online` while a source gives frames, else `offline`, retained."""
        return f"{self._base}/sources/{_part(source)}/available"

    def pack(self, name: str) -> str:
        """The last report on a pack, as JSON, retained."""
        return f"{self._base}/packs/{_part(name)}"

    def state(self, watch: str) -> str:
        """The state as plain text, retained."""
        return f"{self._base}/{_part(watch)}/state"

    def attributes(self, watch: str) -> str:
        """Values that decided the state, as JSON, retained."""
        return f"{self._base}/{_part(watch)}/attributes"

    def event(self, watch: str) -> str:
        """Every event of the watch as JSON, not retained."""
        return f"{self._base}/{_part(watch)}/event"

    def problems(self, watch: str) -> str:
        """Problems with the picture, as JSON, retained: `problem` is `on` or `off`."""
        return f"{self._base}/{_part(watch)}/problems"

    def overdue(self, watch: str) -> str:
        """`on` while the state lasts too long, else `off`, retained."""
        return f"{self._base}/{_part(watch)}/overdue"

    def sensitivity(self, watch: str) -> str:
        """The sensitivity in force, retained."""
        return f"{self._base}/{_part(watch)}/sensitivity/state"

    def image(self, watch: str) -> str:
        """The region when the watch last decided, JPEG, retained; only if that is configured."""
        return f"{self._base}/{_part(watch)}/image"

    def embedding(self, watch: str) -> str:
        """Embedding of a change of state, JSON, not retained; only if that is configured."""
        return f"{self._base}/{_part(watch)}/embedding"

    def picture(self, watch: str, event_id: str) -> str:
        """The region at a change of state, JPEG, not retained; only if that is configured."""
        return f"{self._base}/{_part(watch)}/picture/{_part(event_id)}"

    @property
    def stats(self) -> str:
        """Figures of the device, as JSON, retained."""
        return f"{self._base}/stats"

    def command(self, watch: str, verb: str) -> str:
        """Topic of a command; `+` as the watch means all of them."""
        return f"{self._base}/{watch if watch == '+' else _part(watch)}/{verb}/set"

    def of_watch(self, watch: str) -> tuple[str, ...]:
        """Return all retained topics of a watch."""
        return (
            self.state(watch),
            self.attributes(watch),
            self.problems(watch),
            self.overdue(watch),
            self.sensitivity(watch),
            self.image(watch),
        )

    @property
    def _base(self) -> str:
        return f"{self.prefix}/{self.device}"


def messages_of(event: Event, topics: Topics) -> list[Message]:
    """Return what is published for `event`; the event itself last, after its state."""
    body = to_json_line(event).rstrip(b"\n")
    if isinstance(event, StateChanged):
        return [*state_messages(event, topics), Message(topics.event(event.watch), body)]
    if isinstance(event, WatchEvent):
        return [Message(topics.event(event.watch), body)]
    if isinstance(event, IndexReady):
        return [Message(topics.events, body)]
    if isinstance(event, PackReported):
        return [Message(topics.pack(event.pack), body, retain=True), Message(topics.events, body)]
    is_lost = isinstance(event, SourceLost)
    return [source_message(event.source, topics, online=not is_lost), Message(topics.events, body)]


def state_messages(event: StateChanged, topics: Topics) -> list[Message]:
    """Return the retained messages with the state of a watch."""
    return [
        Message(topics.attributes(event.watch), _attributes(event), retain=True),
        Message(topics.state(event.watch), event.after.encode(), retain=True),
    ]


def problems_message(watch: str, problems: Mapping[str, str], topics: Topics) -> Message:
    """Return the retained message with the problems of the picture and their start times."""
    body = {"problem": "on" if problems else "off", **problems}
    return Message(topics.problems(watch), msgspec.json.encode(body), retain=True)


def overdue_message(watch: str, topics: Topics, *, overdue: bool) -> Message:
    """Return the retained message on whether the state lasts too long."""
    return Message(topics.overdue(watch), b"on" if overdue else b"off", retain=True)


def source_message(source: str, topics: Topics, *, online: bool) -> Message:
    """Return the retained message on whether a source gives frames."""
    return Message(topics.source_available(source), ONLINE if online else OFFLINE, retain=True)


def _attributes(event: StateChanged) -> bytes:
    more = {"untaught": event.untaught, "regions": event.regions}
    return msgspec.json.encode(
        {
            "since": event.at,
            "reason": event.reason,
            "confidence": event.confidence,
            "margin": event.margin,
            "condition": event.condition,
            "probabilities": {match.state: match.probability for match in event.matches},
            "before": event.before,
            "before_lasted_s": event.before_lasted_s,
            "doubts": event.doubts,
            "event_id": event.id,
            "source": event.source,
            "model": event.model,
            "gallery_revision": event.gallery_revision,
            "schema": event.schema,
            **{name: value for name, value in more.items() if value},
        }
    )


def moved_since(attributes: bytes, step_s: float, *, is_own: bool) -> bytes:
    """Return attributes of a watch with the time at which its state began moved.

    Args:
        attributes: As `state_messages` made them.
        step_s: Step of the clock, seconds.
        is_own: Whether the time was noted since the start.
    """
    found = msgspec.json.decode(attributes)
    since_s = unix_time_s(found["since"])
    found["since"] = utc_text(corrected(since_s, step_s, is_own=is_own))
    return msgspec.json.encode(found)


def _part(name: str) -> str:
    """Return `name` as one level of a topic; configured names pass unchanged."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


class _TeachPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: str
    event: str | None = None


def read_command(topic: str, payload: bytes, topics: Topics, device_info: DeviceInfo) -> Command:
    """Return the command in a message.

    `teach/set` takes the name of a state the watch has, or `{"state": NAME, "event": ID}` with the
    id of an event; `sensitivity/set` takes a decimal number from 0 to 1.

    Raises:
        CommandError: Anything else.
    """
    if len(payload) > MAX_BYTES:
        raise CommandError(f"{topic[:200]!r}: {len(payload)} bytes, at most {MAX_BYTES} are read")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{topic[:200]!r}: not UTF-8 text") from error
    for watch_info in device_info.watches:
        if topic == topics.command(watch_info.name, "teach"):
            return _teach(text, watch_info, topic)
        if topic == topics.command(watch_info.name, "sensitivity"):
            return _sensitivity(text, watch_info, topic)
    raise CommandError(f"{topic[:200]!r}: no such watch or command")


def _teach(text: str, watch_info: WatchInfo, topic: str) -> Teach:
    event_id = None
    if text.startswith("{"):
        try:
            table = msgspec.json.decode(text, type=_TeachPayload)
        except (msgspec.MsgspecError, RecursionError) as error:
            # Without the decoder's words: they repeat the payload, line ends included.
            raise CommandError(f"{topic}: not {{'state': NAME, 'event': ID}}") from error
        text, event_id = table.state, table.event
        if event_id is not None and not re.fullmatch(r"[0-9a-f]{16}", event_id):
            raise CommandError(f"{topic}: an event id is 16 hexadecimal digits")
    if not _NAME.fullmatch(text) or text not in watch_info.states:
        known = ", ".join(watch_info.states) or "none"
        raise CommandError(f"{topic}: no state {text[:64]!r} (known: {known})")
    return Teach(watch_info.name, text, event_id)


def _sensitivity(text: str, watch_info: WatchInfo, topic: str) -> SetSensitivity:
    if not _RATIO.fullmatch(text) or float(text) > 1.0:
        raise CommandError(f"{topic}: not a number from 0 to 1: {text[:64]!r}")
    return SetSensitivity(watch_info.name, float(text))
