"""SoftmaxHead: a small classifier trained on the embeddings of the references.

The method of recorders with states of the user: features of a frozen network, a softmax on top,
and an answer that counts from a probability of 0.8 on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix, FloatVector, Match, Probe, Score, StateScore
from edge_sim.decision.scorer import check_model
from edge_sim.gallery.gallery import Gallery

_WEIGHT_DECAY = 1e-3
_STEPS = 300


class SoftmaxHead:
    """Multinomial logistic regression on centred embeddings, fitted when it is made.

    `combined` is the probability; where the gallery has one state, that is always 1.

    Args:
        gallery: The references.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        if len(gallery):
            self._centre = gallery.matrix.mean(axis=0)
            self._scale = _length(gallery.matrix - self._centre)
            rows = (gallery.matrix - self._centre) / self._scale
            targets = np.eye(len(gallery.states))[gallery.state_rows]
            self._weights = fitted(rows, targets)

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:  # noqa: ARG002
        """Return the states of the gallery for `probe`, the most probable first."""
        if not len(self._gallery):
            return None
        check_model(probe, self._gallery.model_id)
        return self._match(probe.embedding.vector)

    def leave_one_out(self) -> tuple[Match | None, ...]:
        """Return, per reference, its match by a head fitted on all the others."""
        matches: list[Match | None] = []
        for reference in self._gallery.references:
            head = SoftmaxHead(self._gallery.removing(reference.reference_id))
            matches.append(head._match(reference.embedding.vector) if len(head._gallery) else None)
        return tuple(matches)

    def _match(self, vector: FloatVector) -> Match:
        gallery = self._gallery
        odds = _softmax((vector - self._centre) / self._scale @ self._weights)
        cosines = np.clip(gallery.matrix @ vector, -1.0, 1.0)
        states = []
        for state, name in enumerate(gallery.states):
            rows = np.flatnonzero(gallery.state_rows == state)
            row = int(rows[np.argmax(cosines[rows])])
            score = Score(float(cosines[row]), None, float(odds[state]))
            name_of = gallery.references[row].reference_id
            states.append(StateScore(name, name_of, score, float(odds[state])))
        return Match(tuple(sorted(states, key=lambda item: -item.probability)))


def fitted(rows: FloatMatrix, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return the (D, S) weights of a softmax over S states.

    Minimises the mean cross entropy plus 0.0005 times the squared weights by Nesterov's
    accelerated gradient, 300 steps of the length that the largest eigenvalue allows.

    Args:
        rows: (N, D), centred.
        targets: (N, S), 1 for the state of each row, else 0.
    """
    number = len(rows)
    gram = rows @ rows.T
    step = 1.0 / (0.5 * float(np.linalg.eigvalsh(gram)[-1]) / number + _WEIGHT_DECAY)
    now = np.zeros_like(targets)  # weights = rows.T @ now: they lie in the span of the rows
    ahead = now
    for turn in range(_STEPS):
        slope = (_softmax(gram @ ahead) - targets) / number + _WEIGHT_DECAY * ahead
        before, now = now, ahead - step * slope
        ahead = now + turn / (turn + 3.0) * (now - before)
    return np.asarray(rows.T @ now, np.float64)


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float64)


def _length(rows: FloatMatrix) -> float:
    """Return the root mean square length of the rows; 1 where all are zero."""
    return float(np.sqrt((rows**2).sum(axis=1).mean())) or 1.0
