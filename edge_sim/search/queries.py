"""Queries of a search: picture files, frames of videos, references and pictures of an index.

cat.jpg                 a picture file
clip.mp4#t=12.5         the frame of a video at 12.5 s from its start
r7f3a                   a reference of the gallery that is searched, by its id
cats/1.jpg              a picture of the index that is searched, by its path in it
vector.npy              a vector, where imported vectors are searched
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edge_sim.core.files import is_file, printable
from edge_sim.core.images import thumbnail
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import THUMBNAIL_PX, BgrImage, Embedding, FloatVector, Roi
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError
from edge_sim.io.sources.pictures import read_picture, read_reduced
from edge_sim.search.bars import embedding_of
from edge_sim.search.frames import is_video, read_frame, split_frame
from edge_sim.search.regions import reading_px
from edge_sim.search.searcher import Collection, Query

MAX_QUERIES = 100
Known = Callable[[str, int | None], BgrImage | None]
"""Function that returns the picture of a name in the collection, at a size that is enough to squash
it to so many pixels, or whole; None if it has none."""


def query_of(
    names: Sequence[str],
    embedder: Embedder,
    known: Known,
    *,
    cut_bars: bool,
    roi: Roi | None = None,
    regions: bool = False,
) -> Query:
    """Return the query of one picture, or of several: the mean of their embeddings.

    Args:
        names: Queries as in the module's description, 1 to 100.
        embedder: Model of the pictures that are searched.
        known: Function that finds a picture of the collection by its name.
        cut_bars: Whether bars were cut off the pictures that are searched; see `bars.embedding_of`.
        roi: Region of each picture that is searched for; None takes all of it.
        regions: Whether the collection keeps regions, and was read larger for them.

    Raises:
        SearchError: There is no such picture, or their number is out of range.
        SourceError: A file cannot be read.
    """
    if not 1 <= len(names) <= MAX_QUERIES:
        raise SearchError(f"give 1 to {MAX_QUERIES} pictures to search by, got {len(names)}")
    side_px = reading_px(enough_px(embedder), regions=regions)
    found = []
    for name in names:
        pixels = picture_of(name, known, side_px=None if roi is not None else side_px)
        if roi is not None:
            pixels = _cropped(pixels, roi, name)
        found.append(query_of_pixels(pixels, embedder, cut_bars=cut_bars))
    return found[0] if len(found) == 1 else _mean(found)


def query_of_vectors(names: Sequence[str], own: Collection) -> Query:
    """Return the query of one vector, or of several: their mean. No model is needed.

    Args:
        names: Pictures of the collection, or .npy files that hold one vector each, 1 to 100.
        own: Collection that is searched.

    Raises:
        SearchError: There is no such picture or file, or it holds no vector of this length.
    """
    if not 1 <= len(names) <= MAX_QUERIES:
        raise SearchError(f"give 1 to {MAX_QUERIES} ids to search by, got {len(names)}")
    blank = np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    found = [
        Query(Embedding(_vector_of(name, own), None, own.model_id or ""), blank) for name in names
    ]
    return found[0] if len(found) == 1 else _mean(found)


def _vector_of(name: str, own: Collection) -> FloatVector:
    if name in own.names:
        return np.array(own.vectors[own.names.index(name)][: own.dimension], np.float32)
    path = Path(name)
    if path.suffix.lower() != ".npy" or not is_file(path):
        raise SearchError(
            f"{printable(name)}: none of the ids that are searched, and no .npy file; these are "
            f"imported vectors, which have no model for pictures"
        )
    try:
        vector = np.lib.format.open_memmap(path, mode="r")
        if vector.size != own.dimension or vector.dtype.kind not in "fiu":
            raise ValueError(f"not one vector of {own.dimension} numbers")
        unit: FloatVector = normalised(np.array(vector, np.float32).reshape(1, -1))[0]
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise SearchError(f"{printable(name)}: cannot be searched by ({error})") from error
    if not unit.any():
        raise SearchError(f"{printable(name)}: cannot be searched by (it is all zeros)")
    return unit


def query_of_pixels(pixels: BgrImage, embedder: Embedder, *, cut_bars: bool) -> Query:
    """Return a picture as a query; the arguments are those of `query_of`.

    Raises:
        ModelError: The model cannot embed it.
    """
    return Query(embedding_of(pixels, embedder, cut_bars=cut_bars), thumbnail(pixels))


def enough_px(embedder: Embedder) -> int:
    """Return the side to which a picture can be squashed without a loss for a search, pixels.

    An index reads its pictures at this size, and so must the queries to it: squashed in two steps,
    the same picture has a slightly different embedding.
    """
    return max(embedder.input_px, THUMBNAIL_PX)


def picture_of(name: str, known: Known, *, side_px: int | None = None) -> BgrImage:
    """Return the picture that a query names.

    Args:
        name: Query as in the module's description.
        known: Function that finds a picture of the collection by its name.
        side_px: Size that is enough, in pixels, as the pictures of an index are read; None reads
            the whole picture.

    Raises:
        SearchError: There is no such picture.
        SourceError: The file cannot be read, or a video has no such frame.
    """
    path = Path(name)
    if is_file(path):
        if is_video(path):
            raise SearchError(
                f"{printable(name)}: a video; search by a frame of it, {printable(name)}#t=SECONDS"
            )
        return read_picture(path) if side_px is None else read_reduced(path, side_px)
    frame = split_frame(name)
    if frame is not None and is_file(frame[0]):
        return read_frame(Path(frame[0]), frame[1])
    pixels = known(name, side_px)
    if pixels is None:
        raise SearchError(
            f"{printable(name)}: no such file, and none of the pictures that are searched; a frame "
            f"of a video is FILE#t=SECONDS"
        )
    return pixels


def _cropped(pixels: BgrImage, roi: Roi, name: str) -> BgrImage:
    rows, columns = pixels.shape[:2]
    top, bottom = round(roi.y1 * rows), round(roi.y2 * rows)
    left, right = round(roi.x1 * columns), round(roi.x2 * columns)
    if bottom - top < 2 or right - left < 2:
        raise SearchError(f"{printable(name)}: the region is smaller than two pixels")
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _mean(queries: Sequence[Query]) -> Query:
    """Return the mean of unit vectors as one query, with the thumbnail of the first."""

    def mean(vectors: Sequence[FloatVector]) -> FloatVector:
        return normalised(np.asarray(np.mean(vectors, axis=0, dtype=np.float64), np.float32))

    embeddings = [item.embedding for item in queries]
    cells = [item.spatial for item in embeddings if item.spatial is not None]
    spatial = None
    if len(cells) == len(embeddings):
        spatial = np.asarray(np.mean(cells, axis=0, dtype=np.float64), np.float32)
    vector = mean([item.vector for item in embeddings])
    if not vector.any():
        raise SearchError("the pictures to search by cancel out; search by each alone")
    return Query(Embedding(vector, spatial, embeddings[0].model_id), queries[0].thumbnail)
