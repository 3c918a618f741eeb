"""Evaluation frame by frame: a few references drawn at random, every other frame classified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.metrics import (
    SURE,
    auroc,
    balanced_accuracy,
    calibration_error,
    confusion,
    recall_at_false_rate,
)
from edge_sim.core.files import printable
from edge_sim.core.protocols import Scorer
from edge_sim.core.types import Match, StateScore
from edge_sim.decision.thresholds import Drift, levels_of, threshold_of
from edge_sim.errors import DataError
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.light import CONDITIONS

MakeScorer = Callable[[Gallery], Scorer]
UnknownTest = Callable[[Gallery, Scorer], Callable[[StateScore], bool]]
"""(gallery, its scorer) -> whether a picture with this most probable state is unknown."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """Protocol of an evaluation.

    Args:
        references: References of each state; a state with fewer frames keeps one to classify.
        draws: Galleries drawn; the figures are means over them.
        seed: Seed of the first draw; the others follow.
        open_set: Whether each state in turn is also left out of the gallery.
    """

    references: int = 5
    draws: int = 6
    seed: int = 0
    open_set: bool = True


class OpenSet(msgspec.Struct, frozen=True):
    """Recognition of frames whose state is not in the gallery.

    Args:
        auroc: AUROC of `combined` of the most probable state; 0.5 is chance.
        unknown_recall: Part found at a level that calls 5 % of the known frames unknown.
        found: Part called unknown at the levels of the decider, frame by frame.
        false_unknown: Part of the known frames called unknown at these levels.
    """

    auroc: float
    unknown_recall: float
    found: float
    false_unknown: float


class ConditionAccuracy(msgspec.Struct, frozen=True):
    """A state in one light.

    Args:
        frames: Clean frames of the set.
        accuracy: Part of the answers that are right; None if there are none.
    """

    frames: int
    accuracy: float | None


class WrongPicture(msgspec.Struct, frozen=True):
    """Picture that was called another state in some draws.

    Args:
        file: Its file, or its row in the set where there is none.
        state: True state.
        reported: State that it was called -> number of draws.
        draws: Number of draws in which it was asked for.
    """

    file: str
    state: str
    reported: dict[str, int]
    draws: int

    @property
    def share(self) -> float:
        """Part of the draws in which it was wrong, 0 to 1."""
        return sum(self.reported.values()) / self.draws


class StatesResult(msgspec.Struct, frozen=True):
    """Figures of one set; means over the draws.

    Args:
        name: Name of the set.
        frames: Frames that show a state cleanly.
        states: Names of the states, sorted.
        balanced_accuracy: Mean over the states of the part that is right.
        deviation: Standard deviation of it over the draws.
        calibration_error: Expected calibration error of the probability.
        sure_share: Part of the answers with a probability of 0.9 and more.
        sure_accuracy: Part of these that is right; None if there is none.
        open_set: Figures of unknown states; None where the protocol has none.
        confusion: True state -> reported state -> frames, over all draws.
        conditions: State -> light regime -> frames and accuracy.
        wrong: Pictures that were called another state, those that were so most often first.
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
    wrong: tuple[WrongPicture, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StateAnswers:
    """All answers on one set, for plots; rows over all draws."""

    result: StatesResult
    probability: NDArray[Any]
    right: NDArray[Any]
    familiar: NDArray[Any]
    novel: NDArray[Any]


def learned_test(gallery: Gallery, scorer: Scorer) -> Callable[[StateScore], bool]:
    """Return the test of one picture with the levels that the decider starts with."""
    levels = levels_of(gallery, scorer.leave_one_out())
    leave = {state: threshold_of(level, Drift(), 0.5).leave for state, level in levels.items()}

    def is_unknown(best: StateScore) -> bool:
        novel, novelty = levels[best.state].novel, best.score.novelty
        is_novel = novel is not None and novelty is not None and novel.excess(novelty) > 1.0
        return is_novel or best.score.combined < leave[best.state]

    return is_unknown


def evaluate_states(
    embedded: EmbeddedSet,
    make_scorer: MakeScorer,
    protocol: Protocol,
    *,
    unknown_test: UnknownTest = learned_test,
) -> StateAnswers:
    """Return figures and answers of the protocol on one set.

    Args:
        embedded: The set.
        make_scorer: Function from a gallery to its scorer.
        protocol: Draws of the references.
        unknown_test: Function from a gallery and its scorer to the test of one picture.

    Raises:
        DataError: A state has a single frame, or there is only one state.
    """
    if len(embedded.states) < 2:
        raise DataError(f"{embedded.name}: needs at least two states, has {len(embedded.states)}")
    truth: list[str] = []
    reported: list[str] = []
    rows: list[int] = []
    sure: list[float] = []
    rates: list[float] = []
    unknowns = _Unknowns()
    for picked, asked in draws(embedded, protocol):
        scorer = make_scorer(embedded.gallery(picked))
        matches = [_match(scorer, embedded, row) for row in asked]
        true = [str(embedded.labels[row]) for row in asked]
        answers = [match.best.state for match in matches]
        rates.append(balanced_accuracy(confusion(true, answers)))
        truth += true
        reported += answers
        rows += asked
        sure += [match.best.probability for match in matches]
        if protocol.open_set:
            _leave_states_out(embedded, (make_scorer, unknown_test), (picked, asked), unknowns)
    right = np.array([a == b for a, b in zip(truth, reported, strict=True)])
    probability = np.array(sure)
    confident = probability >= SURE
    result = StatesResult(
        name=embedded.name,
        frames=len(embedded.clean_rows),
        states=embedded.states,
        balanced_accuracy=float(np.mean(rates)),
        deviation=float(np.std(rates)),
        calibration_error=calibration_error(probability, right),
        sure_share=float(np.mean(confident)),
        sure_accuracy=float(np.mean(right[confident])) if confident.any() else None,
        open_set=unknowns.summary() if protocol.open_set else None,
        confusion=confusion(truth, reported),
        conditions=_by_condition(embedded, rows, right),
        wrong=_wrong_pictures(embedded, rows, reported),
    )
    familiar, novel = unknowns.pooled()
    return StateAnswers(result, probability, right, familiar, novel)


def _wrong_pictures(
    embedded: EmbeddedSet, rows: Sequence[int], reported: Sequence[str]
) -> tuple[WrongPicture, ...]:
    asked = Counter(rows)
    called: dict[int, Counter[str]] = {}
    for row, state in zip(rows, reported, strict=True):
        if state != embedded.labels[row]:
            called.setdefault(row, Counter())[state] += 1
    found = [
        WrongPicture(
            file=printable(embedded.paths[row]) if embedded.paths else f"row {row}",
            state=str(embedded.labels[row]),
            reported=dict(counts.most_common()),
            draws=asked[row],
        )
        for row, counts in called.items()
    ]
    return tuple(sorted(found, key=lambda item: (-item.share, item.file)))


def draws(
    embedded: EmbeddedSet, protocol: Protocol
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield (rows of the gallery, rows to classify) of each draw.

    Raises:
        DataError: A state has a single frame.
    """
    for draw in range(protocol.draws):
        rng = np.random.default_rng(protocol.seed + draw)
        picked: list[int] = []
        for state in embedded.states:
            rows = embedded.rows_of(state)
            if len(rows) < 2:
                raise DataError(f"{embedded.name}: the state {state!r} has a single frame")
            number = min(protocol.references, len(rows) - 1)
            picked += sorted(int(row) for row in rng.choice(rows, number, replace=False))
        kept = set(picked)
        yield tuple(picked), tuple(row for row in embedded.clean_rows if row not in kept)


@dataclass(slots=True, eq=False)
class _Unknowns:
    """Figures gathered over draws and states left out."""

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
    embedded: EmbeddedSet, rows: Sequence[int], right: NDArray[Any]
) -> dict[str, dict[str, ConditionAccuracy]]:
    """Return state -> light -> cell; `right` marks the answers to `rows` that are."""
    answers: dict[tuple[str, str], list[bool]] = {}
    for row, is_right in zip(rows, right, strict=True):
        answers.setdefault((str(embedded.labels[row]), embedded.condition(row)), []).append(
            bool(is_right)
        )
    table: dict[str, dict[str, ConditionAccuracy]] = {}
    for state in embedded.states:
        lights = [embedded.condition(row) for row in embedded.rows_of(state)]
        table[state] = {}
        for light in (name for name in CONDITIONS if name in lights):
            given = answers.get((state, light))
            accuracy = float(np.mean(given)) if given else None
            table[state][light] = ConditionAccuracy(lights.count(light), accuracy)
    return table


def _leave_states_out(
    embedded: EmbeddedSet,
    made_by: tuple[MakeScorer, UnknownTest],
    rows: tuple[Sequence[int], Sequence[int]],
    into: _Unknowns,
) -> None:
    picked, asked = rows
    make_scorer, unknown_test = made_by
    for left_out in embedded.states:
        gallery = embedded.gallery(row for row in picked if embedded.labels[row] != left_out)
        scorer = make_scorer(gallery)
        is_unknown = unknown_test(gallery, scorer)
        best = [_match(scorer, embedded, row).best for row in asked]
        combined = np.array([item.score.combined for item in best])
        unknown = np.array([is_unknown(item) for item in best])
        is_novel = np.array([embedded.labels[row] == left_out for row in asked])
        familiar, novel = combined[~is_novel], combined[is_novel]
        into.auroc.append(auroc(familiar, novel))
        into.recall.append(recall_at_false_rate(familiar, novel))
        into.found.append(float(np.mean(unknown[is_novel])))
        into.false.append(float(np.mean(unknown[~is_novel])))
        into.familiar.append(familiar)
        into.novel.append(novel)


def _match(scorer: Scorer, embedded: EmbeddedSet, row: int) -> Match:
    match = scorer.best_match(embedded.probes[row])
    if match is None:
        raise DataError(f"{embedded.name}: the gallery is empty")
    return match


DAY_S = 86400.0
CLIP_REFERENCES = 8
"""References per state for a clip that is played with references from before or beside it."""

Plan = tuple[Gallery, Sequence[int]]
"""A gallery and the rows that are played with it."""


def plans_for(
    clip: EmbeddedSet, protocol: Protocol, *, beside: EmbeddedSet | None = None
) -> list[Plan]:
    """Return the galleries with which a clip is played, and the rows.

    With references from `beside`; or, for a clip of one state, from its own beginning; else with
    references drawn from the clip itself, the rest of which is played, once for each draw.

    Args:
        clip: Clip to play.
        protocol: Number of references and draws, and seed.
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


def first_rows(embedded: EmbeddedSet, number: int) -> tuple[int, ...]:
    """Return rows of a clip of one state: over the first day if it is dated, else the first ones.

    Raises:
        DataError: The clip has not more frames than that.
    """
    rows = embedded.clean_rows
    if len(rows) <= number:
        raise DataError(
            f"{embedded.name}: {len(rows)} frames, needs more than {number} to take so many "
            "references; ask for fewer with --references"
        )
    if not embedded.is_dated:
        return rows[:number]
    start_s = embedded.probes[rows[0]].unix_time_s
    day = [row for row in rows if embedded.probes[row].unix_time_s < start_s + DAY_S]
    return spread(embedded, day, number)


def spread(embedded: EmbeddedSet, rows: Sequence[int], number: int) -> tuple[int, ...]:
    """Return `number` of the rows, or all if there are fewer, evenly spread over their time."""
    if len(rows) <= number:
        return tuple(rows)
    times = np.array([embedded.probes[row].unix_time_s for row in rows])
    expected = np.linspace(times[0], times[-1], number)
    picked = sorted({int(np.argmin(np.abs(times - moment))) for moment in expected})
    return tuple(rows[place] for place in picked)


def gallery_beside(clip: EmbeddedSet, other: EmbeddedSet, number: int) -> Gallery:
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
    other: EmbeddedSet, before: Sequence[int], after: Sequence[int], clip: EmbeddedSet
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
