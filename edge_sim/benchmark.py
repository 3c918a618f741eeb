"""Side-by-side timing: every case runs in turn, round after round, so that a machine whose speed
drifts drifts for all of them. What counts is the ratio of two cases within one run.

In its turn a case runs twice. The first time it finds the caches full of the case before it, as on
a device that does other things between two looks; then right after itself, as in a loop. One is
compared with one, and the other with the other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

Case = Callable[[], object]
WARM_UP_ROUNDS = 5


class Laps(NamedTuple):
    """Seconds of every round of one case: its first call, and the one right after it."""

    first: list[float]
    again: list[float]


class Timing(msgspec.Struct, frozen=True):
    """How long one case takes, in milliseconds.

    Args:
        name: Of the case.
        median_ms: Right after itself.
        p95_ms: 95th percentile of the same.
        first_ms: Median after another case.
        runs: Rounds.
    """

    name: str
    median_ms: float
    p95_ms: float
    first_ms: float
    runs: int


class Ratio(msgspec.Struct, frozen=True):
    """One case against another: the median of the ratios of each round.

    Args:
        name: What is compared.
        case: Numerator.
        against: Denominator.
        ratio: Each right after itself; median over the rounds.
        first_ratio: Each after another case.
        goal: For `ratio`, at most this; None where the figure is only stated.
    """

    name: str
    case: str
    against: str
    ratio: float
    first_ratio: float
    goal: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else self.ratio <= self.goal


class SpeedRatio(msgspec.Struct, frozen=True):
    """What is to be compared; `scale` multiplies the denominator, as in 4 times one watch."""

    name: str
    case: str
    against: str
    goal: float | None = None
    scale: float = 1.0


class Figure(msgspec.Struct, frozen=True):
    """A number that is no ratio: the start of a process, its memory.

    Args:
        name: What was measured.
        value: In `unit`.
        unit: `ms`, `MB` ...
        goal: At most this; None where the figure is only stated.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else self.value <= self.goal


class Measurement(msgspec.Struct, frozen=True):
    """All timings, ratios and figures of one run, and what it ran on."""

    machine: dict[str, str]
    timings: tuple[Timing, ...]
    ratios: tuple[Ratio, ...]
    skipped: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    schema: int = 3


def interleaved(
    cases: Mapping[str, Case],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    watch: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Laps]:
    """Return the seconds of every round for each case, A A B B C C A A B B ...

    Args:
        cases: Each is called twice per round; five rounds of warm-up are not counted.
        rounds: Counted rounds, 1 or more.
        clock: Seconds.
        watch: Wraps the rounds, for a progress bar.
    """
    laps = {name: Laps([], []) for name in cases}
    for number in watch(range(rounds + WARM_UP_ROUNDS)):
        for name, case in cases.items():
            for kind in laps[name]:
                started_s = clock()
                case()
                elapsed_s = clock() - started_s
                if number >= WARM_UP_ROUNDS:
                    kind.append(elapsed_s)
    return laps


def timings_of(laps: Mapping[str, Laps]) -> tuple[Timing, ...]:
    """Return median and 95th percentile of each case."""
    return tuple(
        Timing(
            name,
            median_ms=_ms(statistics.median(runs.again)),
            p95_ms=_ms(_p95(runs.again)),
            first_ms=_ms(statistics.median(runs.first)),
            runs=len(runs.again),
        )
        for name, runs in laps.items()
    )


def ratios_of(laps: Mapping[str, Laps], comparisons: Iterable[SpeedRatio]) -> tuple[Ratio, ...]:
    """Return the comparisons whose two cases were both measured."""
    found = []
    for item in comparisons:
        if item.case in laps and item.against in laps:
            own, other = laps[item.case], laps[item.against]
            again, first = _ratio(own.again, other.again), _ratio(own.first, other.first)
            found.append(
                Ratio(
                    item.name,
                    item.case,
                    item.against,
                    ratio=round(again / item.scale, 3),
                    first_ratio=round(first / item.scale, 3),
                    goal=item.goal,
                )
            )
    return tuple(found)


def _ratio(own: Sequence[float], other: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def _p95(runs: Sequence[float]) -> float:
    ordered = sorted(runs)
    return ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 4)
