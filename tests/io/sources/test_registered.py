"""Mistakes in a source of one's own are one line that says what the protocol wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, EdgeSimError, SourceError
from edge_sim.io.sources import open_source, register_source

PIXELS = np.zeros((4, 6, 3), np.uint8)


class Given:
    """Source whose `read` returns, or raises, what it was given."""

    name = "mine"

    def __init__(self, given: Any) -> None:
        self.given = given
        self.pause_s = 7.0

    def read(self) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given() if callable(self.given) else self.given

    def close(self) -> None:
        pass


GIVEN: dict[str, Any] = {}
register_source("given-source", lambda place, options: GIVEN[place], live=False)
register_source("failing-source", lambda place, options: GIVEN[str(1 // 0)], live=False)


@pytest.mark.parametrize(
    ("opener", "message"),
    [
        (lambda: None, r"two arguments.*the SourceOptions, but takes \(\)"),
        (lambda place: None, r"takes \(place\)"),
        (lambda place, options, more: None, r"takes \(place, options, more\)"),
        ("text", "cannot be called: 'text'"),
        (None, "cannot be called: None"),
    ],
)
def test_an_opener_that_cannot_be_called_so_is_an_error_at_once(
    opener: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        register_source("wrong-opener", opener)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned None; it needs name, read"),
        (PIXELS, "of type ndarray without name and read and close; it needs"),
        (object(), "of type object without name"),
    ],
)
def test_an_opener_that_returns_no_source_is_named(returned: Any, message: str) -> None:
    GIVEN["x"] = returned
    with pytest.raises(ConfigError, match=message):
        open_source("given-source:x")


def test_an_error_in_an_opener_is_one_line() -> None:
    with pytest.raises(SourceError, match=r"ZeroDivisionError.*in the opener of 'failing-source'"):
        open_source("failing-source:x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PIXELS, r"read\(\) of the source 'given-source' returned ndarray: return edge_sim.Frame"),
        ((True, PIXELS), "returned tuple"),
        (b"jpeg", "returned bytes"),
        (KeyError("shape"), r"KeyError: 'shape' \(in read\(\)"),
        (lambda: Frame(PIXELS[:, :, 0], 0.0, 0.0, 0, "x"), "make grey to BGR"),
        (lambda: Frame(PIXELS.astype(float), 0.0, 0.0, 0, "x"), r"pixels \* 255"),
        (lambda: Frame("a.png", 0.0, 0.0, 0, "x"), "read_picture"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_frame_is_one_line(given: Any, message: str) -> None:
    GIVEN["x"] = Given(given)
    source = open_source("given-source:x")
    with pytest.raises(EdgeSimError, match=message) as caught:
        source.read()
    assert "\n" not in str(caught.value)


def test_a_right_source_passes_with_its_optional_members() -> None:
    frame = Frame(PIXELS, 0.0, 0.0, 0, "mine")
    GIVEN["x"] = Given(lambda: frame)
    source = open_source("given-source:x")
    assert source.read() is frame
    assert source.name == "mine"
    assert getattr(source, "pause_s", None) == 7.0
    assert not hasattr(source, "grab")


class Grabbing(Given):
    """Source that separates taking from decoding, and decodes at a part of the size."""

    part = 1

    def grab(self) -> Any:
        return 1.0

    def retrieve(self) -> Any:
        return self.read()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PIXELS, r"retrieve\(\) of the source 'given-source' returned ndarray"),
        (None, r"retrieve\(\) of the source 'given-source' returned NoneType"),
        (KeyError("shape"), r"KeyError: 'shape' \(in retrieve\(\)"),
    ],
)
def test_what_is_retrieved_is_checked_as_what_is_read(given: Any, message: str) -> None:
    GIVEN["x"] = Grabbing(given)
    source: Any = open_source("given-source:x")
    assert source.grab() == 1.0
    with pytest.raises(SourceError, match=message):
        source.retrieve()


def test_the_part_that_is_set_reaches_the_source() -> None:
    own = Grabbing(None)
    GIVEN["x"] = own
    source: Any = open_source("given-source:x")
    assert hasattr(source, "part")
    source.part = 4
    assert own.part == 4
