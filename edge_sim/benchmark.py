"""Side-by-side timing: every case runs in turn, round after round, so that a machine whose speed
drifts drifts for all of them. What counts is the ratio of medians within one run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

Case = Callable[[], object]
WARM_UP_ROUNDS = 5


class Timing(msgspec.Struct, frozen=True):
    """How long one case takes, in milliseconds."""

    name: str
    median_ms: float
    p95_ms: float
    runs: int


class Ratio(msgspec.Struct, frozen=True):
    """One case against another: the median of the ratios of each round.

    Args:
        name: What is compared.
        case: Numerator.
        against: Denominator.
        ratio: Median over the rounds.
        goal: At most this; None where the figure is only stated.
    """

    name: str
    case: str
    against: str
    ratio: float
    goal: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else self.ratio <= self.goal


class Comparison(msgspec.Struct, frozen=True):
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
    schema: int = 2


def interleaved(
    cases: Mapping[str, Case],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    watch: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, list[float]]:
    """Return the seconds of every round for each case, A B C A B C ...

    Args:
        cases: Each is called once per round; five rounds of warm-up are not counted.
        rounds: Counted rounds, 1 or more.
        clock: Seconds.
        watch: Wraps the rounds, for a progress bar.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in watch(range(rounds + WARM_UP_ROUNDS)):
        for name, case in cases.items():
            started_s = clock()
            case()
            elapsed_s = clock() - started_s
            if number >= WARM_UP_ROUNDS:
                seconds[name].append(elapsed_s)
    return seconds


def timings_of(seconds: Mapping[str, Sequence[float]]) -> tuple[Timing, ...]:
    """Return median and 95th percentile of each case."""
    return tuple(
        Timing(name, _ms(statistics.median(runs)), _ms(_p95(runs)), len(runs))
        for name, runs in seconds.items()
    )


def ratios_of(
    seconds: Mapping[str, Sequence[float]], comparisons: Iterable[Comparison]
) -> tuple[Ratio, ...]:
    """Return the comparisons whose two cases were both measured."""
    found = []
    for item in comparisons:
        if item.case in seconds and item.against in seconds:
            pairs = zip(seconds[item.case], seconds[item.against], strict=True)
            ratio = statistics.median(own / (other * item.scale) for own, other in pairs)
            found.append(Ratio(item.name, item.case, item.against, round(ratio, 3), item.goal))
    return tuple(found)


def _p95(runs: Sequence[float]) -> float:
    ordered = sorted(runs)
    return ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 4)
