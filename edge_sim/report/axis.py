"""Scales, ticks and how times are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0
_STEPS_S = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(n * _MINUTE_S for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR_S for n in (1, 2, 3, 6, 12)),
    *(n * _DAY_S for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)


@dataclass(frozen=True, slots=True)
class AxisScale:
    """A straight map from values `low..high` to pixels `start..end`; `low < high`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`, held inside the scale."""
        part = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Tick:
    """A value to mark and the words beside it."""

    value: float
    label: str


def time_ticks(span_s: float, most: int) -> tuple[Tick, ...]:
    """Return ticks from 0 to `span_s`, at most `most` (2 or more) and round in s, min, h or d."""
    years = math.ceil(span_s / _STEPS_S[-1] / (most - 1)) * _STEPS_S[-1]
    step = next((s for s in _STEPS_S if span_s / s <= most - 1), years)
    unit_s, unit = next(
        (
            (size, name)
            for size, name in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min"))
            if step >= size
        ),
        (1.0, "s"),
    )
    count = int(span_s / step + 1e-9) + 1
    digits = max(0, -math.floor(math.log10(step))) if step < 1 else 0
    return tuple(
        Tick(i * step, f"{i * step / unit_s:.{digits}f} {unit}" if i else "0") for i in range(count)
    )


def score_ticks(low: float) -> tuple[Tick, ...]:
    """Return ticks from `low` to 1, about five, at tenths or finer."""
    step = 0.2 if low < 0.35 else 0.1 if low < 0.75 else 0.05
    first = math.ceil(low / step - 1e-9)
    last = round(1.0 / step)
    return tuple(Tick(i * step, f"{i * step:.2g}") for i in range(first, last + 1))


def duration_text(seconds: float) -> str:
    """Return a length of time for people: `0.25 s`, `12.5 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds == 0:
        return "0 s"
    if seconds < _MINUTE_S - 0.05:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / _HOUR_S)
    return f"{hours // 24} d {hours % 24:02d} h"
