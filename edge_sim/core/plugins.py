"""Entry points: parts of installed packages, found by name and loaded when used."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edge_sim.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def entry_point_names(group: str) -> tuple[str, ...]:
    """Return the names in a group, sorted; nothing is loaded."""
    return tuple(sorted({point.name for point in _entry_points(group)}))


def load_entry_point(group: str, name: str) -> Any:
    """Return the object behind a name, its module imported now; None if there is no such name.

    Raises:
        ConfigError: Its package cannot be imported, or two packages bring that name.
    """
    points = sorted(set(_entry_points(group, name)), key=lambda point: point.value)
    if not points:
        return None
    if len(points) > 1:
        values = ", ".join(point.value for point in points)
        raise ConfigError(f"the installed packages bring {name!r} of {group} twice ({values})")
    return _loaded(points[0])


def _entry_points(group: str, name: str | None = None) -> Iterable[EntryPoint]:
    # importlib.metadata loads the whole of `email`, over 1 MB that most devices do not need.
    from importlib.metadata import entry_points

    return entry_points(group=group) if name is None else entry_points(group=group, name=name)


@lru_cache(maxsize=64)
def _loaded(point: EntryPoint) -> Any:
    try:
        found = point.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"{point.name!r} of {point.group}: cannot load {point.value} ({reason})"
        ) from error
    if not callable(found):
        raise ConfigError(f"{point.name!r} of {point.group}: {point.value} cannot be called")
    return found
