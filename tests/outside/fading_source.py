"""A source from outside: `fading:FRAMES` gives pictures that grow brighter."""

from __future__ import annotations

import numpy as np

import edge_sim


class FadingSource:
    """Gives `count` grey pictures, one a second, each a little brighter than the one before."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self._count = count
        self._next = 0
        self._closed = False

    def read(self) -> edge_sim.Frame | None:
        if self._closed:
            raise edge_sim.SourceError(f"{self.name}: read after close")
        if self._next == self._count:
            return None
        index, self._next = self._next, self._next + 1
        pixels = np.full((48, 64, 3), 40 + index % 160, np.uint8)
        pixels[::4] += 40  # a picture without detail counts as covered
        return edge_sim.Frame(pixels, float(index), 1_700_000_000.0 + index, index, self.name)

    def close(self) -> None:
        self._closed = True


def open_fading(place: str, options: edge_sim.SourceOptions) -> FadingSource:
    if not place.isdecimal():
        raise edge_sim.ConfigError(f"fading:{place}: needs a number of frames, as in fading:20")
    return FadingSource(options.name or "fading", int(place))


edge_sim.register_source("fading", open_fading, live=False)
