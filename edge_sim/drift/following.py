"""ScoreDrift: the scores of one watch, followed look by look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import Match
from edge_sim.drift.measures import (
    LEAST_DEVIATION,
    LEAST_SHARE,
    Baseline,
    PageHinkley,
    baseline_of,
    counted,
    psi,
    psi_limit,
)
from edge_sim.gallery import Gallery

LEAST_BASELINE = 10
"""References of a state in a condition below which nothing can be said."""
LEAST_LOOKS = 20
"""Before so many looks the distribution is not judged."""
_MEMORY_LOOKS = 500.0  # old looks are forgotten slowly
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
    told: bool = False


class DriftSnapshot(msgspec.Struct, frozen=True):
    """All that a `ScoreDrift` has seen; encode it with `msgspec.json`."""

    tracks: tuple[TrackSnapshot, ...] = ()
    schema: int = 1


@dataclass(frozen=True, slots=True)
class DriftReading:
    """Where the scores of one state in one condition stand.

    Args:
        state: Name of the state.
        condition: Light regime.
        looks: Seen since the start.
        mean: Of recent scores.
        expected: Mean of the baseline; None if the gallery has too few references to say.
        psi: Population stability index of recent looks; None without a baseline, and at first.
        limit: Above which the index tells.
        direction: `rise` or `fall` where the mean moved; None if it did not.
        moved: How far the mean, or the deviation if that is more, lies from the baseline.
    """

    state: str
    condition: str
    looks: int
    mean: float
    expected: float | None
    psi: float | None
    limit: float | None
    direction: str | None
    moved: float

    @property
    def drifted(self) -> bool:
        """Whether either reading tells, and of something that matters.

        Where all references are alike a hair's breadth is another distribution; it decides nothing.
        """
        by_shape = self.psi is not None and self.limit is not None and self.psi > self.limit
        return (by_shape or self.direction is not None) and self.moved >= LEAST_DEVIATION

    @property
    def action(self) -> str:
        """What to do about it, in one sentence; empty if nothing."""
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
    told: bool = False


class ScoreDrift:
    """Follows the scores of one watch.

    Args:
        baselines: From `baselines_of`.
        snapshot: Of an earlier run; what was seen against another baseline is forgotten.
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
                track = _ScoreTrack(counts, item.total, item.square, item.test, item.told)
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
        kept = 1.0 - 1.0 / _MEMORY_LOOKS
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
        told = reading.drifted or (track.told and not _is_calm(reading))
        self._tracks[key] = replace(after, told=told)
        return reading if told and not track.told else None

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
                    told=track.told,
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
            return DriftReading(*key, track.test.looks, mean, None, None, None, None, 0.0)
        spread = abs(max(deviation, LEAST_DEVIATION) - baseline.deviation)
        # A bin that holds none of n counts as half of one: its true share is hardly less.
        floor = max(LEAST_SHARE, 0.5 / min(number, baseline.number))
        enough = track.test.looks >= LEAST_LOOKS
        return DriftReading(
            *key,
            looks=track.test.looks,
            mean=mean,
            expected=baseline.mean,
            psi=psi(baseline.shares, track.counts / number, floor=floor) if enough else None,
            limit=psi_limit(len(baseline.shares), number, baseline.number),
            direction=track.test.direction,
            moved=max(abs(mean - baseline.mean), spread),
        )


def _is_calm(reading: DriftReading) -> bool:
    """Whether the index is so far below its limit that what was told is over."""
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
