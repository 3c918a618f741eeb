"""GalleryScorer: a probe against a gallery, all that can be prepared prepared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge_sim.conditions import condition_of
from edge_sim.domain import (
    FloatMatrix,
    FloatVector,
    Match,
    Probe,
    Score,
    StateScore,
)
from edge_sim.errors import ModelError
from edge_sim.gallery import Gallery
from edge_sim.scoring.confidence import fit_sharpness, odds_of, trust_in_views
from edge_sim.scoring.evidence import LAYOUT, WEIGHTS, evidence_of, stacked_evidence
from edge_sim.scoring.familiarity import Subspace, fit_span
from edge_sim.scoring.ridge import Labels, Ridge, fit_ridge

MODELLED_REFERENCES = 400
"""References that the regression and the spans are fitted on; the nearest one is sought in all."""
_LEAVE_ONE_OUT_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Likeness:
    """One probe against every state, S values each; few enough that lists are quicker than arrays.

    Args:
        nearest: Row of the reference most like it; -1 where the state has no other.
        unexplained: Part of the probe that the references of the state do not explain, 0 to 1.
    """

    nearest: list[int]
    unexplained: list[float]


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
    """

    def __init__(
        self,
        gallery: Gallery,
        *,
        weights: Mapping[str, float] = WEIGHTS,
    ) -> None:
        self._model_id = gallery.model_id
        self._names = gallery.states
        self._ids = [item.reference_id for item in gallery.references]
        self._conditions = [item.condition for item in gallery.references]
        self._vectors, self._state_rows = gallery.matrix, gallery.state_rows
        if not self._ids:
            return
        stacked = stacked_evidence(gallery.references)
        views = {name: rows for name, rows in stacked.items() if weights.get(name, 0.0) > 0.0}
        total = sum(weights[name] for name in views)
        self._weights = {name: weights[name] / total for name in views}
        self._stretch = np.concatenate(
            [
                np.full(rows.shape[1], np.sqrt(self._weights[name]), np.float32)
                for name, rows in views.items()
            ]
        )
        self._rows = _joined(views) * self._stretch
        self._modelled = _modelled(gallery)
        self._fit(views, _cells_of(gallery))

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:
        """Return the states of the gallery for `probe`, the most probable first.

        Args:
            probe: Region of one frame.
            condition: Light regime as the monitor reports it; None judges the picture by itself.
        """
        if not self._ids:
            return None
        check_model(probe, self._model_id)
        joined = self._joined_evidence(probe)
        cosines = self._rows @ (joined * self._stretch)
        likeness = self._likeness(cosines, self._unexplained(cosines))
        values = self._states_of(joined, condition or condition_of(probe.quality))
        return self._match(probe.embedding.vector, likeness, odds_of(values, self._sharpness))

    def leave_one_out(self) -> tuple[Match | None, ...]:
        """Return, per reference in gallery order, its match against all the others."""
        if len(self._ids) < 2:
            return (None,) * len(self._ids)
        matches: list[Match | None] = []
        for start in range(0, len(self._ids), _LEAVE_ONE_OUT_ROWS):
            rows = self._rows[start : start + _LEAVE_ONE_OUT_ROWS]
            cosines = rows @ self._rows.T
            for offset, line in enumerate(cosines):
                matches.append(self._left_out(start + offset, line))
        return tuple(matches)

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
        self._ridges: tuple[tuple[slice, np.float32, Ridge], ...] = ()
        self._sharpness = 1.0
        if states < 2:
            return
        known = Labels(labels, np.array(self._conditions)[picked], states)
        ridges: dict[str, Ridge] = {}
        for name, rows in views.items():
            blocks = cells if name == LAYOUT else 1
            ridges[name] = fit_ridge(rows[picked], known, blocks=blocks)
        left_out = {name: ridge.left_out for name, ridge in ridges.items()}
        judged = counts[labels] > 1
        trust = trust_in_views(left_out, labels, judged, self._weights)
        ends = np.cumsum([rows.shape[1] for rows in views.values()]).tolist()
        self._ridges = tuple(
            (slice(start, end), np.float32(trust[name]), ridges[name])
            for name, (start, end) in zip(views, pairwise([0, *ends]), strict=True)
        )
        self._own = np.zeros((len(picked), states), np.float32)
        for name, weight in trust.items():
            self._own += np.float32(weight) * left_out[name]
        self._sharpness = fit_sharpness(self._own, labels, judged)

    def _joined_evidence(self, probe: Probe) -> FloatVector:
        views = evidence_of(probe)
        return np.concatenate([views[name] for name in self._weights])

    def _states_of(self, joined: FloatVector, condition: str) -> FloatVector:
        values = np.zeros(len(self._names), np.float32)
        for part, weight, ridge in self._ridges:
            values += weight * ridge.predict(joined[part], condition)
        return values

    def _unexplained(self, cosines: FloatVector) -> list[float]:
        """Return what the span of each state leaves unexplained, from (N,) cosines."""
        own = cosines[self._members]
        pairs = zip(self._spans, self._member_parts, strict=True)
        return [span.unexplained(own[part]) for span, part in pairs]

    def _likeness(self, cosines: FloatVector, unexplained: Sequence[float]) -> _Likeness:
        own = cosines[self._by_state]
        best = [part.start + int(own[part].argmax()) for part in self._parts]
        # The nearest reference without noise: a picture of the gallery itself is fully familiar.
        alone = [1.0 - min(max(cosine, 0.0), 1.0) ** 2 for cosine in own[best].tolist()]
        return _Likeness(self._by_state[best].tolist(), list(map(min, unexplained, alone)))

    def _left_out(self, row: int, cosines: FloatVector) -> Match | None:
        """Return the match of reference `row` against the others; `cosines` is overwritten."""
        own = int(self._state_rows[row])
        unexplained = self._unexplained(cosines)
        if self._alone[row] >= 0.0:
            unexplained[own] = float(self._alone[row])
        cosines[row] = -np.inf
        likeness = self._likeness(cosines, unexplained)
        place = int(self._place[row])
        if place >= 0 and self._ridges:
            values = self._own[place]
        else:
            joined = self._rows[row] / self._stretch
            values = self._states_of(joined, self._conditions[row])
        odds = odds_of(values, self._sharpness)
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
            score = Score(min(max(cosine, -1.0), 1.0), None, 1.0 - likeness.unexplained[state])
            states.append(StateScore(self._names[state], self._ids[nearest], score, odds[state]))
        return Match(tuple(states))


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
        if len(rows) > share:
            rows = rows[np.linspace(0, len(rows) - 1, share).round().astype(np.intp)]
        picked.append(rows)
    return np.concatenate(picked)
