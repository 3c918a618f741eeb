"""Synthetic scenes with every nuisance, alone and in pairs: accuracy of the reported changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import msgspec

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.events import LEAST_FRAMES, EventsResult, Played, judge
from edge_sim.analysis.evaluation.metrics import f1
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import UNKNOWN, BgrImage, Frame, Reference, StateChange
from edge_sim.decision.pipeline import Outcome, Pipeline, Stages, Watch
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.sources import open_source
from edge_sim.io.sources.synthetic.nuisances import NUISANCES
from edge_sim.io.sources.synthetic.source import (
    SCENES,
    TRANSITION,
    reference_frames,
    scene_effect,
    scene_lost_at,
    scene_roi,
    scene_seed,
    scene_states,
    scene_truth,
)
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.light import condition_of
from edge_sim.vision.probe import Region, make_probe

FPS = 2.5
DWELL_S = 12.0
NOTHING = "nothing"
"""Name of the clips that nothing disturbs."""
TOGETHER = "+"


Combination = tuple[str, ...]
"""Names of nuisances that act together."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Plan of the clips.

    Args:
        seeds: Clips per combination; the scenes take turns, each seed is another day.
        frames: Frames of a clip; 120 at 2.5 per second show two or three states.
        references: Pictures enrolled of each state.
        scenes: Names of synthetic scenes.
        first_seed: The others follow it.
    """

    seeds: int = 50
    frames: int = 120
    references: int = 5
    scenes: tuple[str, ...] = tuple(SCENES)
    first_seed: int = 0

    @property
    def clips(self) -> tuple[str, ...]:
        """Uris of the undisturbed clips."""
        return tuple(
            f"synthetic:{self.scenes[seed % len(self.scenes)]}?seed={seed}"
            f"&frames={self.frames}&fps={FPS:g}&dwell_s={DWELL_S:g}"
            for seed in range(self.first_seed, self.first_seed + self.seeds)
        )


class NuisanceResult(msgspec.Struct, frozen=True):
    """Figures of one combination of nuisances, its clips taken together.

    Args:
        name: Names of the nuisances, joined by `+`.
        clips: Number of clips played.
        frames: Frames of all of them.
        true_changes: Entries into states, the first of each clip included.
        reported: Entries reported.
        found: True ones that are reported.
        f1: Harmonic mean of precision and recall; 1 where nothing happened and nothing is reported.
        false_events: Entries reported without a true one.
        sure_wrong: Wrong states reported with a confidence of 0.9 and more.
        delay_frames: Mean from the true to the reported entry; None without one.
        unknown_share: Part of the frames reported as `unknown`.
        wrong_share: Part of the clean frames reported as another state; delays count.
        worst_clip: URI of the clip with the lowest F1; None if all are perfect.
    """

    name: str
    clips: int
    frames: int
    true_changes: int
    reported: int
    found: int
    f1: float
    false_events: int
    sure_wrong: int
    delay_frames: float | None
    unknown_share: float
    wrong_share: float
    worst_clip: str | None


def wanted_nuisances(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the nuisances of these names, all of them for None, in the order in which they act.

    Raises:
        ConfigError: There is no such nuisance.
    """
    for name in names or ():
        scene_effect(disturbed(f"synthetic:{next(iter(SCENES))}?seed=0", (name,)))
    return tuple(name for name in NUISANCES if names is None or name in names)


def combinations(names: Iterable[str], *, pairs: bool) -> list[Combination]:
    """Return no nuisance, each alone and, with `pairs`, every two together."""
    wanted = set(names)
    known = [name for name in NUISANCES if name in wanted]
    alone: list[Combination] = [(), *((name,) for name in known)]
    return alone + (list(itertools.combinations(known, 2)) if pairs else [])


def disturbed(clip: str, nuisances: Combination) -> str:
    """Return the uri of a clip with these nuisances."""
    return f"{clip}&nuisances={','.join(nuisances)}" if nuisances else clip


def play_disturbed(
    clip: str,
    combinations: Sequence[Combination],
    embedder: Embedder,
    stages: Stages,
    *,
    references: int = 5,
) -> dict[Combination, Played]:
    """Return the output of a watch on a clip under each combination of at most two nuisances.

    The pictures are those of `disturbed(clip, ...)`, but each is drawn and disturbed once for all
    combinations that share it.

    Raises:
        ConfigError: There is no such nuisance or scene.
    """
    viewers = {
        names: _Viewer(disturbed(clip, names), references, embedder, stages)
        for names in combinations
    }
    single = {name for names in combinations for name in names}
    effects = {name: scene_effect(disturbed(clip, (name,))) for name in single}
    source = open_source(clip)
    while (frame := source.read()) is not None:
        seen: dict[Combination, BgrImage] = {(): frame.pixels}
        for name, effect in effects.items():
            seen[name,] = effect(frame.pixels.copy(), frame.index)
        for names, viewer in viewers.items():
            pixels = seen[names[:1]]
            for name in names[1:]:
                pixels = effects[name](pixels.copy(), frame.index)
            viewer.look(replace(frame, pixels=pixels))
    source.close()
    return {names: viewer.played() for names, viewer in viewers.items()}


class _Viewer:
    """A watch on one clip, its gate, and its output."""

    def __init__(self, uri: str, references: int, embedder: Embedder, stages: Stages) -> None:
        region = Region(scene_roi(uri))
        gallery = _gallery(uri, references, embedder, region)
        watch = Watch("trial", gallery, stages, region=region, gate=Gate())
        self._pipeline = Pipeline(embedder, [watch], "trial")
        self._outcomes: list[Outcome] = []

    def look(self, frame: Frame) -> None:
        self._outcomes += self._pipeline.process(frame)

    def played(self) -> Played:
        outcomes = self._outcomes
        changes = [(at, item.change) for at, item in enumerate(outcomes) if item.change is not None]
        return Played(
            rows=tuple(range(len(outcomes))),
            reported=tuple(item.state for item in outcomes),
            changes=tuple(changes),
            matches=tuple(item.observation.match for item in outcomes),
        )


def judged(uri: str, played: Played) -> EventsResult:
    """Return the figures of a clip against the scene's own truth.

    Frames of a transition show no state, nor do those of a camera that was turned away: these
    frames are not judged, except that another state than the true one is wrong.
    """
    truth = scene_truth(uri)
    lost = scene_lost_at(uri)
    lost = len(truth) if lost is None else lost
    labels = [
        None if state == TRANSITION or at >= lost else state for at, state in enumerate(truth)
    ]
    asked = [
        item
        for item in played.changes
        if _has_lasted(item[0], truth, lost) or _is_wrong(item, truth)
    ]
    return judge(EmbeddedSet(uri, (), tuple(labels)), replace(played, changes=tuple(asked)))


def _has_lasted(at: int, truth: Sequence[str], lost: int) -> bool:
    """Return whether the state of frame `at`, or the one it turns into, is seen long enough.

    A change may be reported while it happens; where the camera is turned before the new state has
    lasted for a few frames, it is not judged.
    """
    first = _settled(at, truth)
    state = truth[first] if first < len(truth) else TRANSITION
    while first > 0 and truth[first - 1] == state != TRANSITION:
        first -= 1
    return first + LEAST_FRAMES <= lost


def _settled(at: int, truth: Sequence[str]) -> int:
    """Return the first frame from `at` on that shows a state; the clip's length if none does."""
    return next((i for i in range(at, len(truth)) if truth[i] != TRANSITION), len(truth))


def _is_wrong(item: tuple[int, StateChange], truth: Sequence[str]) -> bool:
    at, change = item
    earlier = next((i for i in range(at, -1, -1) if truth[i] != TRANSITION), at)
    # Within a transition the state before it and the one after it are both right.
    right = {truth[earlier], *truth[_settled(at, truth) :][:1], UNKNOWN}
    return change.after.name not in right


def _gallery(uri: str, count: int, embedder: Embedder, region: Region) -> Gallery:
    references, seed = [], scene_seed(uri)
    for state in scene_states(uri):
        for frame in reference_frames(uri, state, count, seed=seed):
            probe = make_probe(embedder, region.pixels_of(frame.pixels))
            references.append(
                Reference(
                    reference_id=f"{state}-{frame.index}",
                    state=state,
                    embedding=probe.embedding,
                    thumbnail=probe.thumbnail,
                    condition=condition_of(probe.quality),
                    enrolled_at=datetime.fromtimestamp(frame.unix_time_s, tz=timezone.utc),
                )
            )
    return Gallery(references)


def summed_up(nuisances: Combination, results: Sequence[EventsResult]) -> NuisanceResult:
    """Return the figures of one combination over all its clips.

    Raises:
        ValueError: There is no clip.
    """
    if not results:
        raise ValueError("no clip to sum up")
    frames = sum(item.frames for item in results)
    true, reported = _total(results, "true_changes"), _total(results, "reported")
    found = sum(round(item.recall * item.true_changes) for item in results)
    late = sum((item.delay_frames or 0.0) * item.recall * item.true_changes for item in results)
    worst = min(results, key=lambda item: item.f1)
    return NuisanceResult(
        name=TOGETHER.join(nuisances) or NOTHING,
        clips=len(results),
        frames=frames,
        true_changes=true,
        reported=reported,
        found=found,
        f1=f1(found / reported if reported else 1.0, found / true if true else 1.0),
        false_events=_total(results, "false_events"),
        sure_wrong=_total(results, "sure_wrong"),
        delay_frames=late / found if found else None,
        unknown_share=sum((item.unknown_share or 0.0) * item.frames for item in results) / frames,
        wrong_share=sum((item.wrong_share or 0.0) * item.frames for item in results) / frames,
        worst_clip=worst.name if worst.f1 < 1.0 else None,
    )


def _total(results: Sequence[EventsResult], figure: str) -> int:
    return round(sum(float(getattr(item, figure) or 0.0) for item in results))
