"""References that contradict each other: the same picture enrolled as two states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from edge_sim.domain import GrayImage, Reference
from edge_sim.gallery import Gallery

SAME_COSINE = 0.999
SAME_LEVELS = 2.0
"""Mean difference of the thumbnails, grey levels: a picture saved anew stays below; two pictures
taken one after the other come close only where neither thing nor light nor noise moved."""
MOST_TOLD = 100
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Conflict:
    """One picture under two states: whatever the scorer says of it, one of them is wrong.

    Args:
        first: Enrolled earlier.
        second: Enrolled later, as another state.
    """

    first: Reference
    second: Reference

    def __str__(self) -> str:
        return (
            f"{self.first.reference_id} ({self.first.state}) and {self.second.reference_id} "
            f"({self.second.state}) show the same picture"
        )


def conflicts(gallery: Gallery) -> tuple[Conflict, ...]:
    """Return the pairs of references that show the same picture as two states; at most 100."""
    return tuple(islice(_pairs(gallery), MOST_TOLD))


def _pairs(gallery: Gallery) -> Iterator[Conflict]:
    references = gallery.references
    for start in range(0, len(references), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        alike = gallery.matrix[rows] @ gallery.matrix.T >= SAME_COSINE
        alike &= gallery.state_rows[rows, None] != gallery.state_rows
        for row, other in np.argwhere(alike):
            first, second = start + int(row), int(other)
            if first < second and _is_same(
                references[first].thumbnail, references[second].thumbnail
            ):
                yield Conflict(references[first], references[second])


def _is_same(a: GrayImage, b: GrayImage) -> bool:
    return float(np.abs(a.astype(np.int16) - b).mean()) <= SAME_LEVELS
