"""Ablation: the same figures with one part of scorer and decider turned off at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from comparing.baselines import NearestScorer, Rows
from comparing.methods import Method, StateMethod
from edge_sim.core.protocols import Decider, Scorer
from edge_sim.core.types import (
    Match,
    Observation,
    Probe,
    Reference,
    SceneReading,
    State,
    StateChange,
    Threshold,
    UnknownReason,
)
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.features import WEIGHTS, features_of, stacked_features
from edge_sim.decision.pipeline import Stages
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.decision.thresholds import Memory
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.scene_monitor import SceneMonitor

EVERYTHING = "everything"
_ONE_LIGHT = "day"


def in_one_light(gallery: Gallery) -> Gallery:
    """Return the gallery as if all its references had been taken in the same light."""
    alike = (replace(item, condition=_ONE_LIGHT) for item in gallery.references)
    return Gallery(alike, revision=gallery.revision)


def nearest_in_all_views(gallery: Gallery) -> NearestScorer:
    """Return the scorer that takes the nearest reference in all features instead of regressions."""
    views = stacked_features(gallery.references) if len(gallery) else {}

    def likeness(item: Probe | Reference) -> Rows:
        own = features_of(item)
        total = sum(WEIGHTS[name] for name in views)
        parts = (WEIGHTS[name] / total * (rows @ own[name]) for name, rows in views.items())
        return np.asarray(sum(parts), np.float32)

    return NearestScorer(gallery, likeness)


class NearestFamiliarity:
    """The scorer with the familiarity of the nearest reference in place of the span of all.

    Args:
        gallery: Gallery of references.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._scorer = GalleryScorer(gallery)
        self._nearest = nearest_in_all_views(gallery)

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:
        """Return the states of the gallery for `probe`, the most probable first."""
        found = self._scorer.best_match(probe, condition)
        return _with_familiarity(found, self._nearest.best_match(probe, condition))

    def leave_one_out(self) -> tuple[Match | None, ...]:
        """Return, per reference, its match against all the others."""
        pairs = zip(self._scorer.leave_one_out(), self._nearest.leave_one_out(), strict=True)
        return tuple(_with_familiarity(match, other) for match, other in pairs)


def _with_familiarity(match: Match | None, other: Match | None) -> Match | None:
    if match is None or other is None:
        return match
    combined = {item.state: item.score.combined for item in other.states}
    states = (
        replace(item, score=replace(item.score, combined=combined[item.state]))
        for item in match.states
    )
    return Match(tuple(states))


class Steady:
    """A decider with the initial thresholds of the gallery.

    Args:
        left_out: `Scorer.leave_one_out()` of the gallery.
        gallery: Gallery of references.
    """

    def __init__(self, left_out: Sequence[Match | None], gallery: Gallery) -> None:
        self._decider = AdaptiveDecider(left_out, gallery)
        self.resume = self._decider.resume

    @property
    def state(self) -> State:
        """State in force."""
        return self._decider.state

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Levels in force, per state."""
        return self._decider.thresholds

    @property
    def pending(self) -> bool:
        """Whether a change is being confirmed."""
        return self._decider.pending

    def observe(self, observation: Observation) -> StateChange | None:
        """Return the change that `observation` completes, if it does."""
        self._decider.restore(Memory())  # forgets the drift, and nothing else
        return self._decider.observe(observation)


class Counting(AdaptiveDecider):
    """A decider that counts votes and needs no evidence."""

    def _is_believed(self, state: str) -> bool:  # noqa: ARG002
        return True


class Deaf:
    """A monitor that suppresses some of its impediments.

    Args:
        gallery: Gallery of references.
        suppressed: Impediments to suppress; None for all.
    """

    def __init__(
        self, gallery: Gallery, suppressed: Collection[UnknownReason] | None = None
    ) -> None:
        self._monitor = SceneMonitor(gallery)
        self._unsaid = suppressed

    def inspect(self, probe: Probe) -> SceneReading:
        """Return condition and, if not suppressed, impediment of an observation."""
        reading = self._monitor.inspect(probe)
        if self._unsaid is None or reading.impediment in self._unsaid:
            return replace(reading, impediment=None)
        return reading


def _decided(gallery: Gallery, scorer: Scorer) -> Decider:
    return AdaptiveDecider(scorer.leave_one_out(), gallery)


def _steady(gallery: Gallery, scorer: Scorer) -> Decider:
    return Steady(scorer.leave_one_out(), gallery)


def _counting(gallery: Gallery, scorer: Scorer) -> Decider:
    return Counting(scorer.leave_one_out(), gallery)


_OURS = Stages(scorer=GalleryScorer, decider=_decided, monitor=SceneMonitor)
_MOVED = (UnknownReason.CAMERA_MOVED, UnknownReason.NOVEL)


def _scored(scorer: Callable[[Gallery], Scorer]) -> Stages:
    return replace(_OURS, scorer=scorer)


def _weighted(weights: Mapping[str, float]) -> Stages:
    return _scored(partial(GalleryScorer, weights=weights))


def _without(view: str) -> Stages:
    return _weighted({name: weight for name, weight in WEIGHTS.items() if name != view})


SCORING: Mapping[str, Stages] = {
    **{f"without the view {name}": _without(name) for name in WEIGHTS},
    **{f"the view {name} alone": _weighted({name: 1.0}) for name in WEIGHTS},
    "all views trusted alike": _weighted(dict.fromkeys(WEIGHTS, 0.25)),
    "nearest reference, no regression": _scored(nearest_in_all_views),
    "light not taken out": _scored(lambda gallery: GalleryScorer(in_one_light(gallery))),
    "familiarity by the nearest reference": _scored(NearestFamiliarity),
}
"""Part of the scorer that is off -> stages without it."""
DECIDING: Mapping[str, Stages] = {
    "thresholds that do not adapt": replace(_OURS, decider=_steady),
    "votes without cumulative evidence": replace(_OURS, decider=_counting),
    "no scene health at all": replace(_OURS, monitor=Deaf),
    "no wait while the light changes": replace(
        _OURS, monitor=partial(Deaf, suppressed=(UnknownReason.LIGHTING,))
    ),
    "no eye for a moved camera": replace(_OURS, monitor=partial(Deaf, suppressed=_MOVED)),
}
"""Part of decider or monitor that is off -> stages without it; frames by themselves do not need it.
"""


def ablations() -> dict[str, Method]:
    """Return a method for everything, then one for each part that is off."""
    parts = {EVERYTHING: _OURS, **SCORING, **DECIDING}
    return {name: StateMethod(stages) for name, stages in parts.items()}
