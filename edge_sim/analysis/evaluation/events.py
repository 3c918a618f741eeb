"""Evaluation of clips: whether the state changes are reported, soon, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.metrics import f1
from edge_sim.core.types import UNKNOWN, Match, Observation, State, StateChange, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.pipeline import Stages
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.errors import DataError
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.scene_monitor import SceneMonitor

LEAST_FRAMES = 3
"""Frames of the shortest state that is judged: three observations confirm a change."""
TOLERANCE_FRAMES = 5
"""Frames after the end of a state in which its change still counts."""
_UNLIKE = frozenset({UnknownReason.NOVEL, UnknownReason.AMBIGUOUS, UnknownReason.UNTAUGHT_LIGHT})
ANY = "*"
"""State of an entry reported by a detector that names none."""


class EventsResult(msgspec.Struct, frozen=True):
    """Figures of one clip; means, where several galleries were drawn for it.

    Args:
        name: Name of the clip.
        frames: Number of frames played.
        true_changes: Entries into a state that lasts long enough, the first one included.
        reported: Number of entries reported.
        precision: Part of the reported ones that are true; 1 if none is reported.
        recall: Part of the true ones that are reported; 1 if there is none.
        f1: Harmonic mean of both.
        false_events: Entries reported without a true one, and `unknown: novel` in a clip of one
            state. An alarm of a detector that names no states counts as right whenever it is in
            time; its first state is given.
        false_per_1000: False events per 1000 frames.
        delay_frames: Mean delay of reported entries; None without one.
        unknown_share: Part of the frames reported as `unknown`; None, as the next two, for a
            detector that names no states.
        wrong_share: Part of the clean frames reported as another state.
        sure_wrong: Entries into a wrong state reported with a confidence of 0.9 and more.
        unknown_recall: Part of the entries into a state left out of the gallery during which
            `unknown` is reported, or 5 frames after, mean over the states; None if none was.
        false_unknown_per_1000: Changes to `unknown` on a frame that shows a state of the gallery,
            for want of likeness and not for a fault of the picture, per 1000 frames.
    """

    name: str
    frames: int
    true_changes: float
    reported: float
    precision: float
    recall: float
    f1: float
    false_events: float
    false_per_1000: float
    delay_frames: float | None
    unknown_share: float | None
    wrong_share: float | None
    sure_wrong: float | None
    unknown_recall: float | None = None
    false_unknown_per_1000: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """Output of the stages on a clip.

    Args:
        rows: Rows of the set that were played, in order.
        reported: State in force after each of them.
        changes: (place in `rows`, change) of each change.
        matches: Match of each row; None where the gallery is empty.
        alarms: Places of the alarms of a detector that names no states, whose other fields are
            empty; None for the stages of a device.
    """

    rows: tuple[int, ...]
    reported: tuple[State, ...]
    changes: tuple[tuple[int, StateChange], ...]
    matches: tuple[Match | None, ...]
    alarms: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class StateEntry:
    """An entry into a state.

    Args:
        place: Place of the first frame that shows it cleanly.
        first: Frame from which on it may be reported: the one after the state before.
        end: One past the last frame at which it may be reported.
        state: Name of the state.
        confidence: Reported confidence; 1 for a true entry.
    """

    place: int
    first: int
    end: int
    state: str
    confidence: float = 1.0


def default_stages(sensitivity: float = 0.5) -> Stages:
    """Return the stages of a device: learned scores, adaptive thresholds, scene health.

    Raises:
        DataError: The sensitivity is not 0 to 1.
    """
    if not 0.0 <= sensitivity <= 1.0:
        raise DataError(f"the sensitivity must be 0 to 1, got {sensitivity}")
    return Stages(
        scorer=GalleryScorer,
        decider=lambda gallery, scorer: AdaptiveDecider(
            scorer.leave_one_out(), gallery, sensitivity=sensitivity
        ),
        monitor=SceneMonitor,
    )


def play(embedded: EmbeddedSet, rows: Sequence[int], gallery: Gallery, stages: Stages) -> Played:
    """Return the output of the stages on the rows, played in order."""
    scorer = stages.scorer(gallery)
    decider = stages.decider(gallery, scorer)
    monitor = stages.monitor(gallery)
    reported, changes, matches = [], [], []
    for place, row in enumerate(rows):
        probe = embedded.probes[row]
        reading = monitor.inspect(probe)
        observation = Observation(
            captured_at_s=probe.captured_at_s,
            unix_time_s=probe.unix_time_s,
            frame_index=probe.frame_index,
            match=scorer.best_match(probe, reading.condition),
            condition=reading.condition,
            impediment=reading.impediment,
            quality=probe.quality,
        )
        change = decider.observe(observation)
        if change is not None:
            changes.append((place, change))
        reported.append(decider.state)
        matches.append(observation.match)
    return Played(tuple(rows), tuple(reported), tuple(changes), tuple(matches))


def judge(embedded: EmbeddedSet, played: Played) -> EventsResult:
    """Return the figures of a played clip.

    A true and a reported entry belong together if the state is the same and the report falls
    between the last frame of the state before and `TOLERANCE_FRAMES` after the last one of the
    state itself; each true entry counts once, in order.
    """
    labels = [embedded.labels[row] for row in played.rows]
    if played.alarms is not None:
        return _judged_alarms(embedded.name, labels, played.alarms)
    true = true_entries(labels)
    reported = reported_entries(played.changes)
    pairs = paired(true, reported)
    novelties = 0
    if len(set(labels) - {None}) == 1:
        novelties = sum(1 for _, change in played.changes if _is_false_novelty(change))
    hit = {b for _, b in pairs}
    wrong = [
        reported.name not in (UNKNOWN, label)
        for reported, label in zip(played.reported, labels, strict=True)
        if label is not None
    ]
    result = _figures(embedded.name, labels, (len(true), len(reported), len(pairs)), novelties)
    return msgspec.structs.replace(
        result,
        delay_frames=_delay(true, reported, pairs),
        unknown_share=float(np.mean([reported.name == UNKNOWN for reported in played.reported])),
        wrong_share=float(np.mean(wrong)) if wrong else 0.0,
        sure_wrong=sum(1 for at, e in enumerate(reported) if at not in hit and e.confidence >= 0.9),
        false_unknown_per_1000=_false_unknowns(labels, played.changes),
    )


def _false_unknowns(
    labels: Sequence[str | None], changes: Sequence[tuple[int, StateChange]]
) -> float:
    false = sum(
        1
        for place, change in changes
        if change.after.reason in _UNLIKE and labels[place] is not None
    )
    return 1000.0 * false / max(len(labels), 1)


def unknown_recall(
    embedded: EmbeddedSet, rows: Sequence[int], gallery: Gallery, stages: Stages
) -> float | None:
    """Return the part of the entries into an unseen state during which `unknown` is reported.

    Each state in turn is left out of the gallery, and the clip is played again.

    Args:
        embedded: The clip.
        rows: Rows to play, in order.
        gallery: References of at least two states; with fewer there is nothing to leave out.
        stages: Makers of scorer, decider and monitor.

    Returns:
        The mean over the states; None where no state can be left out.
    """
    return unknown_recall_of(
        embedded, rows, gallery, lambda kept: play(embedded, rows, kept, stages)
    )


def unknown_recall_of(
    embedded: EmbeddedSet,
    rows: Sequence[int],
    gallery: Gallery,
    play_with: Callable[[Gallery], Played],
) -> float | None:
    """Return `unknown_recall` of anything that plays the rows with a gallery.

    Args:
        embedded: The clip.
        rows: Rows to play, in order.
        gallery: References of at least two states.
        play_with: Player of the rows with a part of the gallery.
    """
    if len(gallery.states) < 2:
        return None
    entries = true_entries([embedded.labels[row] for row in rows])
    recalls = []
    for state in gallery.states:
        own = [entry for entry in entries if entry.state == state]
        if not own:
            continue
        kept = Gallery([item for item in gallery.references if item.state != state])
        reported = play_with(kept).reported
        recalls.append(
            np.mean([any(_is_unknown(item) for item in reported[e.place : e.end]) for e in own])
        )
    return float(np.mean(recalls)) if recalls else None


def _is_unknown(state: State) -> bool:
    return state.name == UNKNOWN and state.reason is not UnknownReason.STARTING


def _judged_alarms(name: str, labels: Sequence[str | None], alarms: Sequence[int]) -> EventsResult:
    """Return the figures of a detector, the entry into the first state given to it."""
    true = true_entries(labels)
    reported = [StateEntry(place, place, place + 1, ANY) for place in alarms]
    pairs = paired(true[1:], reported)
    given = min(len(true), 1)
    counts = len(true), given + len(reported), given + len(pairs)
    result = _figures(name, labels, counts, 0)
    return msgspec.structs.replace(result, delay_frames=_delay(true[1:], reported, pairs))


def _figures(
    name: str, labels: Sequence[str | None], counts: tuple[int, int, int], novelties: int
) -> EventsResult:
    """Return the figures that follow from the numbers of true, reported and matching entries."""
    true, reported, hits = counts
    false = reported - hits + novelties
    precision = hits / reported if reported else 1.0
    recall = hits / true if true else 1.0
    return EventsResult(
        name=name,
        frames=len(labels),
        true_changes=true,
        reported=reported,
        precision=precision,
        recall=recall,
        f1=f1(precision, recall),
        false_events=false,
        false_per_1000=1000.0 * false / max(len(labels), 1),
        delay_frames=None,
        unknown_share=None,
        wrong_share=None,
        sure_wrong=None,
    )


def _delay(
    true: Sequence[StateEntry], reported: Sequence[StateEntry], pairs: Sequence[tuple[int, int]]
) -> float | None:
    delays = [max(reported[b].place - true[a].place, 0) for a, b in pairs]
    return float(np.mean(delays)) if delays else None


def check_judged(clip: EmbeddedSet, results: Sequence[EventsResult]) -> None:
    """Check that a clip has something to judge: figures of nothing would be perfect.

    Raises:
        DataError: In no round a state lasted long enough.
    """
    if not any(result.true_changes for result in results):
        raise DataError(
            f"{clip.name}: no state lasts {LEAST_FRAMES} frames, references not counted"
        )


def mean_result(results: Sequence[EventsResult]) -> EventsResult:
    """Return the mean of the figures of one clip under several galleries.

    Raises:
        ValueError: There is none.
    """
    if not results:
        raise ValueError("no result to take the mean of")
    figures = {}
    for field in msgspec.structs.fields(EventsResult):
        values = [getattr(result, field.name) for result in results]
        known = [value for value in values if value is not None]
        if field.name in ("name", "frames"):
            figures[field.name] = values[0]
        else:
            figures[field.name] = float(np.mean(known)) if known else None
    return EventsResult(**figures)


def true_entries(labels: Sequence[str | None]) -> list[StateEntry]:
    """Return the entries into states that last, without frames that show none."""
    entries: list[StateEntry] = []
    first = 0
    for run in _runs(labels):
        if len(run.places) >= LEAST_FRAMES:
            place, end = run.places[0], run.places[-1] + 1 + TOLERANCE_FRAMES
            if entries and entries[-1].state == run.state:
                entries[-1] = replace(entries[-1], end=end)
            else:
                entries.append(StateEntry(place, first, end, run.state))
        first = run.places[-1] + 1
    return entries


@dataclass(frozen=True, slots=True)
class _Run:
    state: str
    places: list[int]


def _runs(labels: Sequence[str | None]) -> list[_Run]:
    runs: list[_Run] = []
    for place, label in enumerate(labels):
        if label is None:
            continue
        if not (runs and runs[-1].state == label):
            runs.append(_Run(label, []))
        runs[-1].places.append(place)
    return runs


def reported_entries(changes: Sequence[tuple[int, StateChange]]) -> list[StateEntry]:
    """Return the entries into states; a return to a state from `unknown` is none."""
    entries: list[StateEntry] = []
    for place, change in changes:
        state = change.after.name
        if state != UNKNOWN and not (entries and entries[-1].state == state):
            entries.append(StateEntry(place, place, place + 1, state, change.confidence))
    return entries


def paired(true: Sequence[StateEntry], reported: Sequence[StateEntry]) -> list[tuple[int, int]]:
    """Return (true, reported) entries that belong together, both in order."""
    pairs = []
    start = 0
    for at, entry in enumerate(reported):
        for candidate in range(start, len(true)):
            expected = true[candidate]
            if (
                entry.state in (ANY, expected.state)
                and expected.first <= entry.place < expected.end
            ):
                pairs.append((candidate, at))
                start = candidate + 1
                break
    return pairs


def _is_false_novelty(change: StateChange) -> bool:
    return change.after.reason is UnknownReason.NOVEL
