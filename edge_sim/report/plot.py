"""Where time runs on a sheet, and which ink each state has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_sim.domain import UNKNOWN
from edge_sim.report.axis import AxisScale, duration_text
from edge_sim.report.drawing import BOLD_WIDTH, fitted, text_width
from edge_sim.report.timeline import Timeline

_NARROW_PX = 640.0
_SHARED = 4  # characters that all states begin with, from which on they are left out
_READABLE = 7  # characters of a longer name that still tell which it is


@dataclass(frozen=True, slots=True)
class Scope:
    """The time that every chart of a report shows, in seconds of frame time; start < end."""

    start_s: float
    end_s: float


def scope_of(timeline: Timeline) -> Scope:
    """Return the time from the first look to the last, over all watches."""
    times = [look.at_s for track in timeline.tracks for look in track.looks]
    if not times:
        return Scope(0.0, 1.0)
    # A single look has no length; a second is as good as any.
    return Scope(min(times), max(times) if max(times) > min(times) else min(times) + 1.0)


@dataclass(frozen=True, slots=True)
class Plot:
    """Where time runs on the sheet and which ink each state has.

    Args:
        width: Of the whole drawing, in pixels.
        x: Seconds of frame time -> pixel.
        inks: State -> ink.
        narrow: No room beside the lanes: their names go above, end labels away.
    """

    width: float
    x: AxisScale
    inks: Mapping[str, str]
    narrow: bool

    @property
    def left(self) -> float:
        """Where time starts, in pixels."""
        return self.x.start

    @property
    def extent(self) -> float:
        """How long time is, in pixels."""
        return self.x.end - self.x.start

    def ink(self, state: str) -> str:
        """Return the ink of a state; grey for one that is not in the gallery."""
        return self.inks.get(state, "unknown")

    def named(self, state: str, width: float, size: float) -> str:
        """Return the name of a state, shortened to `width` pixels so that it still tells which.

        What all states begin with goes first; empty if no readable rest fits.
        """
        if text_width(state, size) <= width:
            return state
        names = [name for name in self.inks if name != UNKNOWN]
        shared = _shared_start(names) if len(names) > 1 else 0
        rest = "…" + state[shared:] if shared >= _SHARED and shared < len(state) else state
        shown = fitted(rest, width, size)
        return shown if shown == rest or len(shown) >= _READABLE else ""

    def since(self, at_s: float) -> str:
        """Return the time since the start, in words."""
        return duration_text(at_s - self.x.low)


def plot_of(width: float, scope: Scope, inks: Mapping[str, str]) -> Plot:
    """Return where time runs on a chart `width` pixels wide."""
    narrow = width < _NARROW_PX
    if narrow:
        left, right = 30.0, 4.0
    else:
        longest = max(
            (BOLD_WIDTH * text_width(f"0.00 {state}") for state in inks if state != UNKNOWN),
            default=0.0,
        )
        left, right = 86.0, min(200.0, longest + 16)
    x = AxisScale(scope.start_s, scope.end_s, left, width - right)
    return Plot(width, x, inks, narrow)


def _shared_start(names: Sequence[str]) -> int:
    """Return with how many characters all names begin alike."""
    first, last = min(names), max(names)
    return next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
