"""Adaptation: a head learned on the labelled references of a watch, and a test whether it helps.

trial = cross_validated(gallery)
if trial.is_gain:
    keep_heads(store, {"bowl": trial.head})
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix, FloatVector
from edge_sim.decision.ridge import Labels, fit_ridge
from edge_sim.errors import GalleryError
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.head import Head, HeadView, unit_cells

VECTOR_SHARE = 0.3
"""Weight of the global vector in the output of a head; the cells have the rest. On ten labelled
sets, 5 references per state, unseen frames are ranked with a mean average precision of 0.962 at
0.15 and at 0.3, and of 0.958 at 0.5."""
MODELLED_REFERENCES = 1000
"""Most references of a fit: its time grows with the cube of their number, its memory squared."""


def thinned(gallery: Gallery) -> Gallery:
    """Return at most 1000 references, evenly over the enrolment of each state; all if fewer."""
    if len(gallery) <= MODELLED_REFERENCES:
        return gallery
    share = max(MODELLED_REFERENCES // len(gallery.states), 4)
    picked = []
    for state in range(len(gallery.states)):
        rows = np.flatnonzero(gallery.state_rows == state)
        places = np.linspace(0, len(rows) - 1, min(share, len(rows))).round().astype(np.intp)
        picked += rows[places].tolist()
    return Gallery((gallery.references[row] for row in sorted(picked)), revision=gallery.revision)


def fit_head(gallery: Gallery) -> Head:
    """Return the head of the references of one watch; more than 1000 are `thinned`.

    Raises:
        GalleryError: Fewer than two states.
    """
    gallery = thinned(gallery)
    if gallery.model_id is None or len(gallery.states) < 2:
        raise GalleryError("a head needs references of two states or more")
    labels, number = gallery.state_rows, len(gallery.states)
    cells = _cells(gallery)
    share = 1.0 if cells is None else VECTOR_SHARE
    vector, bias = _view(gallery.matrix, labels, share)
    view = None
    if cells is not None:
        rows, blocks = cells
        view, more = _view(rows, labels, 1.0 - share, blocks)
        bias = bias + more
    middle = np.float32(1.0 / number)
    return Head(gallery.model_id, gallery.states, vector, view, bias - middle)


def _cells(gallery: Gallery) -> tuple[NDArray[np.float32], int] | None:
    """Return (N, E) `unit_cells` and the number of cells; None for a model without."""
    spatial = [item.embedding.spatial for item in gallery]
    found = [unit_cells(cells) for cells in spatial if cells is not None]
    first = spatial[0]
    if first is None or len(found) < len(spatial):
        return None
    return np.stack(found), first.shape[0] * first.shape[1]


def _view(
    rows: NDArray[np.float32], states: NDArray[np.intp], share: float, blocks: int = 1
) -> tuple[HeadView, FloatVector]:
    """Return a view whose regression counts `share`, and its part of the bias."""
    one_light = np.full(len(rows), "")
    ridge = fit_ridge(rows, Labels(states, one_light, int(states.max()) + 1), blocks=blocks)
    scaling, part = ridge.scaling, np.float32(share)
    view = HeadView(scaling.centre, scaling.scale, ridge.weights * part, blocks)
    return view, ridge.bias * part


LEAST_REFERENCES = 4
"""References needed of each state; with fewer, too little is left to learn from."""
FOLDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class HeadTrial:
    """A head and its cross-validation.

    Order is the part of pairs, one reference of its own state and one of another, that a reference
    which was left out ranks rightly; the mean over the states, 0 to 1, 0.5 by chance. It is no
    average precision, which prefers results that are all right or all wrong, as those of a head.

    Args:
        head: Head fitted on all references.
        references: Number of references of the cross-validation.
        before: Order by plain cosine of the global vectors.
        after: Order by heads that were fitted without the reference.
        low: Lower end of the 95 % interval of the gain `after - before`.
        high: Upper end of the same.
        nearest_before: Part of the references whose nearest other is of their state, plain cosine.
        nearest_after: The same by the heads.
    """

    head: Head
    references: int
    before: float
    after: float
    low: float
    high: float
    nearest_before: float
    nearest_after: float

    @property
    def gain(self) -> float:
        """Gain in order."""
        return self.after - self.before

    @property
    def is_gain(self) -> bool:
        """Return whether the whole interval lies above zero."""
        return self.low > 0.0


def cross_validated(gallery: Gallery) -> HeadTrial:
    """Return the head of a gallery and its gain, cross-validated.

    Each of up to 10 folds leaves out a run of neighbours of every state, in order of enrolment:
    pictures taken one after the other are nearly the same, so one would give away the other.
    The interval is Student's, over the references within states, with the variance raised for heads
    that share most of what they were fitted on (Nadeau & Bengio, Inference for the Generalization
    Error, Machine Learning 52, 2003).

    Raises:
        GalleryError: Fewer than two states, or fewer than 4 references of one.
    """
    gallery = thinned(gallery)
    labels = gallery.state_rows
    counts = np.bincount(labels, minlength=len(gallery.states))
    few = [
        f"{n} of {s}" for s, n in zip(gallery.states, counts, strict=True) if n < LEAST_REFERENCES
    ]
    if few or len(gallery.states) < 2:
        raise GalleryError(
            f"to learn a head takes two states with {LEAST_REFERENCES} references or more each; "
            f"there are {', '.join(few) or f'{len(gallery)} of one state'}"
        )
    values = np.zeros((len(gallery), 2, 2))
    left_out = folds(labels)
    for fold in left_out:
        values[fold] = _ranked(gallery, fold)
    low, high = _interval(values[:, 1, 0] - values[:, 0, 0], labels, len(left_out))
    (before, nearest_before), (after, nearest_after) = _mean_of_states(values, labels)
    return HeadTrial(
        head=fit_head(gallery),
        references=len(gallery),
        before=float(before),
        after=float(after),
        low=low,
        high=high,
        nearest_before=float(nearest_before),
        nearest_after=float(nearest_after),
    )


def folds(labels: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the rows of each fold: of every state a run of neighbours, each row once."""
    members = [np.flatnonzero(labels == state) for state in range(labels.max() + 1)]
    number = min(FOLDS, max(len(rows) for rows in members))
    parts = [np.array_split(rows, min(number, len(rows))) for rows in members]
    return [
        np.concatenate([part[fold] for part in parts if fold < len(part)]) for fold in range(number)
    ]


def _ranked(gallery: Gallery, fold: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return (F, 2, 2): per row of the fold, plain and adapted, order and nearest."""
    left = set(fold.tolist())
    kept = [row for row in range(len(gallery)) if row not in left]
    references = gallery.references
    head = fit_head(Gallery(references[row] for row in kept))
    same = gallery.state_rows[fold][:, None] == gallery.state_rows[kept][None, :]
    adapted = _adapted(gallery, head)
    figures = np.empty((len(fold), 2, 2))
    for place, rows in enumerate((gallery.matrix, adapted)):
        figures[:, place] = _ranking(rows[fold] @ rows[kept].T, same)
    return figures


def _adapted(gallery: Gallery, head: Head) -> FloatMatrix:
    cells = None
    if head.cells is not None:
        spatial = [item.embedding.spatial for item in gallery]
        cells = np.stack([unit_cells(item) for item in spatial if item is not None])
    return head.rows(gallery.matrix, cells)


def _ranking(cosines: FloatMatrix, same: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (F, 2): pairs in the right order per row, and whether the best is of the state."""
    order = np.argsort(-cosines, axis=1, kind="stable")
    hits = np.take_along_axis(same, order, axis=1)
    likes = hits.sum(axis=1)
    others = hits.shape[1] - likes
    # Number of references of the state ranked above each other one.
    above = (np.cumsum(hits, axis=1) * ~hits).sum(axis=1)
    return np.stack([above / (likes * others), hits[:, 0].astype(np.float64)], axis=1)


def _mean_of_states(values: NDArray[np.float64], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    each = [values[labels == state].mean(axis=0) for state in range(labels.max() + 1)]
    return np.asarray(np.mean(each, axis=0))


def _interval(
    gains: NDArray[np.float64], labels: NDArray[np.intp], folds_made: int
) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the mean over the states of the mean gain."""
    each = [gains[labels == state] for state in range(labels.max() + 1)]
    variance = sum(own.var(ddof=1) / len(own) for own in each) / len(each) ** 2
    overlap = 1.0 + folds_made / (folds_made - 1.0)
    middle = float(np.mean([own.mean() for own in each]))
    half = _student(len(gains) - len(each)) * float(np.sqrt(variance * overlap))
    return middle - half, middle + half


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, from Fisher's expansion, to 0.002 from 6 up."""
    z = 1.959964
    return (
        z
        + (z**3 + z) / (4.0 * freedom)
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * freedom**2)
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * freedom**3)
    )
