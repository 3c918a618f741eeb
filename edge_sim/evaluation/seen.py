"""A labelled set as the pipeline sees it: every frame embedded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeVar

from edge_sim.domain import BgrImage, Probe, Reference
from edge_sim.errors import DataError, SourceError
from edge_sim.evaluation.datasets import LabelledSet
from edge_sim.gallery import Gallery
from edge_sim.pipeline import Region, make_probe
from edge_sim.protocols import Embedder
from edge_sim.scene import condition_of
from edge_sim.sources.pictures import read_picture

T = TypeVar("T")
Track = Callable[[Sequence[T], str], Iterable[T]]
"""Goes over a sequence and shows how far it has got under a label."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenSet:
    """A labelled set, embedded.

    Args:
        name: Of the set.
        probes: One per frame, in the order of the table.
        labels: Of the frames; None where a frame shows no state cleanly.
        is_dated: Whether the probes' times are dates.
        is_ordered: Whether the order is that of shooting.
        look: The pixels of a row's region, read anew; None for a set without pictures.
    """

    name: str
    probes: tuple[Probe, ...]
    labels: tuple[str | None, ...]
    is_dated: bool = False
    is_ordered: bool = True
    look: Callable[[int], BgrImage] | None = None

    @property
    def states(self) -> tuple[str, ...]:
        """States that the clean frames show, sorted."""
        return tuple(sorted({label for label in self.labels if label is not None}))

    def rows_of(self, state: str) -> tuple[int, ...]:
        """Return the clean frames of a state."""
        return tuple(row for row, label in enumerate(self.labels) if label == state)

    @property
    def clean_rows(self) -> tuple[int, ...]:
        """Rows of the frames that show a state cleanly."""
        return tuple(row for row, label in enumerate(self.labels) if label is not None)

    def condition(self, row: int) -> str:
        """Return the light regime of a frame by itself: `day`, `dusk`, `ir` or `dark`."""
        return condition_of(self.probes[row].quality)

    def pixels(self, row: int) -> BgrImage:
        """Return the region of a frame, read anew: a set keeps no pictures in memory.

        Raises:
            DataError: The set has no pictures, or the file cannot be read.
        """
        if self.look is None:
            raise DataError(f"{self.name}: the set has no pictures")
        return self.look(row)

    def reference(self, row: int, state: str | None = None) -> Reference:
        """Return a frame as a reference of its state, or of `state`.

        Raises:
            DataError: The frame shows no state and none is given.
        """
        label = state or self.labels[row]
        if label is None:
            raise DataError(f"{self.name}: frame {row} shows no state")
        probe = self.probes[row]
        return Reference(
            reference_id=f"{self.name}/{row}",
            state=label,
            embedding=probe.embedding,
            thumbnail=probe.thumbnail,
            condition=self.condition(row),
            enrolled_at=datetime.fromtimestamp(probe.unix_time_s, tz=timezone.utc),
        )

    def gallery(self, rows: Iterable[int]) -> Gallery:
        """Return a gallery of clean frames."""
        return Gallery(self.reference(row) for row in rows)


def see(labelled: LabelledSet, embedder: Embedder, *, region: Region, track: Track[int]) -> SeenSet:
    """Return the set with every frame read, cropped and embedded as in the pipeline.

    Raises:
        DataError: A picture cannot be read.
    """

    def look(row: int) -> BgrImage:
        try:
            return region.pixels_of(read_picture(labelled.frames[row].path))
        except SourceError as error:
            raise DataError(str(error)) from error

    probes = []
    for number in track(range(len(labelled.frames)), labelled.name):
        frame = labelled.frames[number]
        probes.append(
            make_probe(
                embedder,
                look(number),
                captured_at_s=frame.time_s,
                unix_time_s=frame.time_s,
                frame_index=number,
            )
        )
    labels = tuple(frame.state if frame.is_clean else None for frame in labelled.frames)
    return SeenSet(
        labelled.name, tuple(probes), labels, labelled.is_dated, labelled.is_ordered, look
    )
