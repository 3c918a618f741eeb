"""Methods to compare: edge_sim and its alternatives, by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol as Seam

from comparing.baselines import SCORERS
from comparing.change_detectors import (
    AdaptiveCuts,
    ChangeDetector,
    ForegroundShare,
    watched,
)
from comparing.fixed_decider import FixedDecider
from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.events import Played, default_stages, play
from edge_sim.analysis.evaluation.states import (
    Protocol,
    StateAnswers,
    UnknownTest,
    evaluate_states,
    learned_test,
)
from edge_sim.core.protocols import Scorer
from edge_sim.core.types import StateScore
from edge_sim.decision.pipeline import Stages
from edge_sim.errors import DataError
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.scene_monitor import SceneMonitor

OURS = "gallery"
THRESHOLDS: Mapping[str, float] = {
    "nearest-cosine": 0.9,
    "ssim": 0.1,
    "thumbnail": 0.95,
    "softmax-head": 0.8,
}
"""Fixed level of `combined` per scorer. 0.9 is the value of tutorials on image similarity, 0.8 that
of recorders for a softmax; the other two have the best mean F1 of events on eight labelled sets
in order and one clip, of 0.1 to 0.7 and of 0.8 to 0.98."""


class Method(Seam):
    """StateAnswers for frames by themselves, and for clips in order."""

    def states(self, seen: EmbeddedSet, protocol: Protocol) -> StateAnswers:
        """Return the answers of the frame-by-frame protocol.

        Raises:
            DataError: The set is too small, or the method names no states.
        """

    def play(self, clip: EmbeddedSet, rows: Sequence[int], gallery: Gallery) -> Played:
        """Return the output on the rows, played in order.

        Raises:
            DataError: A picture cannot be read, or a package is missing.
        """


@dataclass(frozen=True, slots=True)
class StateMethod:
    """A scorer with a decider.

    Args:
        stages: Stages for a gallery.
        unknown_test: Test of one picture by itself.
    """

    stages: Stages
    unknown_test: UnknownTest = learned_test

    def states(self, seen: EmbeddedSet, protocol: Protocol) -> StateAnswers:
        """Return the answers of the frame-by-frame protocol."""
        return evaluate_states(seen, self.stages.scorer, protocol, unknown_test=self.unknown_test)

    def play(self, clip: EmbeddedSet, rows: Sequence[int], gallery: Gallery) -> Played:
        """Return the output on the rows, played in order."""
        return play(clip, rows, gallery, self.stages)


@dataclass(frozen=True, slots=True)
class AlarmMethod:
    """A change detector, which names no states."""

    name: str
    make_detector: Callable[[], ChangeDetector]

    def states(self, seen: EmbeddedSet, protocol: Protocol) -> StateAnswers:  # noqa: ARG002
        """Raise an error: a detector names no states.

        Raises:
            DataError: Always.
        """
        raise DataError(f"{self.name} names no states; it only plays clips")

    def play(
        self,
        clip: EmbeddedSet,
        rows: Sequence[int],
        gallery: Gallery,  # noqa: ARG002
    ) -> Played:
        """Return the alarms on the rows, played in order."""
        return watched(clip, rows, self.make_detector)


def fixed(name: str, threshold: float | None = None) -> Method:
    """Return a scorer with a fixed threshold and three observations in a row.

    Args:
        name: Name of the scorer, one of `THRESHOLDS`.
        threshold: Least `combined`; the one of `THRESHOLDS` by default.
    """
    level = THRESHOLDS[name] if threshold is None else threshold
    holds = name == "softmax-head"  # its users see the last state while it is not sure

    def decider(gallery: Gallery, scorer: Scorer) -> FixedDecider:  # noqa: ARG001
        return FixedDecider(threshold=level, holds=holds)

    def below(gallery: Gallery, scorer: Scorer) -> Callable[[StateScore], bool]:  # noqa: ARG001
        return lambda best: best.score.combined < level

    return StateMethod(Stages(SCORERS[name], decider, SceneMonitor), below)


DETECTORS: Mapping[str, Callable[[], ChangeDetector]] = {
    "mog2": ForegroundShare,
    "scenedetect": AdaptiveCuts,
}
"""Name -> change detector."""
NAMES = (OURS, *THRESHOLDS, *DETECTORS)
"""Every method, as on the command line."""


def method_of(name: str, *, sensitivity: float = 0.5, threshold: float | None = None) -> Method:
    """Return the method of a name in `NAMES`.

    Args:
        name: Name of the method.
        sensitivity: Sensitivity of edge_sim, 0 to 1.
        threshold: Threshold of a method with a fixed one, 0 to 1; its usual one by default.

    Raises:
        DataError: There is no such method, or it has no such setting, or out of range.
    """
    if threshold is not None and name not in THRESHOLDS:
        raise DataError(f"{name} has no fixed threshold; {', '.join(THRESHOLDS)} have one")
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise DataError(f"the threshold must be 0 to 1, got {threshold}")
    if name == OURS:
        return StateMethod(default_stages(sensitivity))
    if name in THRESHOLDS:
        return fixed(name, threshold)
    if name in DETECTORS:
        return AlarmMethod(name, DETECTORS[name])
    raise DataError(f"there is no method {name!r}; there are {', '.join(NAMES)}")


_PACKAGES = {"scenedetect": "scenedetect"}


def missing_package(name: str) -> str | None:
    """Return the package that a method needs and that is not installed; None if all is there."""
    package = _PACKAGES.get(name)
    return package if package and importlib.util.find_spec(package) is None else None
