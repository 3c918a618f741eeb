"""Drift of scores: whether scores in use still lie where those of the references lie.

Two readings per state and condition. The population stability index compares the distribution with
that of the references, each left out of the gallery; Page-Hinkley finds when the mean began to
move. Feed observations some minutes apart: neighbours in a video are one observation, not many.

    drift = ScoreDrift(baselines_of(gallery, GalleryScorer(gallery).leave_one_out()))
    reading = drift.observe("food", "day", 0.71)  # not None at the moment it begins to drift
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.events import EventDraft, ScoresDrifted, draft
from edge_sim.core.types import UNKNOWN, Match, Observation, State, StateChange
from edge_sim.core.vectors import quantiles
from edge_sim.gallery.gallery import Gallery

LEAST_SHARE = 1e-4
"""Share of an empty bin, so that the index stays finite; of a small sample more."""
NOTABLE_PSI = 0.25
"""The usual limit (Siddiqi, Credit Risk Scorecards, 2006); small samples get a wider one."""
BINS = 10
_PER_BIN = 5  # references in a bin of the baseline, at least
_NORMAL_POINT = 3.719  # one of ten thousand stable samples is called drifted
LEAST_DEVIATION = 0.02
"""Least deviation of scores; less is noise, whatever its distribution."""
TOLERANCE, ALARM = 0.3, 25.0
"""Limits of the Page-Hinkley test, in deviations: millions of steady observations between two
false alarms (Siegmund's approximation), still 700,000 where few references made the deviation seem
15 % too small, and 36 observations to find a mean that moved by one deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Distribution of scores at calibration.

    Args:
        edges: (B - 1,) inner edges, ascending; a score on an edge belongs to the bin above.
        shares: (B,) of the baseline in each bin; they sum to 1.
        mean: Mean of the scores.
        deviation: Standard deviation, never below 0.02.
        number: Number of scores.
    """

    edges: NDArray[np.float64]
    shares: NDArray[np.float64]
    mean: float
    deviation: float
    number: int


def baseline_of(scores: Sequence[float] | NDArray[Any]) -> Baseline:
    """Return quantile bins of scores: ten, or fewer so that each holds five.

    Raises:
        ValueError: No scores, or NaN or infinity among them.
    """
    values = np.asarray(scores, np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("a baseline needs finite scores")
    bins = int(np.clip(len(values) // _PER_BIN, 2, BINS))
    edges = np.array(sorted(set(quantiles(values, np.arange(1, bins) / bins).tolist())))
    counts = counted(edges, values)
    deviation = max(float(values.std()), LEAST_DEVIATION)
    return Baseline(edges, counts / len(values), float(values.mean()), deviation, len(values))


def counted(edges: NDArray[np.float64], scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return how many scores fall into each bin."""
    places = np.searchsorted(edges, scores, side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.float64)


def psi(
    expected: NDArray[np.float64], found: NDArray[np.float64], *, floor: float = LEAST_SHARE
) -> float:
    """Return the population stability index of two distributions over the same bins, 0 and up.

    `sum((f - e) ln(f / e))` over shares that are at least `floor`: the symmetrised Kullback-Leibler
    divergence.
    """
    e, f = (np.maximum(shares, floor) for shares in (expected, found))
    return float(((f - e) * np.log(f / e)).sum())


def psi_limit(bins: int, number: float, baseline: float) -> float:
    """Return the index above which two samples of these sizes did drift.

    Of two samples of one distribution the index is about chi-squared with `bins` - 1 degrees times
    `1/n + 1/m` (Yurdakul & Naranjo, Journal of Risk Model Validation, 2020); its 99.99 % point by
    Wilson and Hilferty, and never below 0.25.
    """
    degrees = max(bins - 1, 1)
    spread = 2.0 / (9.0 * degrees)
    point = degrees * (1.0 - spread + _NORMAL_POINT * spread**0.5) ** 3
    return max(NOTABLE_PSI, float(point * (1.0 / max(number, 1.0) + 1.0 / max(baseline, 1.0))))


class PageHinkley(msgspec.Struct, frozen=True):
    """The test for a moved mean (Page 1954, Hinkley 1971), both ways; an immutable value.

    Values are in deviations of the baseline, whose mean is 0. `rise` and `fall` are the sums of
    what lies beyond the tolerance, never below 0; `mean` is the running mean that they are
    measured from.
    """

    observations: int = msgspec.field(default=0, name="looks")
    mean: float = 0.0
    rise: float = 0.0
    fall: float = 0.0

    def after(self, value: float, *, prior: int) -> PageHinkley:
        """Return the test after one more value; `prior` scores steady the mean."""
        observations = self.observations + 1
        away = value - self.mean
        return PageHinkley(
            observations,
            self.mean + away / (prior + observations),
            max(0.0, self.rise + away - TOLERANCE),
            max(0.0, self.fall - away - TOLERANCE),
        )

    @property
    def direction(self) -> str | None:
        """`rise` or `fall` once the mean has moved; None before."""
        if max(self.rise, self.fall) <= ALARM:
            return None
        return "rise" if self.rise > self.fall else "fall"


LEAST_BASELINE = 10
"""References of a state in a condition below which nothing can be said."""
LEAST_OBSERVATIONS = 20
"""Before so many observations the distribution is not judged."""
_MEMORY_OBSERVATIONS = 500.0  # old observations are forgotten slowly
_STEADY = PageHinkley()


class TrackSnapshot(msgspec.Struct, frozen=True):
    """One state in one condition: what is kept over a restart."""

    state: str
    condition: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    total: float
    square: float
    test: PageHinkley
    reported: bool = msgspec.field(default=False, name="told")


class DriftSnapshot(msgspec.Struct, frozen=True):
    """All that a `ScoreDrift` has seen; encode it with `msgspec.json`."""

    tracks: tuple[TrackSnapshot, ...] = ()
    schema: int = 1


@dataclass(frozen=True, slots=True)
class DriftReading:
    """Drift of the scores of one state in one condition.

    Args:
        state: Name of the state.
        condition: Light regime.
        observations: Seen since the start.
        mean: Mean of recent scores.
        expected: Mean of the baseline; None if the gallery has too few references to say.
        psi: Population stability index of recent observations; None without a baseline, and at
            first.
        limit: Above which the index tells.
        direction: `rise` or `fall` where the mean moved; None if it did not.
        moved: How far the mean, or the deviation if that is more, lies from the baseline.
    """

    state: str
    condition: str
    observations: int
    mean: float
    expected: float | None
    psi: float | None
    limit: float | None
    direction: str | None
    moved: float

    @property
    def drifted(self) -> bool:
        """Return whether either reading tells, and of something that matters.

        Where all references are alike a hair's breadth is another distribution; it decides nothing.
        """
        by_shape = self.psi is not None and self.limit is not None and self.psi > self.limit
        return (by_shape or self.direction is not None) and self.moved >= LEAST_DEVIATION

    @property
    def action(self) -> str:
        """Action to take, in one sentence; empty if nothing."""
        where = f"{self.state!r} in the light {self.condition!r}"
        if self.expected is None:
            return f"the gallery has too few pictures of {where} to judge by: add some of today"
        if not self.drifted:
            return ""
        if self.mean < self.expected:
            return f"scores of {where} have fallen: look at the lens, then add pictures of today"
        return f"scores of {where} lie elsewhere than at enrolment: calibrate on pictures of today"


Key = tuple[str, str]
"""(state, condition)."""


@dataclass(frozen=True, slots=True, eq=False)
class _ScoreTrack:
    """Recent scores of one key, old ones forgotten slowly."""

    counts: NDArray[np.float64]
    total: float = 0.0
    square: float = 0.0
    test: PageHinkley = _STEADY
    reported: bool = False


class ScoreDrift:
    """Follows the scores of one watch.

    Args:
        baselines: From `baselines_of`.
        snapshot: Memory of an earlier run; what was seen against another baseline is forgotten.
    """

    def __init__(
        self, baselines: Mapping[Key, Baseline], snapshot: DriftSnapshot | None = None
    ) -> None:
        self._baselines = dict(baselines)
        self._tracks: dict[Key, _ScoreTrack] = {}
        for item in snapshot.tracks if snapshot else ():
            known = self._baselines.get((item.state, item.condition))
            edges = () if known is None else tuple(known.edges.tolist())
            if edges == item.edges and len(item.counts) == len(edges) + 1:
                counts = np.array(item.counts, np.float64)
                track = _ScoreTrack(counts, item.total, item.square, item.test, item.reported)
                self._tracks[item.state, item.condition] = track

    def observe(self, state: str, condition: str, score: float) -> DriftReading | None:
        """Take one score in; return the reading at the moment it begins to tell of drift.

        Raises:
            ValueError: The score is NaN or infinite.
        """
        if not np.isfinite(score):
            raise ValueError("a score must be finite")
        key = (state, condition)
        baseline = self._baselines.get(key)
        edges = np.zeros(0) if baseline is None else baseline.edges
        track = self._tracks.get(key) or _ScoreTrack(np.zeros(len(edges) + 1))
        kept = 1.0 - 1.0 / _MEMORY_OBSERVATIONS
        counts = track.counts * kept + counted(edges, np.array([score]))
        mean, deviation = (0.0, 1.0) if baseline is None else (baseline.mean, baseline.deviation)
        test = track.test.after(
            (score - mean) / deviation, prior=baseline.number if baseline else 0
        )
        after = replace(
            track,
            counts=counts,
            total=track.total * kept + score,
            square=track.square * kept + score * score,
            test=test,
        )
        self._tracks[key] = after
        reading = self._reading(key, after)
        reported = reading.drifted or (track.reported and not _is_calm(reading))
        self._tracks[key] = replace(after, reported=reported)
        return reading if reported and not track.reported else None

    def readings(self) -> tuple[DriftReading, ...]:
        """Return where every state and condition seen so far stands, sorted."""
        return tuple(self._reading(key, track) for key, track in sorted(self._tracks.items()))

    def snapshot(self) -> DriftSnapshot:
        """Return what was seen, to be kept over a restart."""
        return DriftSnapshot(
            tuple(
                TrackSnapshot(
                    *key,
                    edges=tuple(self._edges(key)),
                    counts=tuple(track.counts.tolist()),
                    total=track.total,
                    square=track.square,
                    test=track.test,
                    reported=track.reported,
                )
                for key, track in sorted(self._tracks.items())
            )
        )

    def _edges(self, key: Key) -> list[float]:
        baseline = self._baselines.get(key)
        return [] if baseline is None else [float(edge) for edge in baseline.edges]

    def _reading(self, key: Key, track: _ScoreTrack) -> DriftReading:
        number = float(track.counts.sum())
        mean = track.total / number
        deviation = max(track.square / number - mean * mean, 0.0) ** 0.5
        baseline = self._baselines.get(key)
        if baseline is None:
            return DriftReading(*key, track.test.observations, mean, None, None, None, None, 0.0)
        spread = abs(max(deviation, LEAST_DEVIATION) - baseline.deviation)
        # A bin that holds none of n counts as half of one: its true share is hardly less.
        floor = max(LEAST_SHARE, 0.5 / min(number, baseline.number))
        enough = track.test.observations >= LEAST_OBSERVATIONS
        return DriftReading(
            *key,
            observations=track.test.observations,
            mean=mean,
            expected=baseline.mean,
            psi=psi(baseline.shares, track.counts / number, floor=floor) if enough else None,
            limit=psi_limit(len(baseline.shares), number, baseline.number),
            direction=track.test.direction,
            moved=max(abs(mean - baseline.mean), spread),
        )


def _is_calm(reading: DriftReading) -> bool:
    """Return whether the index is so far below its limit that what was reported is over."""
    if reading.direction is not None or reading.psi is None or reading.limit is None:
        return False
    return reading.psi < reading.limit / 2.0


def baselines_of(gallery: Gallery, left_out: Sequence[Match | None]) -> dict[Key, Baseline]:
    """Return, per state and condition, where `combined` of its references lies.

    Args:
        gallery: The references.
        left_out: From `leave_one_out` of a scorer.

    Keys with fewer than `LEAST_BASELINE` references are left out.
    """
    scores: dict[Key, list[float]] = {}
    for reference, match in zip(gallery.references, left_out, strict=True):
        for item in () if match is None else match.states:
            if item.state == reference.state:
                scores.setdefault((item.state, reference.condition), []).append(item.score.combined)
    return {
        key: baseline_of(values)
        for key, values in sorted(scores.items())
        if len(values) >= LEAST_BASELINE
    }


EVERY_S = 1800.0
"""Between two observations that count: twenty of them, the least that say anything, take ten
hours, so that a steady afternoon is not taken for a drift."""
LEAST_FALL = 0.05
"""Fall of the mean score, and at least one deviation of the references: less decides nothing, and
a rise does no harm. On ten labelled sets, with every observation counting, that tells 10 of 15
states and lights when the references are the first frames alone, and 5 of 94 when they are drawn
from all of them."""


class DriftMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of a `DriftFollower`, kept over a restart."""

    scores: DriftSnapshot = DriftSnapshot()
    reported: tuple[Key, ...] = msgspec.field(default=(), name="told")


class DriftFollower:
    """Takes an observation now and then, of those at which the watch stands by what it sees.

    It tells of a state and light once, when the scores have drifted and their mean has fallen by so
    much that it matters; again when it did so anew after it was half as bad.

    Args:
        every_s: Seconds of frame time between two observations that count; None follows nothing.
    """

    def __init__(self, every_s: float | None = EVERY_S) -> None:
        self._every_s = every_s
        self._baselines: Mapping[Key, Baseline] = {}
        self._drift = ScoreDrift({})
        self._reported: set[Key] = set()
        self._last_s: float | None = None
        self.readings: tuple[DriftReading, ...] = ()
        """Drift of every state and light; replaced as a whole, so any thread may read it."""

    def compare_with(self, baselines: Mapping[Key, Baseline]) -> None:
        """Follow against these from now on; what was seen against others is forgotten."""
        self._go_on(ScoreDrift(baselines, self._drift.snapshot()), baselines)

    def follow(
        self, observation: Observation, said: State, change: StateChange | None
    ) -> list[EventDraft]:
        """Return what there is to report after an observation; called once per observation, in
        time order."""
        match = observation.match
        if self._every_s is None or match is None or observation.impediment is not None:
            return []
        if change is not None or said.name == UNKNOWN or match.best.state != said.name:
            return []
        if not self._is_due(observation.captured_at_s):
            return []
        self._drift.observe(said.name, observation.condition, match.best.score.combined)
        self.readings = self._drift.readings()
        key = (said.name, observation.condition)
        (reading,) = [item for item in self.readings if (item.state, item.condition) == key]
        return [_draft(reading)] if self._is_news(key, reading) else []

    def snapshot(self) -> DriftMemory:
        """Return what to keep over a restart."""
        return DriftMemory(self._drift.snapshot(), tuple(sorted(self._reported)))

    def restore(self, memory: DriftMemory) -> None:
        """Go on from there, as far as it was seen against the same references."""
        self._reported = set(memory.reported)
        self._go_on(ScoreDrift(self._baselines, memory.scores), self._baselines)

    def _is_news(self, key: Key, reading: DriftReading) -> bool:
        baseline = self._baselines.get(key)
        if baseline is None or reading.observations < LEAST_OBSERVATIONS:
            return False
        fallen = (baseline.mean - reading.mean) / max(LEAST_FALL, baseline.deviation)
        if fallen < 0.5:
            self._reported.discard(key)
        if fallen < 1.0 or not reading.drifted or key in self._reported:
            return False
        self._reported.add(key)
        return True

    def _go_on(self, drift: ScoreDrift, baselines: Mapping[Key, Baseline]) -> None:
        self._drift, self._baselines = drift, baselines
        self.readings = drift.readings()
        self._reported &= {(item.state, item.condition) for item in self.readings}

    def _is_due(self, at_s: float) -> bool:
        last_s, every_s = self._last_s, self._every_s or 0.0
        # Time that ran backwards counts as due.
        if last_s is not None and 0.0 <= at_s - last_s < every_s:
            return False
        self._last_s = at_s
        return True


def _draft(reading: DriftReading) -> EventDraft:
    has_psi = reading.psi is not None
    return draft(
        ScoresDrifted,
        state=reading.state,
        condition=reading.condition,
        psi=_rounded(reading.psi),
        limit=_rounded(reading.limit) if has_psi else None,
        expected=_rounded(reading.expected),
        mean=round(reading.mean, 4),
        direction=reading.direction,
        observations=reading.observations,
        action=reading.action,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
