"""Demo: a synthetic scene, a gallery enrolled from it, and the accuracy of its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from edge_sim.core.events import StateChanged
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import UNKNOWN
from edge_sim.decision.pipeline import Pipeline, Watch
from edge_sim.gallery.enrolment import reference_of
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.sources import open_source
from edge_sim.io.sources.synthetic.source import (
    TRANSITION,
    reference_frames,
    scene_roi,
    scene_states,
    scene_truth,
)
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.loop import SourceRunner, Step, steps
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.probe import Region

FPS = 5.0
DEVICE = "demo"
TOLERANCE_FRAMES = 15
"""An event counts for a true change up to this many frames after it: 3 s of scene time."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Plan of a demo.

    Args:
        scene: Name of a synthetic scene.
        seed: Seed of the events and nuisances.
        frames: Length, 5 frames per second of scene time.
        nuisances: Names of nuisances.
        references: Pictures enrolled of each state.
    """

    scene: str
    seed: int = 0
    frames: int = 600
    nuisances: tuple[str, ...] = ()
    references: int = 5

    @property
    def uri(self) -> str:
        """URI of the source that plays it."""
        nuisances = f"&nuisances={','.join(self.nuisances)}" if self.nuisances else ""
        return (
            f"synthetic:{self.scene}?seed={self.seed}&frames={self.frames}&fps={FPS:g}{nuisances}"
        )


class DemoResult(msgspec.Struct, frozen=True):
    """Accuracy of a run against the truth of the scene.

    `found` of `true_changes` were reported as events within the tolerance; `false_changes` are
    reports of a false state. Time in `unknown` is no mistake and counted separately.
    """

    frames: int
    true_changes: int
    found: int
    false_changes: int
    unknown_share: float
    schema: int = 1


class Demo:
    """A synthetic scene with its pipeline, ready to play once.

    Raises:
        ConfigError: There is no such scene or nuisance.
    """

    def __init__(self, plan: DemoPlan, embedder: Embedder) -> None:
        self.plan = plan
        self.truth: tuple[str, ...] = scene_truth(plan.uri)
        self.region = Region(scene_roi(plan.scene))
        self.gallery = enrolled(plan, self.region, embedder)
        stages = stages_of(Config(), WatchConfig())
        self.watch = Watch(plan.scene, self.gallery, stages, region=self.region, gate=Gate())
        source = open_source(plan.uri)
        pipeline = Pipeline(embedder, [self.watch], DEVICE)
        self._runner = SourceRunner(source, pipeline, live=False, now=lambda: 0.0)

    def steps(self) -> Iterator[Step]:
        """Yield one step per frame."""
        return steps([self._runner])

    def timed_truth(self) -> list[tuple[float, str]]:
        """Return (captured_at_s, state) from which on each state was true."""
        return [
            (at / FPS, state)
            for at, state in enumerate(self.truth)
            if at == 0 or self.truth[at - 1] != state
        ]

    def close(self) -> None:
        """Close the source."""
        self._runner.source.close()


def enrolled(plan: DemoPlan, region: Region, embedder: Embedder) -> Gallery:
    """Return the gallery that a user of the scene would make."""
    references = []
    for state in scene_states(plan.scene):
        frames = reference_frames(plan.uri, state, plan.references, seed=plan.seed)
        for number, frame in enumerate(frames, start=1):
            pixels, name = region.pixels_of(frame.pixels), f"{state}-{number}"
            references.append(reference_of(embedder, pixels, name, state, frame.unix_time_s))
    return Gallery(references)


class Judge:
    """Comparison of a run with the truth, step by step."""

    def __init__(self, truth: Sequence[str]) -> None:
        self._truth = truth
        self._pending = true_intervals(truth)
        self._true_changes = len(self._pending)
        self._frames = self._found = self._false = self._unknown = self._observations = 0

    def add(self, step: Step) -> None:
        """Count one step."""
        self._frames += step.frame is not None
        for outcome in step.outcomes:
            self._observations += 1
            self._unknown += outcome.state.name == UNKNOWN
        for event in step.events:
            if isinstance(event, StateChanged) and event.after != UNKNOWN:
                self._judge(event.frame, event.after)

    def verdict(self) -> DemoResult:
        """Return the accuracy of the run so far."""
        share = self._unknown / max(self._observations, 1)
        return DemoResult(
            self._frames, self._true_changes, self._found, self._false, round(share, 4)
        )

    def _judge(self, frame: int, state: str) -> None:
        for interval in self._pending:
            if (
                interval.state == state
                and interval.earliest <= frame <= interval.start + TOLERANCE_FRAMES
            ):
                self._pending.remove(interval)
                self._found += 1
                return
        recent = self._truth[max(0, frame - TOLERANCE_FRAMES) : frame + 1]
        # A return from `unknown` to the state that is still true is neither found nor false.
        self._false += state not in recent


@dataclass(frozen=True, slots=True)
class StateInterval:
    """A true state from frame `start` on; the transition to it begins at `earliest`."""

    earliest: int
    start: int
    state: str


def true_intervals(truth: Sequence[str]) -> list[StateInterval]:
    """Return every interval of a state, the first one included."""
    intervals: list[StateInterval] = []
    left = 0
    for at, state in enumerate(truth):
        if state == TRANSITION:
            continue
        if not intervals or intervals[-1].state != state:
            intervals.append(StateInterval(left, at, state))
        left = at + 1
    return intervals
