"""What states may be called, and why a watch says none of them."""

from __future__ import annotations

from enum import Enum

UNKNOWN = "unknown"
"""The state that every watch has besides its own."""

_RESERVED_NAMES = frozenset({UNKNOWN, "none"})


def is_reserved(name: str) -> bool:
    """Return whether no watch, state or source may be called so, in any case of letters.

    `unknown` is what a watch says in doubt, `none` is how other programs write that there is
    nothing.
    """
    return name.casefold() in _RESERVED_NAMES


class UnknownReason(str, Enum):
    """Why a watch says `unknown`."""

    STARTING = "starting"
    """Fewer observations so far than a decision needs."""
    NO_REFERENCES = "no_references"
    """The gallery of the watch is empty."""
    DARK = "dark"
    OVEREXPOSED = "overexposed"
    BLURRED = "blurred"
    COVERED = "covered"
    """The picture is nearly flat: something is in front of the lens."""
    CAMERA_MOVED = "camera_moved"
    LIGHTING = "lighting"
    """The light is changing; the decision waits until it settles."""
    NOVEL = "novel"
    """Unlike every reference."""
    AMBIGUOUS = "ambiguous"
    """Two states fit about equally well."""
    UNTAUGHT_LIGHT = "untaught_light"
    """Like a state that has no reference in this light, and not the one seen before."""
    FROZEN = "frozen"
    """The source repeats the same picture, noise included."""
    STALE = "stale"
    """No frame arrived for too long."""
