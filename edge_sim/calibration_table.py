"""Labelled pairs in a CSV table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from edge_sim.errors import DataError
from edge_sim.files import is_file

TRUTHS = {
    **dict.fromkeys(("1", "true", "yes", "same"), True),
    **dict.fromkeys(("0", "false", "no", "different"), False),
}
ScorePairs = Callable[[list[tuple[Path, Path]]], list[float]]
"""Gives the score of each pair of pictures."""


def read_pairs(table: Path, score: ScorePairs) -> tuple[list[float], list[bool]]:
    """Return score and truth of every row.

    The table has a column `same` (1 or 0, yes or no, true or false) and either `score`, or `a`
    and `b`: pictures, relative to the folder of the table, that `score` is asked about.

    Raises:
        DataError: No such table, a missing column, or a row that cannot be; its line is named.
    """
    rows = _rows(table)
    columns = set(rows[0])
    if "same" not in columns or not ({"score"} <= columns or {"a", "b"} <= columns):
        found = ", ".join(name for name in rows[0] if name) or "none"
        raise DataError(f"{table}: needs the columns same and score, or same, a and b; has {found}")
    same = [_truth(table, line, row["same"]) for line, row in enumerate(rows, 2)]
    if "score" in columns:
        return [_number(table, line, row["score"]) for line, row in enumerate(rows, 2)], same
    pairs = [
        (_picture(table, line, row["a"]), _picture(table, line, row["b"]))
        for line, row in enumerate(rows, 2)
    ]
    return score(pairs), same


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, restval="", strict=True))
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: is no CSV table ({error})") from error
    if not rows:
        raise DataError(f"{table}: the table has no rows")
    return rows


def _truth(table: Path, line: int, text: str) -> bool:
    try:
        return TRUTHS[text.strip().casefold()]
    except KeyError:
        raise DataError(f"{table}, row {line}: same is {text!r}; write 1 or 0") from None


def _number(table: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{table}, row {line}: score {text!r} is no number") from None


def _picture(table: Path, line: int, text: str) -> Path:
    path = table.parent / text
    if not text or not is_file(path):
        raise DataError(f"{table}, row {line}: there is no picture {text!r}")
    return path
