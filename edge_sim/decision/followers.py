"""Followers of your own: watch over observations and states, and report events."""

from __future__ import annotations

import re
from collections.abc import Callable

from edge_sim.core.plugins import (
    check_callable,
    check_members,
    entry_point_names,
    load_entry_point,
)
from edge_sim.core.protocols import Follower
from edge_sim.errors import ConfigError

ENTRY_POINTS = "edge_sim.followers"
"""Group of entry points whose names are followers and whose objects make one for a watch."""

FollowerMaker = Callable[[], Follower]
"""Makes a follower; called once for each watch that names it."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REGISTERED: dict[str, FollowerMaker] = {}


def register_follower(name: str, make: FollowerMaker) -> None:
    """Make `name` one that watches can list: `watches: {bowl: {followers: [name]}}`.

    Registering the same maker again changes nothing.

    Args:
        name: 1 to 64 letters, digits, `_` and `-`.
        make: Called without arguments, once for each watch that names it.

    Raises:
        ConfigError: The name cannot be used, or means another follower already.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a follower: use 1 to 64 letters, digits, `_` and `-`"
        )
    if not callable(make):
        raise ConfigError(f"the maker of {name!r} cannot be called: {make!r}")
    check_callable(f"the maker of {name!r}", make, ())
    if _REGISTERED.get(name, make) is not make:
        raise ConfigError(f"the name {name!r} of followers is taken; choose another one")
    _REGISTERED[name] = make


def make_follower(name: str) -> Follower:
    """Return a new follower of a registered or installed kind.

    Raises:
        ConfigError: There is none, or the package that brings it cannot be used.
    """
    make: FollowerMaker | None = _REGISTERED.get(name) or load_entry_point(ENTRY_POINTS, name)
    if make is None:
        known = ", ".join(follower_names()) or "none"
        raise ConfigError(f"no follower {name!r} (there are {known}); call register_follower first")
    follower = make()
    check_members(f"the maker of {name!r}", follower, ("follow",))
    return follower


def follower_names() -> tuple[str, ...]:
    """Return the names that a watch can list."""
    return (*_REGISTERED, *entry_point_names(ENTRY_POINTS))
