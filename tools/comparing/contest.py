"""Several methods on the same sets and clips, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from comparing.methods import DETECTORS, Method, method_of, missing_package
from edge_sim.analysis.evaluation.datasets import SeenSet, Track
from edge_sim.analysis.evaluation.events import EventsResult, check_asked, judge, mean_result
from edge_sim.analysis.evaluation.metrics import mean_figures
from edge_sim.analysis.evaluation.states import CLIP_REFERENCES, Protocol, StatesResult, plans_for

EMBEDDING_METHODS = ("gallery", "nearest-cosine", "softmax-head")
"""Those whose figures depend on the embedding model."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A method with its settings.

    Args:
        method: Its name.
        model: Name of the embedding model, as in the mapping of sets; None if it needs none.
        threshold: Instead of its usual fixed one.
    """

    method: str
    model: str | None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """What methods are measured on.

    Args:
        sets: Labelled sets, as one embedding model sees them.
        clips: That are only played.
        protocol: How references are drawn.
    """

    sets: Sequence[SeenSet]
    clips: Sequence[SeenSet]
    protocol: Protocol


class Summary(msgspec.Struct, frozen=True):
    """Figures of one method over all sets; None where it was not measured.

    Args:
        balanced_accuracy: Mean over the sets.
        worst_balanced_accuracy: The lowest.
        worst_set: That has it.
        auroc: Mean over the sets, open set.
        unknown_recall: Likewise, at 5 % false unknown.
        f1: Of events, mean over the clips with a change.
        worst_f1: The lowest.
        worst_clip: That has it.
        delay_frames: Mean over the clips.
        false_per_1000: False events for 1000 frames, mean over all clips.
        false_in_still_clips: Sum over the clips without a change.
        unknown_share: Of the frames, mean over all clips.
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


class Standing(msgspec.Struct, frozen=True):
    """What one entrant reached.

    Args:
        method: Its name.
        model: As entered.
        threshold: As entered.
        skipped: Why it was not measured; None if it was.
        summary: Over all sets.
        states: Of each set; None for a method that names no states.
        events: Of each clip, and of each set whose order is known.
    """

    method: str
    model: str | None
    threshold: float | None
    skipped: str | None
    summary: Summary
    states: tuple[StatesResult, ...] | None = None
    events: tuple[EventsResult, ...] | None = None


def entrants(names: Sequence[str], models: Sequence[str]) -> tuple[Entrant, ...]:
    """Return every method with every model that matters to it, in the order of the names."""
    found: list[Entrant] = []
    for name in names:
        if name in EMBEDDING_METHODS:
            found += [Entrant(name, model) for model in models]
        else:
            found.append(Entrant(name, None))
    return tuple(found)


def compete(
    entrant: Entrant,
    sets: Mapping[str, Sequence[SeenSet]],
    clips: Mapping[str, Sequence[SeenSet]],
    protocol: Protocol,
    *,
    track: Track[SeenSet],
) -> Standing:
    """Return what one entrant reaches on all sets and clips.

    Args:
        entrant: To be measured.
        sets: Model -> labelled sets as it sees them; at least one model.
        clips: Model -> clips that are only played.
        protocol: How references are drawn.
        track: Goes over the sets and shows how far it is.

    Raises:
        DataError: A set cannot be evaluated.
    """
    package = missing_package(entrant.method)
    if package is not None:
        reason = f"{package} is not installed; run `pip install 'edge_sim[bench]'`"
        return Standing(entrant.method, entrant.model, entrant.threshold, reason, Summary())
    method = method_of(entrant.method, threshold=entrant.threshold)
    model = entrant.model or next(iter(sets))
    label = entrant.method if entrant.model is None else f"{entrant.method}, {entrant.model}"
    field = Field(sets[model], clips.get(model, ()), protocol)
    if entrant.method in DETECTORS:
        field = replace(field, protocol=replace(protocol, draws=1))  # it takes no references
        states = None
    else:
        states = states_on(field, method, track=track, label=label)
    events = events_on(field, method, track=track, label=label)
    summary = summarised(states or (), events)
    return Standing(entrant.method, entrant.model, entrant.threshold, None, summary, states, events)


def states_on(
    field: Field, method: Method, *, track: Track[SeenSet], label: str
) -> tuple[StatesResult, ...]:
    """Return what a method reaches frame by frame, on every set of more than one state."""
    several = [seen for seen in field.sets if len(seen.states) > 1]
    shown = track(several, f"{label}: states")
    return tuple(method.states(seen, field.protocol).result for seen in shown)


def events_on(
    field: Field, method: Method, *, track: Track[SeenSet], label: str
) -> tuple[EventsResult, ...]:
    """Return what a method reports, on every clip and every set whose order is known."""
    ordered = [seen for seen in (*field.sets, *field.clips) if seen.is_ordered]
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
            name: mean.get(name) for name in ("delay_frames", "false_per_1000", "unknown_share")
        }
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
    method: Method, clip: SeenSet, protocol: Protocol, beside: SeenSet | None
) -> EventsResult:
    if beside is not None or len(clip.states) == 1:
        protocol = replace(protocol, references=CLIP_REFERENCES)
    plans = plans_for(clip, protocol, beside=beside)
    results = [judge(clip, method.play(clip, rows, own)) for own, rows in plans]
    check_asked(clip, results)
    return mean_result(results)


def _beside(clip: SeenSet, sets: Sequence[SeenSet]) -> SeenSet | None:
    """Return the set of the same view to take references from: dated, with the same states."""
    if not clip.is_dated or len(clip.states) < 2 or any(clip is seen for seen in sets):
        return None
    same = (seen for seen in sets if seen.is_dated and seen.states == clip.states)
    return next(same, None)
