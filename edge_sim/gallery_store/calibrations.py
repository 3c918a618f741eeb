"""Calibrated thresholds, kept in the gallery file with what they rest on.

They are no part of the history: `undo` takes pictures back, not measurements. Each says which
revision it was made at, so that a reader can tell whether it is still of the present references.
"""

from __future__ import annotations

from contextlib import closing
from os import PathLike
from pathlib import Path

import msgspec

from edge_sim.errors import GalleryError
from edge_sim.gallery_store.database import open_database, transaction, translated
from edge_sim.gallery_store.store import BUSY_TIMEOUT_S

_TABLE = """
CREATE TABLE IF NOT EXISTS calibrations (
    watch TEXT NOT NULL,
    score TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (watch, score)
)
"""


class KeptRate(msgspec.Struct, frozen=True):
    """A part of a whole with its 95 % interval, all 0 to 1."""

    value: float
    low: float
    high: float


class KeptThreshold(msgspec.Struct, frozen=True):
    """A threshold and what it did on the labelled scores; the counts are of scores."""

    name: str
    threshold: float
    precision: KeptRate
    recall: KeptRate
    fpr: KeptRate
    same: int
    different: int


class KeptCalibration(msgspec.Struct, frozen=True):
    """Thresholds of one watch for one score, and where they come from."""

    watch: str
    score: str
    aim: str
    value: float
    at: str
    sample: str
    model: str
    revision: int
    thresholds: tuple[KeptThreshold, ...]


def keep_calibration(
    path: str | PathLike[str], kept: KeptCalibration, *, timeout_s: float = BUSY_TIMEOUT_S
) -> None:
    """Put a calibration into the gallery file, in place of an older one of the same score.

    Raises:
        GalleryError: There is no gallery, or it cannot be written.
    """
    place = Path(path)
    connection = open_database(place, create=False, read_only=False, timeout_s=timeout_s)
    with closing(connection), translated(place), transaction(connection, writes=True):
        connection.execute(_TABLE)
        content = msgspec.json.encode(kept).decode()
        values = (kept.watch, kept.score, content)
        connection.execute("INSERT OR REPLACE INTO calibrations VALUES (?, ?, ?)", values)


def kept_calibrations(
    path: str | PathLike[str], *, timeout_s: float = BUSY_TIMEOUT_S
) -> tuple[KeptCalibration, ...]:
    """Return the calibrations in the gallery file, sorted by watch and score.

    Raises:
        GalleryError: There is no gallery, or it is damaged.
    """
    place = Path(path)
    connection = open_database(place, create=False, read_only=True, timeout_s=timeout_s)
    with closing(connection), translated(place), transaction(connection, writes=False):
        known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'calibrations'"
        if connection.execute(known).fetchone() is None:
            return ()
        rows = connection.execute("SELECT content FROM calibrations ORDER BY watch, score")
        texts = [content for (content,) in rows]
    try:
        return tuple(msgspec.json.decode(text, type=KeptCalibration) for text in texts)
    except msgspec.DecodeError as error:
        raise GalleryError(
            f"{place}: a calibration is damaged; `edge-sim calibrate --write` makes it anew"
        ) from error
