"""Frame by frame: a few references drawn at random, every other frame asked for its state.

Which frames of a labelled set become references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.evaluation.datasets import SeenSet
from edge_sim.analysis.evaluation.metrics import (
    SURE,
    auroc,
    balanced_accuracy,
    calibration_error,
    confusion,
    recall_at_false_rate,
)
from edge_sim.core.protocols import Scorer
from edge_sim.core.types import Match
from edge_sim.decision.thresholds import Drift, levels_of, threshold_of
from edge_sim.errors import DataError
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.light import CONDITIONS

MakeScorer = Callable[[Gallery], Scorer]
LeaveLevels = Callable[[Gallery, Scorer], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the frames are drawn.

    Args:
        references: Of each state in the gallery; a state with fewer frames keeps one to ask for.
        draws: Galleries drawn; the figures are means over them.
        seed: Of the first draw; the others follow.
        open_set: Whether each state in turn is also left out of the gallery.
    """

    references: int = 5
    draws: int = 6
    seed: int = 0
    open_set: bool = True


class OpenSet(msgspec.Struct, frozen=True):
    """How well frames of a state that the gallery does not have are told from the others.

    Args:
        auroc: Of `combined` of the most probable state; 0.5 is chance.
        unknown_recall: Part found at a level that calls 5 % of the known frames unknown.
        found: Part below the leave level of the decider.
        false_unknown: Part of the known frames below it.
    """

    auroc: float
    unknown_recall: float
    found: float
    false_unknown: float


class ConditionAccuracy(msgspec.Struct, frozen=True):
    """A state in one light.

    Args:
        frames: Clean ones of the set.
        accuracy: Part of the answers that were right; None if none was asked for.
    """

    frames: int
    accuracy: float | None


class StatesResult(msgspec.Struct, frozen=True):
    """Figures of one set; means over the draws.

    Args:
        name: Of the set.
        frames: That show a state cleanly.
        states: Sorted.
        balanced_accuracy: Mean over the states of the part said rightly.
        deviation: Standard deviation of it over the draws.
        calibration_error: Expected calibration error of the probability said.
        sure_share: Part of the answers given with a probability of 0.9 and more.
        sure_accuracy: Part of these that is right; None if there is none.
        open_set: None where it was not asked for.
        confusion: True state -> said state -> frames, over all draws.
        conditions: State -> light regime -> frames and accuracy.
    """

    name: str
    frames: int
    states: tuple[str, ...]
    balanced_accuracy: float
    deviation: float
    calibration_error: float
    sure_share: float
    sure_accuracy: float | None
    open_set: OpenSet | None
    confusion: dict[str, dict[str, int]]
    conditions: dict[str, dict[str, ConditionAccuracy]]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Every answer on one set, for plots; rows over all draws."""

    result: StatesResult
    probability: NDArray[Any]
    right: NDArray[Any]
    familiar: NDArray[Any]
    novel: NDArray[Any]


def learned_levels(gallery: Gallery, scorer: Scorer) -> Mapping[str, float]:
    """Return the leave level of every state as the decider starts with it."""
    levels = levels_of(gallery, scorer.leave_one_out())
    return {state: threshold_of(level, Drift(), 0.5).leave for state, level in levels.items()}


def evaluate_states(
    seen: SeenSet,
    make_scorer: MakeScorer,
    protocol: Protocol,
    *,
    leave_levels: LeaveLevels = learned_levels,
) -> Answers:
    """Return figures and answers of the protocol on one set.

    Args:
        seen: The set.
        make_scorer: Of a gallery.
        protocol: How the frames are drawn.
        leave_levels: Of a gallery and its scorer: below, a frame is called unknown.

    Raises:
        DataError: A state has a single frame, or there is only one state.
    """
    if len(seen.states) < 2:
        raise DataError(f"{seen.name}: needs at least two states, has {len(seen.states)}")
    truth: list[str] = []
    said: list[str] = []
    rows: list[int] = []
    sure: list[float] = []
    rates: list[float] = []
    unknowns = _Unknowns()
    for picked, asked in draws(seen, protocol):
        scorer = make_scorer(seen.gallery(picked))
        matches = [_match(scorer, seen, row) for row in asked]
        true = [str(seen.labels[row]) for row in asked]
        answers = [match.best.state for match in matches]
        rates.append(balanced_accuracy(confusion(true, answers)))
        truth += true
        said += answers
        rows += asked
        sure += [match.best.probability for match in matches]
        if protocol.open_set:
            _leave_states_out(seen, (make_scorer, leave_levels), (picked, asked), unknowns)
    right = np.array([a == b for a, b in zip(truth, said, strict=True)])
    probability = np.array(sure)
    confident = probability >= SURE
    result = StatesResult(
        name=seen.name,
        frames=len(seen.clean_rows),
        states=seen.states,
        balanced_accuracy=float(np.mean(rates)),
        deviation=float(np.std(rates)),
        calibration_error=calibration_error(probability, right),
        sure_share=float(np.mean(confident)),
        sure_accuracy=float(np.mean(right[confident])) if confident.any() else None,
        open_set=unknowns.summary() if protocol.open_set else None,
        confusion=confusion(truth, said),
        conditions=_by_condition(seen, rows, right),
    )
    familiar, novel = unknowns.pooled()
    return Answers(result, probability, right, familiar, novel)


def draws(seen: SeenSet, protocol: Protocol) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield (rows of the gallery, rows to ask for) of each draw.

    Raises:
        DataError: A state has a single frame.
    """
    for draw in range(protocol.draws):
        rng = np.random.default_rng(protocol.seed + draw)
        picked: list[int] = []
        for state in seen.states:
            rows = seen.rows_of(state)
            if len(rows) < 2:
                raise DataError(f"{seen.name}: the state {state!r} has a single frame")
            number = min(protocol.references, len(rows) - 1)
            picked += sorted(int(row) for row in rng.choice(rows, number, replace=False))
        kept = set(picked)
        yield tuple(picked), tuple(row for row in seen.clean_rows if row not in kept)


@dataclass(slots=True, eq=False)
class _Unknowns:
    """Gathered over draws and states left out."""

    auroc: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    false: list[float] = field(default_factory=list)
    familiar: list[NDArray[Any]] = field(default_factory=list)
    novel: list[NDArray[Any]] = field(default_factory=list)

    def summary(self) -> OpenSet:
        return OpenSet(
            auroc=float(np.mean(self.auroc)),
            unknown_recall=float(np.mean(self.recall)),
            found=float(np.mean(self.found)),
            false_unknown=float(np.mean(self.false)),
        )

    def pooled(self) -> tuple[NDArray[Any], NDArray[Any]]:
        if not self.familiar:
            return np.zeros(0), np.zeros(0)
        return np.concatenate(self.familiar), np.concatenate(self.novel)


def _by_condition(
    seen: SeenSet, rows: Sequence[int], right: NDArray[Any]
) -> dict[str, dict[str, ConditionAccuracy]]:
    """Return state -> light -> cell; `right` says which answers, to `rows`, were."""
    answers: dict[tuple[str, str], list[bool]] = {}
    for row, is_right in zip(rows, right, strict=True):
        answers.setdefault((str(seen.labels[row]), seen.condition(row)), []).append(bool(is_right))
    table: dict[str, dict[str, ConditionAccuracy]] = {}
    for state in seen.states:
        lights = [seen.condition(row) for row in seen.rows_of(state)]
        table[state] = {}
        for light in (name for name in CONDITIONS if name in lights):
            given = answers.get((state, light))
            accuracy = float(np.mean(given)) if given else None
            table[state][light] = ConditionAccuracy(lights.count(light), accuracy)
    return table


def _leave_states_out(
    seen: SeenSet,
    made_by: tuple[MakeScorer, LeaveLevels],
    rows: tuple[Sequence[int], Sequence[int]],
    into: _Unknowns,
) -> None:
    picked, asked = rows
    make_scorer, leave_levels = made_by
    for left_out in seen.states:
        gallery = seen.gallery(row for row in picked if seen.labels[row] != left_out)
        scorer = make_scorer(gallery)
        leave = leave_levels(gallery, scorer)
        best = [_match(scorer, seen, row).best for row in asked]
        combined = np.array([item.score.combined for item in best])
        below = np.array([item.score.combined < leave[item.state] for item in best])
        is_novel = np.array([seen.labels[row] == left_out for row in asked])
        familiar, novel = combined[~is_novel], combined[is_novel]
        into.auroc.append(auroc(familiar, novel))
        into.recall.append(recall_at_false_rate(familiar, novel))
        into.found.append(float(np.mean(below[is_novel])))
        into.false.append(float(np.mean(below[~is_novel])))
        into.familiar.append(familiar)
        into.novel.append(novel)


def _match(scorer: Scorer, seen: SeenSet, row: int) -> Match:
    match = scorer.best_match(seen.probes[row])
    if match is None:
        raise DataError(f"{seen.name}: the gallery is empty")
    return match


DAY_S = 86400.0
CLIP_REFERENCES = 8
"""Per state, for a clip that is played with references from before or beside it."""

Plan = tuple[Gallery, Sequence[int]]
"""A gallery and the rows that are played with it."""


def plans_for(clip: SeenSet, protocol: Protocol, *, beside: SeenSet | None = None) -> list[Plan]:
    """Return how a clip is played.

    With references from `beside`; or, for a clip of one state, from its own beginning; else with
    references drawn from the clip itself, the rest of which is played, once for each draw.

    Args:
        clip: To be played.
        protocol: How many references, draws and which seed.
        beside: A set of the same view.

    Raises:
        DataError: The order of the frames is not known, or there are too few.
    """
    if not clip.is_ordered:
        raise DataError(f"{clip.name}: the order of its frames is not that of shooting")
    rows = range(len(clip.probes))
    if beside is not None:
        return [(gallery_beside(clip, beside, protocol.references), rows)]
    if len(clip.states) == 1:
        picked = set(first_rows(clip, protocol.references))
        return [(clip.gallery(sorted(picked)), [row for row in rows if row not in picked])]
    return [(clip.gallery(picked), asked) for picked, asked in draws(clip, protocol)]


def first_rows(seen: SeenSet, number: int) -> tuple[int, ...]:
    """Return rows of a clip of one state: over the first day if it is dated, else the first ones.

    Raises:
        DataError: The clip has not more frames than that.
    """
    rows = seen.clean_rows
    if len(rows) <= number:
        raise DataError(
            f"{seen.name}: {len(rows)} frames, needs more than {number} to take so many "
            "references; ask for fewer with --references"
        )
    if not seen.is_dated:
        return rows[:number]
    start_s = seen.probes[rows[0]].unix_time_s
    day = [row for row in rows if seen.probes[row].unix_time_s < start_s + DAY_S]
    return spread(seen, day, number)


def spread(seen: SeenSet, rows: Sequence[int], number: int) -> tuple[int, ...]:
    """Return `number` of the rows, or all if there are fewer, evenly spread over their time."""
    if len(rows) <= number:
        return tuple(rows)
    times = np.array([seen.probes[row].unix_time_s for row in rows])
    wanted = np.linspace(times[0], times[-1], number)
    picked = sorted({int(np.argmin(np.abs(times - moment))) for moment in wanted})
    return tuple(rows[place] for place in picked)


def gallery_beside(clip: SeenSet, other: SeenSet, number: int) -> Gallery:
    """Return references for a clip from another set of the same view.

    Of each state `number` frames, spread over the day of `other` that lies nearest before or
    after the clip.

    Raises:
        DataError: One of the sets is not dated, or a state has no frame outside the clip.
    """
    if not (clip.is_dated and other.is_dated):
        raise DataError(f"{clip.name}, {other.name}: both need dates to take references beside")
    times = [probe.unix_time_s for probe in clip.probes]
    picked: list[int] = []
    for state in other.states:
        rows = other.rows_of(state)
        before = [row for row in rows if other.probes[row].unix_time_s < min(times)]
        after = [row for row in rows if other.probes[row].unix_time_s > max(times)]
        if not before and not after:
            raise DataError(f"{other.name}: the state {state!r} has no frame outside the clip")
        picked += spread(other, _nearest_day(other, before, after, clip), number)
    return other.gallery(picked)


def _nearest_day(
    other: SeenSet, before: Sequence[int], after: Sequence[int], clip: SeenSet
) -> list[int]:
    def time_of(row: int) -> float:
        return other.probes[row].unix_time_s

    start_s, end_s = clip.probes[0].unix_time_s, clip.probes[-1].unix_time_s
    is_before = bool(before) and (
        not after or start_s - time_of(before[-1]) <= time_of(after[0]) - end_s
    )
    if is_before:
        return [row for row in before if time_of(row) > time_of(before[-1]) - DAY_S]
    return [row for row in after if time_of(row) < time_of(after[0]) + DAY_S]
