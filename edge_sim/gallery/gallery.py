"""Gallery: all references of one watch, an immutable value with one matrix.

A writer makes a new gallery; a reader swaps one reference to it between two frames.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.ranking import Metric, Question, closeness, ordered, shortlist, table
from edge_sim.core.types import Embedding, FloatMatrix, Reference, is_reserved
from edge_sim.errors import GalleryError, ModelError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST_BYTES = 8

ReferenceLoader = Callable[[Iterable[str]], Mapping[str, Reference]]
"""Loader of references by id; those that cannot be read any more are left out."""


def checked_name(kind: str, name: str) -> str:
    """Return `name` if it is a valid name; `kind` is the noun of the message.

    Raises:
        GalleryError: Other characters than `[A-Za-z0-9_-]`, more than 64 of them, or reserved.
    """
    if not _NAME.fullmatch(name):
        raise GalleryError(
            f"{name[:80]!r} cannot be the name of a {kind}: "
            f"use 1 to 64 letters, digits, `_` and `-`"
        )
    if is_reserved(name):
        raise GalleryError(f"{name!r} cannot be the name of a {kind}: the word is reserved")
    return name


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """Reference found by a search.

    Args:
        reference: Reference of the gallery.
        score: A likeness, or a distance for Euclidean and Manhattan.
    """

    reference: Reference
    score: float


@dataclass(frozen=True, slots=True)
class CalibratedLevel:
    """Threshold of one state from `edge-sim calibrate --write`.

    Args:
        threshold: Least `Score.combined` of the state, 0 to 1, or its greatest `Score.novelty`.
        same: Number of scores of the state that it was measured on.
        origin: Date, target rate and sample of the calibration, in words.
    """

    threshold: float
    same: int
    origin: str


@dataclass(frozen=True, slots=True, eq=False)
class GallerySummary:
    """Part of a gallery that is kept once scorer, decider and monitor were built from it.

    A reference takes 15 kB, most of it pixels that no observation needs: a device with a thousand
    of them keeps this instead.

    Args:
        revision: Revision of the gallery file.
        model_id: Model of the references; None without any.
        counts: State -> number of its references, sorted by state.
        digest: 16 hexadecimal digits that depend on every reference.
        recall: Loader of references by id.
    """

    revision: int
    model_id: str | None
    counts: Mapping[str, int]
    digest: str
    recall: ReferenceLoader

    @property
    def states(self) -> tuple[str, ...]:
        """States of the references, sorted."""
        return tuple(self.counts)


class Gallery:
    """Immutable set of the references of one watch.

    Args:
        references: References in enrolment order; ids unique, all of one model.
        revision: Revision of the gallery file that they were read from; 0 in memory only.
        calibrated: State -> level calibrated on exactly these references.
        calibrated_novelty: State -> calibrated novelty above which a picture is too novel.
        recall: Loader of references by id for the summary; None keeps the gallery in memory.

    Raises:
        GalleryError: Two references share an id, or models are mixed.
    """

    def __init__(
        self,
        references: Iterable[Reference] = (),
        *,
        revision: int = 0,
        calibrated: Mapping[str, CalibratedLevel] | None = None,
        calibrated_novelty: Mapping[str, CalibratedLevel] | None = None,
        recall: ReferenceLoader | None = None,
    ) -> None:
        self._references = tuple(references)
        for item in self._references:
            if not isinstance(item, Reference):
                raise GalleryError(
                    f"a Gallery is made of References, got {type(item).__name__}: "
                    f"make_reference makes one, GalleryStore.open opens a file"
                )
        self._recall = recall
        self.revision = revision
        self.calibrated: Mapping[str, CalibratedLevel] = dict(calibrated or {})
        self.calibrated_novelty: Mapping[str, CalibratedLevel] = dict(calibrated_novelty or {})
        self._by_id = {item.reference_id: item for item in self._references}
        if len(self._by_id) != len(self._references):
            raise GalleryError("two references of the gallery share an id")
        models = sorted({item.embedding.model_id for item in self._references})
        if len(models) > 1:
            raise GalleryError(
                f"the gallery mixes the models {', '.join(models)}; run `edge-sim gallery reembed`"
            )
        self.model_id: str | None = models[0] if models else None
        self.states: tuple[str, ...] = tuple(sorted({item.state for item in self._references}))
        self.matrix: FloatMatrix = _stacked([item.embedding.vector for item in self._references])
        row_of = {state: row for row, state in enumerate(self.states)}
        self.state_rows: NDArray[np.intp] = np.array(
            [row_of[item.state] for item in self._references], np.intp
        )
        """(N,) index into `states` of each row of `matrix`."""

    def __len__(self) -> int:
        return len(self._references)

    def __iter__(self) -> Iterator[Reference]:
        return iter(self._references)

    def __getitem__(self, reference_id: str) -> Reference:
        """Return the reference with this id.

        Raises:
            GalleryError: There is none.
        """
        try:
            return self._by_id[reference_id]
        except KeyError:
            raise GalleryError(f"the gallery has no reference {reference_id!r}") from None

    def __contains__(self, reference_id: object) -> bool:
        return reference_id in self._by_id

    def __repr__(self) -> str:
        return f"Gallery({len(self)} references of {', '.join(self.states) or 'no state'})"

    @property
    def references(self) -> tuple[Reference, ...]:
        """References in the order of the rows of `matrix`."""
        return self._references

    @property
    def cells(self) -> NDArray[np.float32] | None:
        """(N, G*G, C) float32 spatial descriptors; None if the model has none."""
        spatial = [item.embedding.spatial for item in self._references]
        if not spatial or any(item is None for item in spatial):
            return None
        stacked = np.stack([item for item in spatial if item is not None])
        return stacked.reshape(len(spatial), -1, stacked.shape[-1])

    def summary(self) -> GallerySummary:
        """Return the summary that is kept when the references are not needed any more."""
        counts = Counter(item.state for item in self._references)
        names = "\0".join(f"{item.reference_id}\0{item.state}" for item in self._references)
        digest = hashlib.blake2b(names.encode(), digest_size=_DIGEST_BYTES)
        digest.update(self.matrix.tobytes())
        return GallerySummary(
            revision=self.revision,
            model_id=self.model_id,
            counts={state: counts[state] for state in self.states},
            digest=digest.hexdigest(),
            recall=self._recall or self._known,
        )

    def _known(self, reference_ids: Iterable[str]) -> dict[str, Reference]:
        return {name: self._by_id[name] for name in reference_ids if name in self._by_id}

    def coverage(self) -> dict[str, dict[str, int]]:
        """Return how many references there are of each state in each light that any has."""
        counts = Counter((item.state, item.condition) for item in self._references)
        lights = sorted({light for _, light in counts})
        return {state: {light: counts[state, light] for light in lights} for state in self.states}

    def of_state(self, state: str) -> tuple[Reference, ...]:
        """Return the references of one state, in enrolment order."""
        return tuple(item for item in self._references if item.state == state)

    def search(
        self,
        embedding: Embedding,
        k: int = 10,
        *,
        metric: Metric = Metric.COSINE,
        where: Mapping[str, str] | None = None,
        least: bool = False,
    ) -> tuple[SearchResult, ...]:
        """Return the k references most like `embedding`, the best first; fewer if there are.

        Args:
            k: Greatest number of results, 1 or more.
            metric: Metric of the ranking. Equal scores are ordered by Manhattan distance, then by
                enrolment.
            where: Required values; keys are `state`, `condition` and those of the metadata.
            least: Whether the least similar come first.

        Raises:
            ModelError: The embedding was made with another model than the references.
            GalleryError: k below 1, or no embedding.
        """
        if not isinstance(embedding, Embedding):
            raise GalleryError(
                f"search takes an Embedding, got {type(embedding).__name__}; "
                f"embed a picture with open_embedder().embed(pixels)"
            )
        if k < 1:
            raise GalleryError(f"k must be at least 1, got {k}")
        if self.model_id not in (None, embedding.model_id):
            raise ModelError(
                f"the gallery was made with the model {self.model_id}, "
                f"the query with {embedding.model_id}; use one model for both"
            )
        wanted = (where or {}).items()
        chosen = np.array(
            [row for row, item in enumerate(self._references) if wanted <= _facts(item).items()],
            np.intp,
        )
        if not len(chosen):
            return ()
        question = Question(embedding.vector, metric, least)
        values, slack = closeness(question, table(self.matrix[chosen], unit=True))
        numbers = chosen[shortlist(values, k, slack)]
        found = ordered(question, self.matrix[numbers], numbers, k)
        return tuple(
            SearchResult(self._references[row], float(score))
            for row, score in zip(found.rows, found.scores, strict=True)
        )

    def adding(self, *references: Reference) -> Gallery:
        """Return a gallery with `references` after the present ones."""
        return Gallery((*self._references, *references), revision=self.revision)

    def removing(self, *reference_ids: str) -> Gallery:
        """Return a gallery without these references.

        Raises:
            GalleryError: One of them is not there.
        """
        for reference_id in reference_ids:
            self[reference_id]
        kept = (item for item in self._references if item.reference_id not in reference_ids)
        return Gallery(kept, revision=self.revision)


def _facts(reference: Reference) -> dict[str, str]:
    known = {"state": reference.state, "condition": reference.condition}
    return {**reference.metadata, **known}


def _stacked(vectors: list[NDArray[np.float32]]) -> FloatMatrix:
    if not vectors:
        return np.zeros((0, 0), np.float32)
    if len({vector.shape for vector in vectors}) > 1:
        raise GalleryError("the references of the gallery have vectors of different lengths")
    return np.ascontiguousarray(np.stack(vectors))
