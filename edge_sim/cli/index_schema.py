"""What `edge-sim index` prints with `--json`. `SCHEMA` goes up when a field changes or goes."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class UnreadView(msgspec.Struct, frozen=True):
    """A file that is in no search."""

    path: str
    reason: str


class Updated(msgspec.Struct, frozen=True):
    """What `build` and `add` print."""

    index: str
    root: str
    model_id: str
    pictures: int
    kind: str
    reason: str
    new: int
    changed: int
    unchanged: int
    gone: int
    embedded: int
    unread: tuple[UnreadView, ...]
    seconds: float
    schema: int = SCHEMA


class InfoView(msgspec.Struct, frozen=True):
    """What `info` prints."""

    index: str
    root: str
    model_id: str
    model: str
    scale: str
    dimension: int
    spatial_dimension: int
    pictures: int
    unread: tuple[UnreadView, ...]
    kind: str
    reason: str
    ready: bool
    bytes_on_disk: int
    tags: dict[str, int]
    schema: int = SCHEMA


class Removed(msgspec.Struct, frozen=True):
    """What `rm` prints."""

    index: str
    removed: int
    schema: int = SCHEMA


class IndexVerification(msgspec.Struct, frozen=True):
    """What `verify` prints."""

    index: str
    sound: bool
    problems: tuple[str, ...]
    schema: int = SCHEMA
