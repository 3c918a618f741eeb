"""Several methods on the same sets and clips, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from comparing.methods import DETECTORS, AlarmMethod, Method, method_of, missing_package
from edge_sim.analysis.evaluation.datasets import EmbeddedSet, Track
from edge_sim.analysis.evaluation.events import (
    EventsResult,
    check_judged,
    judge,
    mean_result,
    unknown_recall_of,
)
from edge_sim.analysis.evaluation.metrics import mean_figures
from edge_sim.analysis.evaluation.states import CLIP_REFERENCES, Protocol, StatesResult, plans_for
from edge_sim.gallery.gallery import Gallery

EMBEDDING_METHODS = ("gallery", "nearest-cosine", "softmax-head")
"""Methods whose figures depend on the embedding model."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method with its settings.

    Args:
        method: Name of the method.
        model: Name of the embedding model, as in the mapping of sets; None if it needs none.
        threshold: Threshold in place of its usual fixed one.
    """

    method: str
    model: str | None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """Data of a comparison.

    Args:
        sets: Labelled sets, embedded by one model.
        clips: Clips that are only played.
        protocol: Draws of the references.
    """

    sets: Sequence[EmbeddedSet]
    clips: Sequence[EmbeddedSet]
    protocol: Protocol


class Summary(msgspec.Struct, frozen=True):
    """Figures of one method over all sets; None where it was not measured.

    Args:
        balanced_accuracy: Mean over the sets.
        worst_balanced_accuracy: The lowest.
        worst_set: Set with the lowest.
        auroc: Mean over the sets, open set.
        unknown_recall: Mean over the sets at 5 % false unknown.
        f1: F1 of events, mean over the clips with a change.
        worst_f1: The lowest.
        worst_clip: Clip with the lowest.
        delay_frames: Mean over the clips.
        false_per_1000: False events for 1000 frames, mean over all clips.
        false_in_still_clips: Sum over the clips without a change.
        unknown_share: Share of the frames, mean over all clips.
        unknown_events: Entries into a state left out of the gallery that are reported as unknown,
            mean over the clips with more than one state.
        false_unknown_per_1000: Changes to unknown on a known state for 1000 frames, mean over all
            clips.
    """

    balanced_accuracy: float | None = None
    worst_balanced_accuracy: float | None = None
    worst_set: str | None = None
    auroc: float | None = None
    unknown_recall: float | None = None
    f1: float | None = None
    worst_f1: float | None = None
    worst_clip: str | None = None
    delay_frames: float | None = None
    false_per_1000: float | None = None
    false_in_still_clips: float | None = None
    unknown_share: float | None = None
    unknown_events: float | None = None
    false_unknown_per_1000: float | None = None


class MethodResult(msgspec.Struct, frozen=True):
    """Figures of one candidate.

    Args:
        method: Name of the method.
        model: Name of the embedding model.
        threshold: Threshold of the candidate.
        skipped: Reason for which it was not measured; None if it was.
        summary: Figures over all sets.
        states: Figures of each set; None for a method that names no states.
        events: Figures of each clip, and of each set whose order is known.
    """

    method: str
    model: str | None
    threshold: float | None
    skipped: str | None
    summary: Summary
    states: tuple[StatesResult, ...] | None = None
    events: tuple[EventsResult, ...] | None = None


def candidates(names: Sequence[str], models: Sequence[str]) -> tuple[Candidate, ...]:
    """Return every method with every model that matters to it, in the order of the names."""
    selected: list[Candidate] = []
    for name in names:
        if name in EMBEDDING_METHODS:
            selected += [Candidate(name, model) for model in models]
        else:
            selected.append(Candidate(name, None))
    return tuple(selected)


def measure_method(
    candidate: Candidate,
    sets: Mapping[str, Sequence[EmbeddedSet]],
    clips: Mapping[str, Sequence[EmbeddedSet]],
    protocol: Protocol,
    *,
    track: Track[EmbeddedSet],
) -> MethodResult:
    """Return the figures of a candidate on all sets and clips.

    Args:
        candidate: Method to measure.
        sets: Model -> labelled sets embedded by it; at least one model.
        clips: Model -> clips that are only played.
        protocol: Draws of the references.
        track: Wrapper of the sets that shows progress.

    Raises:
        DataError: A set cannot be evaluated.
    """
    package = missing_package(candidate.method)
    if package is not None:
        reason = f"{package} is not installed; run `pip install 'edge_sim[bench]'`"
        return MethodResult(
            candidate.method, candidate.model, candidate.threshold, reason, Summary()
        )
    method = method_of(candidate.method, threshold=candidate.threshold)
    model = candidate.model or next(iter(sets))
    label = (
        candidate.method if candidate.model is None else f"{candidate.method}, {candidate.model}"
    )
    field = Field(sets[model], clips.get(model, ()), protocol)
    if candidate.method in DETECTORS:
        field = replace(field, protocol=replace(protocol, draws=1))  # it takes no references
        states = None
    else:
        states = states_on(field, method, track=track, label=label)
    events = events_on(field, method, track=track, label=label)
    summary = summarised(states or (), events)
    return MethodResult(
        candidate.method, candidate.model, candidate.threshold, None, summary, states, events
    )


def states_on(
    field: Field, method: Method, *, track: Track[EmbeddedSet], label: str
) -> tuple[StatesResult, ...]:
    """Return the figures of a method frame by frame, on every set of more than one state."""
    several = [embedded for embedded in field.sets if len(embedded.states) > 1]
    tracked = track(several, f"{label}: states")
    return tuple(method.states(embedded, field.protocol).result for embedded in tracked)


def events_on(
    field: Field, method: Method, *, track: Track[EmbeddedSet], label: str
) -> tuple[EventsResult, ...]:
    """Return the figures of its events, on every clip and every set whose order is known."""
    ordered = [embedded for embedded in (*field.sets, *field.clips) if embedded.is_ordered]
    return tuple(
        _played(method, clip, field.protocol, _beside(clip, field.sets))
        for clip in track(ordered, f"{label}: events")
    )


def summarised(states: Sequence[StatesResult], events: Sequence[EventsResult]) -> Summary:
    """Return the figures over all sets and clips."""
    figures: dict[str, Any] = {}
    if states:
        mean = mean_figures([msgspec.to_builtins(result) for result in states])
        worst = min(states, key=lambda result: result.balanced_accuracy)
        figures |= {
            "balanced_accuracy": mean["balanced_accuracy"],
            "worst_balanced_accuracy": worst.balanced_accuracy,
            "worst_set": worst.name,
            "auroc": mean.get("open_set", {}).get("auroc"),
            "unknown_recall": mean.get("open_set", {}).get("unknown_recall"),
        }
    if events:
        mean = mean_figures([msgspec.to_builtins(result) for result in events])
        figures |= {
            name: mean.get(name)
            for name in (
                "delay_frames",
                "false_per_1000",
                "unknown_share",
                "false_unknown_per_1000",
            )
        }
        figures["unknown_events"] = mean.get("unknown_recall")
    changing = [result for result in events if result.true_changes > 1]
    still = [result for result in events if result.true_changes <= 1]
    if changing:
        hardest = min(changing, key=lambda result: result.f1)
        figures["f1"] = sum(result.f1 for result in changing) / len(changing)
        figures |= {"worst_f1": hardest.f1, "worst_clip": hardest.name}
    if still:
        figures["false_in_still_clips"] = sum(result.false_events for result in still)
    return Summary(**figures)


def _played(
    method: Method, clip: EmbeddedSet, protocol: Protocol, beside: EmbeddedSet | None
) -> EventsResult:
    if beside is not None or len(clip.states) == 1:
        protocol = replace(protocol, references=CLIP_REFERENCES)
    plans = plans_for(clip, protocol, beside=beside)
    results = [_with_recall(method, clip, rows, own) for own, rows in plans]
    check_judged(clip, results)
    return mean_result(results)


def _with_recall(
    method: Method, clip: EmbeddedSet, rows: Sequence[int], gallery: Gallery
) -> EventsResult:
    """Return the figures of a clip, with those of states left out where the method names any."""
    result = judge(clip, method.play(clip, rows, gallery))
    if result.unknown_share is None or isinstance(method, AlarmMethod):
        return result
    recall = unknown_recall_of(clip, rows, gallery, lambda kept: method.play(clip, rows, kept))
    return msgspec.structs.replace(result, unknown_recall=recall)


def _beside(clip: EmbeddedSet, sets: Sequence[EmbeddedSet]) -> EmbeddedSet | None:
    """Return the set of the same view to take references from: dated, with the same states."""
    if not clip.is_dated or len(clip.states) < 2 or any(clip is embedded for embedded in sets):
        return None
    same = (embedded for embedded in sets if embedded.is_dated and embedded.states == clip.states)
    return next(same, None)
