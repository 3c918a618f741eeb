"""Commands as they arrive from a broker, checked strictly: anybody may publish anything there."""

from __future__ import annotations

import re

import msgspec

from edge_sim.errors import CommandError
from edge_sim.sinks.mqtt.topics import Topics
from edge_sim.sinks.remote import Command, SetSensitivity, Site, Teach, WatchCard

MAX_BYTES = 256
"""Longest payload of a command."""

VERBS = ("teach", "sensitivity")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RATIO = re.compile(r"[01](\.[0-9]{1,6})?")


class _TeachPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: str
    event: str | None = None


def read_command(topic: str, payload: bytes, topics: Topics, site: Site) -> Command:
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
    for card in site.watches:
        if topic == topics.command(card.name, "teach"):
            return _teach(text, card, topic)
        if topic == topics.command(card.name, "sensitivity"):
            return _sensitivity(text, card, topic)
    raise CommandError(f"{topic[:200]!r}: no such watch or command")


def _teach(text: str, card: WatchCard, topic: str) -> Teach:
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
    if not _NAME.fullmatch(text) or text not in card.states:
        known = ", ".join(card.states) or "none"
        raise CommandError(f"{topic}: no state {text[:64]!r} (known: {known})")
    return Teach(card.name, text, event_id)


def _sensitivity(text: str, card: WatchCard, topic: str) -> SetSensitivity:
    if not _RATIO.fullmatch(text) or float(text) > 1.0:
        raise CommandError(f"{topic}: not a number from 0 to 1: {text[:64]!r}")
    return SetSensitivity(card.name, float(text))
