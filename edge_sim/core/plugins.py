"""Parts of others: entry points of installed packages, loaded when used, and their checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edge_sim.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def check_callable(what: str, function: Callable[..., Any], arguments: Sequence[str]) -> None:
    """Check that a function takes these arguments by position, and needs no others.

    Args:
        what: Name of the function for people.
        function: Function that is registered.
        arguments: What is given to it, in words, in order.

    Raises:
        ConfigError: It does not.
    """
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        wanted = ", ".join(arguments) or "no arguments"
        raise ConfigError(f"{what} must take {wanted} ({error})") from error
    except ValueError:  # of a function in C that does not tell
        return


def check_members(what: str, part: object, names: Sequence[str]) -> None:
    """Check that what a registered function returned has the members of its protocol.

    Args:
        what: Name of the function for people.
        part: Object that it returned.
        names: Names of the members.

    Raises:
        ConfigError: One is missing.
    """
    missing = [name for name in names if not hasattr(part, name)]
    if missing:
        raise ConfigError(
            f"{what} returned {type(part).__name__}, which has no {', '.join(missing)}"
        )


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
