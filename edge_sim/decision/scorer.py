"""Scorer of one gallery: similarity to the references of each state, and state probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import (
    FloatMatrix,
    FloatVector,
    Match,
    Probe,
    Reference,
    Score,
    StateScore,
)
from edge_sim.decision.envelope import plane_of
from edge_sim.decision.features import (
    LAYOUT,
    WEIGHTS,
    features_of,
    shared_features,
    stacked_features,
)
from edge_sim.decision.novelty import VIEWS as NOVELTY_VIEWS
from edge_sim.decision.novelty import fit_novelty
from edge_sim.decision.ridge import Labels, Ridge, StackedRidges, fit_ridge
from edge_sim.decision.subspace import Subspace, fit_span
from edge_sim.errors import ModelError
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.light import condition_of

TRUST_PER_REFERENCE = 0.25
"""Rate at which leave-one-out errors move the weights of the views away from their prior."""
INVERSE_TEMPERATURE = 7.0
"""Inverse temperature before any evidence."""
_INVERSE_TEMPERATURES = np.geomspace(1.5, 24.0, 33)
_TEMPERATURE_DEVIATION = 0.5  # of the natural logarithm, around `INVERSE_TEMPERATURE`


def feature_weights(
    left_out: Mapping[str, FloatMatrix],
    labels: NDArray[np.intp],
    judged: NDArray[np.bool_],
    prior: Mapping[str, float],
) -> dict[str, float]:
    """Return the weight of each view, summing to 1.

    `prior * exp(-c n e)`: e is the mean squared leave-one-out error of the view over the n judged
    references, those whose state has others. With few references the prior holds.
    """
    number = int(judged.sum())
    if number == 0:
        return dict(prior)
    targets = np.eye(next(iter(left_out.values())).shape[1])[labels]
    errors = {
        name: float(np.square(values - targets)[judged].sum(axis=1).mean())
        for name, values in left_out.items()
    }
    best = min(errors.values())
    # Beyond some twenty references the errors are no longer independent pictures of the scene.
    strength = TRUST_PER_REFERENCE * min(number, 20)
    raw = {name: prior[name] * np.exp(-strength * (errors[name] - best)) for name in errors}
    total = sum(raw.values())
    return {name: float(value / total) for name, value in raw.items()}


def fit_inverse_temperature(
    left_out: FloatMatrix, labels: NDArray[np.intp], judged: NDArray[np.bool_]
) -> float:
    """Return the inverse temperature under which the left-out references are most probable.

    Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, ICML 2017), with a
    log-normal prior, since a handful of references says little about rare errors.
    """
    prior = -0.5 * np.square(
        np.log(_INVERSE_TEMPERATURES / INVERSE_TEMPERATURE) / _TEMPERATURE_DEVIATION
    )
    rows = np.flatnonzero(judged)
    likelihood = np.array(
        [
            np.log(
                probabilities(left_out[rows], inverse_temperature)[
                    np.arange(len(rows)), labels[rows]
                ]
                + 1e-6
            ).sum()
            for inverse_temperature in _INVERSE_TEMPERATURES
        ]
    )
    return float(_INVERSE_TEMPERATURES[int(np.argmax(prior + likelihood))])


def softmax(values: FloatVector, inverse_temperature: float) -> list[float]:
    """Return `probabilities` of (S,) values: for the few states of a gallery a list is quicker."""
    scaled = [inverse_temperature * value for value in values.tolist()]
    most = max(scaled)
    raised = [math.exp(value - most) for value in scaled]
    total = sum(raised)
    return [value / total for value in raised]


def probabilities(values: NDArray[np.float32], inverse_temperature: float) -> FloatVector:
    """Return the softmax of (..., S) scaled values; sums to 1 along the last axis."""
    scaled = inverse_temperature * np.asarray(values, np.float64)
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float64)


MODELLED_REFERENCES = 400
"""References that the regression and the spans are fitted on; the nearest one is sought in all."""
_LEAVE_ONE_OUT_ROWS = 256
_FEATURE_ROWS = 1024
MANY_REFERENCES = 2000
"""References above which `edge-sim check` warns of the memory at the start."""
_FIT_BYTES = 24 * 2**20
"""Memory of a fit, whatever the number of references."""
_OBJECT_BYTES = 4200
"""Memory of a reference besides its arrays.

Both from the peak of a process (`getrusage`) that reads and fits 400 to 5,000 references, less its
size before: 34 MiB and 26.9 KiB for each further one with the default model, 27 and 21.8 with the
model `thumbnail`. The estimate is within 4 % of the peaks from 2,000 on.
"""
MOST_LEFT_OUT = 1000
"""References that thresholds and baselines of a watch are measured on: all against all would take
time with the square of their number (on 5,000 references 5 s, on 20,000 more than a minute)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Likeness:
    """One probe against every state, S values each; few enough that lists are quicker than arrays.

    Args:
        nearest: Row of the reference most like it; -1 where the state has no other.
        residual: Part of the probe that the references of the state do not explain, 0 to 1.
        novelty: Novelty to each state; None where it was not computed.
    """

    nearest: list[int]
    residual: list[float]
    novelty: list[float | None]


class GalleryScorer:
    """Compares probes with the references of one gallery.

    Which state: one closed-form ridge regression per view of `evidence`, their outputs added with
    weights that follow the leave-one-out errors, sharpened to probabilities. In a condition in
    which all states have references, a picture is compared with the middle of those alone.
    How familiar: `combined` is the part of the probe that the references of the state explain
    (`familiarity`), 1 for a picture of the gallery. The cosine is that of the global embeddings.
    Structural similarity decides nothing and is left out: `structural.with_structure` adds it.

    Args:
        gallery: The references; a new scorer is made when they change. It is not kept.
        weights: Trust in each view before the gallery is seen; views left out are not used.
        most_left_out: Greatest number of references that `leave_one_out` matches, spread evenly;
            None for all.
    """

    def __init__(
        self,
        gallery: Gallery,
        *,
        weights: Mapping[str, float] = WEIGHTS,
        most_left_out: int | None = None,
    ) -> None:
        self._most_left_out = most_left_out
        self._model_id = gallery.model_id
        self._names = gallery.states
        self._ids = [item.reference_id for item in gallery.references]
        self._conditions = [item.condition for item in gallery.references]
        self._vectors, self._state_rows = gallery.matrix, gallery.state_rows
        if not self._ids:
            return
        names = [
            name for name in shared_features(gallery.references) if weights.get(name, 0.0) > 0.0
        ]
        total = sum(weights[name] for name in names)
        self._weights = {name: weights[name] / total for name in names}
        self._modelled = _modelled(gallery)
        stacked = stacked_features([gallery.references[row] for row in self._modelled])
        views = {name: stacked[name] for name in names}
        self._stretch = np.concatenate(
            [
                np.full(rows.shape[1], np.sqrt(self._weights[name]), np.float32)
                for name, rows in views.items()
            ]
        )
        self._widths = {name: rows.shape[1] for name, rows in views.items()}
        self._rows = self._stretched(gallery.references)
        self._fit(views, _cells_of(gallery))
        self._fit_novelty(views, gallery)

    def _stretched(self, references: Sequence[Reference]) -> FloatMatrix:
        """Return the weighted features of all references, made in pieces: one matrix is held."""
        rows = np.empty((len(references), len(self._stretch)), np.float32)
        for start in range(0, len(rows), _FEATURE_ROWS):
            part = slice(start, start + _FEATURE_ROWS)
            stacked = stacked_features(references[part])
            rows[part] = _joined({name: stacked[name] for name in self._weights}) * self._stretch
        return rows

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:
        """Return the states of the gallery for `probe`, the most probable first.

        Args:
            probe: Region of one frame.
            condition: Light regime as the monitor reports it; None judges the picture by itself.
        """
        if not self._ids:
            return None
        check_model(probe, self._model_id)
        views = features_of(probe)
        joined = np.concatenate([views[name] for name in self._weights])
        cosines = self._rows @ (joined * self._stretch)
        likeness = self._likeness(cosines, self._residual(cosines))
        odds = softmax(
            self._states_of(joined, condition or condition_of(probe.quality)),
            self._inverse_temperature,
        )
        best = odds.index(max(odds))
        alone = {name: views[name][None] for name in self._novelty_views}
        planes = None
        if self._novelties[best].envelope is not None:
            planes = plane_of(probe.thumbnail)[None]
        likeness.novelty[best] = float(self._novelties[best].of(alone, planes)[0])
        return self._match(probe.embedding.vector, likeness, odds)

    def leave_one_out(self) -> tuple[Match | None, ...]:
        """Return, per reference in gallery order, its match against all the others.

        None for those beyond `most_left_out`.
        """
        matches: list[Match | None] = [None] * len(self._ids)
        if len(self._ids) < 2:
            return tuple(matches)
        picked = _evenly(np.arange(len(self._ids)), self._most_left_out or len(self._ids))
        for start in range(0, len(picked), _LEAVE_ONE_OUT_ROWS):
            numbers = picked[start : start + _LEAVE_ONE_OUT_ROWS]
            rows = self._rows[numbers]
            lines = zip(rows @ self._rows.T, self._left_out_novelty(numbers), strict=True)
            for row, (line, novelty) in zip(numbers.tolist(), lines, strict=True):
                matches[row] = self._left_out(row, line, novelty)
        return tuple(matches)

    def _fit_novelty(self, views: Mapping[str, FloatMatrix], gallery: Gallery) -> None:
        wanted = tuple(name for name in NOVELTY_VIEWS if name in views)
        self._novelty_views = wanted or tuple(views)
        self._alone_novelty = np.full(len(self._modelled), np.nan, np.float32)
        self._novelties = []
        planes = None
        if len(self._names) == 1:
            # Beside other states an envelope tells a part from noise no better than the cells do.
            thumbnails = (gallery.references[row].thumbnail for row in self._modelled)
            planes = np.stack([plane_of(thumbnail) for thumbnail in thumbnails])
        for part in self._member_parts:
            places = self._place[self._members[part]]
            own = {name: views[name][places] for name in self._novelty_views}
            novelty = fit_novelty(own, _cells_of(gallery), planes)
            self._novelties.append(novelty)
            if len(places) > 1:
                self._alone_novelty[places] = novelty.left_out

    def _fit(self, views: Mapping[str, FloatMatrix], cells: int) -> None:
        picked = self._modelled
        labels = self._state_rows[picked]
        states = len(self._names)
        self._counts = np.bincount(self._state_rows, minlength=states)
        self._by_state, self._parts = _grouped(self._state_rows, states)
        within, self._member_parts = _grouped(labels, states)
        self._members = picked[within]
        members = [self._members[part] for part in self._member_parts]
        self._spans: list[Subspace] = [fit_span(self._rows[rows]) for rows in members]
        self._alone = np.full(len(self._ids), -1.0, np.float32)
        for span, own in zip(self._spans, members, strict=True):
            self._alone[own] = span.left_out
        counts = np.bincount(labels, minlength=states)
        self._place = np.full(len(self._ids), -1, np.intp)
        self._place[picked] = np.arange(len(picked))
        self._ridges: StackedRidges | None = None
        self._inverse_temperature = 1.0
        if states < 2:
            return
        known = Labels(labels, np.array(self._conditions)[picked], states)
        ridges: dict[str, Ridge] = {}
        for name, rows in views.items():
            blocks = cells if name == LAYOUT else 1
            ridges[name] = fit_ridge(rows, known, blocks=blocks)
        left_out = {name: ridge.left_out for name, ridge in ridges.items()}
        judged = counts[labels] > 1
        trust = feature_weights(left_out, labels, judged, self._weights)
        self._ridges = StackedRidges([(ridges[name], trust[name]) for name in views])
        self._own = np.zeros((len(picked), states), np.float32)
        for name, weight in trust.items():
            self._own += np.float32(weight) * left_out[name]
        self._inverse_temperature = fit_inverse_temperature(self._own, labels, judged)

    def _states_of(self, joined: FloatVector, condition: str) -> FloatVector:
        if self._ridges is None:
            return np.zeros(len(self._names), np.float32)
        return self._ridges.predict(joined, condition)

    def _residual(self, cosines: FloatVector) -> list[float]:
        """Return the residual of each state, from (N,) cosines."""
        own = cosines[self._members]
        pairs = zip(self._spans, self._member_parts, strict=True)
        return [span.residual(own[part]) for span, part in pairs]

    def _likeness(self, cosines: FloatVector, residual: Sequence[float]) -> _Likeness:
        own = cosines[self._by_state]
        best = [part.start + int(own[part].argmax()) for part in self._parts]
        # The nearest reference without noise: a picture of the gallery itself is fully familiar.
        alone = [1.0 - min(max(cosine, 0.0), 1.0) ** 2 for cosine in own[best].tolist()]
        novelty: list[float | None] = [None] * len(best)
        return _Likeness(self._by_state[best].tolist(), list(map(min, residual, alone)), novelty)

    def _left_out_novelty(self, numbers: NDArray[np.intp]) -> FloatMatrix:
        """Return (M, S) novelty of M references; to its own state each is left out.

        Not a number where a reference has no other of its state.
        """
        rows = self._rows[numbers] / self._stretch
        ends = np.cumsum(list(self._widths.values()))[:-1]
        views = dict(zip(self._widths, np.split(rows, ends, axis=1), strict=True))
        table = np.stack([novelty.of(views) for novelty in self._novelties], axis=1)
        within, place = np.arange(len(numbers)), self._place[numbers]
        own = self._state_rows[numbers]
        # Planes of references that are not modelled are not kept.
        rest = table[within, own] if self._novelties[0].envelope is None else np.nan
        alone = np.where(place >= 0, self._alone_novelty[place], rest)
        table[within, own] = alone
        return np.asarray(table, np.float32)

    def _left_out(self, row: int, cosines: FloatVector, novelty: FloatVector) -> Match | None:
        """Return the match of reference `row` against the others; `cosines` is overwritten."""
        own = int(self._state_rows[row])
        residual = self._residual(cosines)
        if self._alone[row] >= 0.0:
            residual[own] = float(self._alone[row])
        cosines[row] = -np.inf
        likeness = self._likeness(cosines, residual)
        likeness.novelty[:] = [None if np.isnan(value) else value for value in novelty.tolist()]
        place = int(self._place[row])
        if place >= 0 and self._ridges is not None:
            values = self._own[place]
        else:
            joined = self._rows[row] / self._stretch
            values = self._states_of(joined, self._conditions[row])
        odds = softmax(values, self._inverse_temperature)
        if self._counts[own] == 1:  # without it the gallery does not have its state
            likeness.nearest[own] = -1
            rest = sum(odds) - odds[own]
            odds = [0.0 if state == own else value / rest for state, value in enumerate(odds)]
        return self._match(self._vectors[row], likeness, odds)

    def _match(self, vector: FloatVector, likeness: _Likeness, odds: Sequence[float]) -> Match:
        states = []
        for state in sorted(range(len(odds)), key=odds.__getitem__, reverse=True):
            if likeness.nearest[state] < 0:
                continue
            nearest = likeness.nearest[state]
            cosine = float(vector @ self._vectors[nearest])
            score = Score(
                min(max(cosine, -1.0), 1.0),
                None,
                1.0 - likeness.residual[state],
                likeness.novelty[state],
            )
            states.append(StateScore(self._names[state], self._ids[nearest], score, odds[state]))
        return Match(tuple(states))


def size_warning(gallery: Gallery) -> str | None:
    """Return a warning if a device needs much memory to start with this gallery; else None."""
    if len(gallery) <= MANY_REFERENCES:
        return None
    first = gallery.references[0]
    cells, vector = first.embedding.spatial, first.embedding.vector
    # The vector is kept in the reference and in the matrix of the gallery.
    each = first.thumbnail.nbytes + 2 * vector.nbytes + (0 if cells is None else cells.nbytes)
    each += sum(item.nbytes for item in features_of(first).values()) + _OBJECT_BYTES
    memory = (_FIT_BYTES + len(gallery) * each) / 2**20
    return (
        f"{len(gallery)} references take {memory:.0f} MiB while it starts, "
        f"and {MODELLED_REFERENCES} of them are modelled: keep fewer with "
        f"`edge-sim gallery prune --keep {MANY_REFERENCES}`"
    )


def check_model(probe: Probe, model_id: str | None) -> None:
    """Check that the probe can be compared with references of `model_id`.

    Raises:
        ModelError: They were made with different models.
    """
    if probe.embedding.model_id != model_id:
        raise ModelError(
            f"the probe was embedded with {probe.embedding.model_id} and the gallery with "
            f"{model_id}; run `edge-sim gallery reembed`"
        )


def _cells_of(gallery: Gallery) -> int:
    """Return how many blocks of equal length the layout has."""
    cells = gallery.references[0].embedding.spatial
    return 1 if cells is None else cells.shape[0] * cells.shape[1]


def _grouped(states: NDArray[np.intp], number: int) -> tuple[NDArray[np.intp], list[slice]]:
    """Return the rows state after state, each in the order given, and where each state lies."""
    ends = np.cumsum(np.bincount(states, minlength=number)).tolist()
    parts = [slice(start, end) for start, end in pairwise([0, *ends])]
    return np.argsort(states, kind="stable"), parts


def _joined(views: Mapping[str, FloatMatrix]) -> FloatMatrix:
    """Return the views side by side: (N, D) float32."""
    return np.ascontiguousarray(np.concatenate(list(views.values()), axis=-1))


def _modelled(gallery: Gallery) -> NDArray[np.intp]:
    """Return the rows to fit on: all, or as many of each state as keep the fit quick.

    Thinned evenly in the order of enrolment, which keeps seasons and hours.
    """
    share = max(MODELLED_REFERENCES // len(gallery.states), 4)
    picked = []
    for state in range(len(gallery.states)):
        rows = np.flatnonzero(gallery.state_rows == state)
        picked.append(_evenly(rows, share))
    return np.concatenate(picked)


def _evenly(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Return all rows, or `most` of them spread evenly."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]
