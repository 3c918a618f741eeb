"""Made-up runs: outcomes as a watch would give them, without camera or model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edge_sim.core.images import edges_of
from edge_sim.core.types import (
    UNKNOWN,
    Embedding,
    Match,
    Observation,
    Probe,
    Quality,
    Score,
    State,
    StateChange,
    StateScore,
    Threshold,
    UnknownReason,
)
from edge_sim.decision.pipeline import Outcome

START_UNIX_S = 1_790_000_000.0


def probe_at(at_s: float, luma: float = 120.0) -> Probe:
    """Return a probe whose thumbnail is a gradient."""
    vector = np.zeros(8, np.float32)
    vector[0] = 1.0
    ramp = np.linspace(0.3, 1.0, 96) * luma
    thumbnail = np.tile(np.clip(ramp, 0, 255).astype(np.uint8), (96, 1))
    return Probe(
        embedding=Embedding(vector, None, "fake-1234"),
        thumbnail=thumbnail,
        edges=edges_of(thumbnail),
        quality=Quality(luma, 30.0, 100.0, 10.0, 0.0, 0.0),
        captured_at_s=at_s,
        unix_time_s=START_UNIX_S + at_s,
        frame_index=round(at_s * 10),
    )


def outcome_at(
    at_s: float,
    state: State,
    before: State | None = None,
    *,
    scores: Mapping[str, float] | None = None,
    watch: str = "bowl",
    luma: float = 120.0,
    condition: str = "day",
) -> Outcome:
    """Return one point; it is a change where `before` differs from `state` and is not None.

    Pass `before=state` (or nothing) for a point without a change.
    """
    probe = probe_at(at_s, luma)
    observation = Observation(
        captured_at_s=at_s,
        unix_time_s=probe.unix_time_s,
        frame_index=probe.frame_index,
        match=_match(scores),
        condition=condition,
        impediment=state.reason if state.reason is UnknownReason.LIGHTING else None,
        quality=probe.quality,
    )
    wave = 0.01 * math.sin(at_s / 15)
    thresholds = {
        name: Threshold(enter=0.80 - 0.05 * i + wave, leave=0.73 - 0.05 * i + wave)
        for i, name in enumerate(sorted(scores or {}))
    }
    change = None
    if before is not None and before != state:
        confidence = 0.0 if state.name == UNKNOWN else 0.97
        change = StateChange(before, state, observation, thresholds, confidence)
    return Outcome(watch, probe, observation, state, thresholds, change)


def run(
    plan: Sequence[tuple[float, State]],
    *,
    watch: str = "bowl",
    step_s: float = 0.5,
    states: Sequence[str] = ("empty", "food"),
    end_s: float = 120.0,
) -> Iterator[Outcome]:
    """Yield the points of a run that follows `plan`: (from when, what the watch says)."""
    random = np.random.default_rng(7)
    before: State | None = State(UNKNOWN, UnknownReason.STARTING)
    for i in range(int(end_s / step_s)):
        at_s = i * step_s
        state = [said for from_s, said in plan if from_s <= at_s][-1]
        scores = {
            name: float(
                np.clip((0.9 if name == state.name else 0.62) + random.normal(0, 0.012), 0, 1)
            )
            for name in states
        }
        luma = 130 + 40 * math.sin(at_s / 20)
        dusk = "dusk" if luma < 110 else "day"
        yield outcome_at(at_s, state, before, scores=scores, watch=watch, luma=luma, condition=dusk)
        before = state


BOWL_PLAN = (
    (0.0, State(UNKNOWN, UnknownReason.STARTING)),
    (2.0, State("empty")),
    (31.0, State(UNKNOWN, UnknownReason.COVERED)),
    (36.0, State("food")),
    (70.0, State(UNKNOWN, UnknownReason.LIGHTING)),
    (73.0, State("food")),
    (95.0, State("empty")),
)
BOWL_TRUTH = ((0.0, "empty"), (33.0, "food"), (92.0, "empty"))


def _match(scores: Mapping[str, float] | None) -> Match | None:
    if not scores:
        return None
    total = sum(math.exp(12 * value) for value in scores.values())
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    return Match(
        tuple(
            StateScore(name, f"{name}-1", Score(value, None, value), math.exp(12 * value) / total)
            for name, value in ranked
        )
    )
