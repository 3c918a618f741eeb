"""Calibrated thresholds, kept in the gallery file with the sample they were measured on.

They are not part of the history: `undo` reverts pictures, not measurements. Each holds the
revision that it was made at, so that a reader can check whether the references have changed since.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from os import PathLike
from pathlib import Path

import msgspec

from edge_sim.core.sqlite import transaction, write_back
from edge_sim.errors import GalleryError
from edge_sim.gallery.database import BUSY_TIMEOUT_S, open_database, translated
from edge_sim.gallery.gallery import CalibratedLevel
from edge_sim.gallery.schema import CALIBRATIONS, has_table

STATE_SCORE = "state"
"""Name of the score whose thresholds the decider starts from: `combined` against a state."""

NOVELTY_SCORE = "novelty"
"""Name of the score whose thresholds say what is too novel for a state."""


class KeptRate(msgspec.Struct, frozen=True):
    """Proportion with its 95 % interval, all 0 to 1."""

    value: float
    low: float
    high: float


class KeptThreshold(msgspec.Struct, frozen=True):
    """Threshold with its rates on the labelled scores; `same` and `different` count scores."""

    name: str
    threshold: float
    precision: KeptRate
    recall: KeptRate
    fpr: KeptRate
    same: int
    different: int


class KeptCalibration(msgspec.Struct, frozen=True):
    """Thresholds of one watch for one score, and their origin."""

    watch: str
    score: str
    aim: str
    value: float
    at: str
    sample: str
    model: str
    revision: int
    thresholds: tuple[KeptThreshold, ...]

    @property
    def origin(self) -> str:
        """Date, target rate and sample of the calibration, in words."""
        sign = "at most" if self.aim == "fpr" else "at least"
        return f"calibrated {self.at[:10]} for {self.aim} {sign} {self.value:g} on {self.sample}"


def keep_calibration(
    path: str | PathLike[str], kept: KeptCalibration, *, timeout_s: float = BUSY_TIMEOUT_S
) -> None:
    """Put a calibration into the gallery file, in place of an older one of the same score.

    Raises:
        GalleryError: There is no gallery, or it cannot be written.
    """
    place = Path(path)
    connection = open_database(place, create=False, read_only=False, timeout_s=timeout_s)
    content = msgspec.json.encode(kept).decode()
    values = (kept.watch, kept.score, content)
    with closing(connection), translated(place):
        with transaction(connection, writes=True):
            connection.execute(CALIBRATIONS)
            connection.execute("INSERT OR REPLACE INTO calibrations VALUES (?, ?, ?)", values)
        write_back(connection, timeout_s)


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
        texts = _contents(connection, "ORDER BY watch, score")
    try:
        return tuple(map(_decoded, texts))
    except GalleryError as error:
        raise GalleryError(f"{place}: {error}") from error


def calibrated_levels(
    connection: sqlite3.Connection, watch: str, revision: int, *, score: str = STATE_SCORE
) -> dict[str, CalibratedLevel]:
    """Return the calibrated level of each state; none if the references have changed since.

    Runs inside a transaction.

    Raises:
        GalleryError: The calibration is damaged.
    """
    found = _contents(connection, "WHERE watch = ? AND score = ?", watch, score)
    if not found:
        return {}
    kept = _decoded(found[0])
    present = _references(connection, watch, revision)
    if not present or present != _references(connection, watch, kept.revision):
        return {}
    return {
        item.name: CalibratedLevel(item.threshold, item.same, kept.origin)
        for item in kept.thresholds
    }


def _contents(connection: sqlite3.Connection, which: str, *values: str) -> list[str]:
    if not has_table(connection, "calibrations"):
        return []
    rows = connection.execute(f"SELECT content FROM calibrations {which}", values)
    return [content for (content,) in rows]


def _decoded(text: str) -> KeptCalibration:
    try:
        return msgspec.json.decode(text, type=KeptCalibration)
    except (msgspec.DecodeError, TypeError) as error:
        raise GalleryError(
            "a calibration is damaged; `edge-sim calibrate --write` makes a new one"
        ) from error


def _references(
    connection: sqlite3.Connection, watch: str, revision: int
) -> list[tuple[int, str, int, str]]:
    """Return the rows that the scores of a watch depend on: pictures, states and embeddings."""
    rows = connection.execute(
        "SELECT ordinal, state, embedding, condition FROM versions WHERE watch = :watch "
        "AND since <= :revision AND (until IS NULL OR until > :revision) ORDER BY ordinal",
        {"watch": watch, "revision": revision},
    )
    return rows.fetchall()
