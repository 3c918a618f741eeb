"""Sources from outside: their openers and what they give are checked against the protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, EdgeSimError, SourceError
from edge_sim.io.sources.options import SourceOptions

_WANTED = "it needs name, read() and close(), see edge_sim.protocols.FrameSource"


def check_opener(scheme: str, opener: Callable[..., object]) -> None:
    """Check that an opener takes the place and the options.

    Raises:
        ConfigError: It does not.
    """
    if not callable(opener):
        raise ConfigError(f"the opener of {scheme!r} cannot be called: {opener!r}")
    try:
        signature = inspect.signature(opener)
    except (TypeError, ValueError):
        return  # some functions in C have none
    try:
        signature.bind("", SourceOptions())
    except TypeError as error:
        raise ConfigError(
            f"the opener of {scheme!r} is called with two arguments, the uri after "
            f"`{scheme}:` and the SourceOptions, but takes {signature}"
        ) from error


def open_registered(
    scheme: str, opener: Callable[..., Any], place: str, options: SourceOptions
) -> FrameSource:
    """Return the open source that an opener from outside gives, checked at every read.

    Raises:
        ConfigError: The opener is none, or returned no source.
        SourceError: It cannot be opened.
    """
    check_opener(scheme, opener)
    name = options.name or f"{scheme}:"
    try:
        source = opener(place, options)
    except EdgeSimError:
        raise
    except Exception as error:
        raise SourceError(f"{name}: {_described(error)} (in the opener of {scheme!r})") from error
    if hasattr(source, "release") and callable(getattr(source, "read", None)):
        return source  # type: ignore[no-any-return]  # a device, checked by its reader
    missing = [item for item in ("name", "read", "close") if not hasattr(source, item)]
    if missing:
        what = "None" if source is None else f"an object of type {type(source).__qualname__}"
        lacks = "" if source is None else f" without {' and '.join(missing)}"
        raise ConfigError(f"{name}: the opener of {scheme!r} returned {what}{lacks}; {_WANTED}")
    return RegisteredSource(source, scheme)


class RegisteredSource:
    """A source from outside, whose mistakes become errors that name what the protocol wants.

    Args:
        source: With name, read and close.
        scheme: Scheme that it was registered under.
    """

    def __init__(self, source: Any, scheme: str) -> None:
        self._source = source
        self._scheme = scheme

    def __getattr__(self, key: str) -> Any:
        # Optional members; those that take pictures are held to the protocol as `read` is.
        found = getattr(self.__dict__["_source"], key)
        if key == "retrieve":
            return lambda: self._frame_of("retrieve", found)
        return partial(self._called, key, found) if key == "grab" else found

    def __setattr__(self, key: str, value: Any) -> None:
        # What the source lets be set, such as `part`, is its own.
        if key.startswith("_"):
            object.__setattr__(self, key, value)
        else:
            setattr(self._source, key, value)

    @property
    def name(self) -> str:
        """Name that the source gives itself."""
        return str(self._source.name)

    def read(self) -> Frame | None:
        """Return the next frame; None at the end.

        Raises:
            SourceError: The source is lost, or returned no frame.
        """
        return self._frame_of("read", self._source.read)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _frame_of(self, member: str, take: Callable[[], Any]) -> Frame | None:
        frame = self._called(member, take)
        if isinstance(frame, Frame) or (frame is None and member == "read"):
            return frame
        what = type(frame).__qualname__
        end = ", or None at the end" if member == "read" else ""
        raise SourceError(
            f"{self.name}: {member}() of the source {self._scheme!r} returned {what}: return "
            f"edge_sim.Frame(pixels, captured_at_s, unix_time_s, index, name){end}"
        )

    def _called(self, member: str, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except EdgeSimError:
            raise
        except Exception as error:
            raise SourceError(
                f"{self.name}: {_described(error)} (in {member}() of the source {self._scheme!r})"
            ) from error


def _described(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
