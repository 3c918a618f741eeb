"""Labelled pairs in a CSV table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_sim.errors import DataError
from edge_sim.tables import named_file, read_table

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
    found = read_table(table)
    columns = set(found.header)
    if "same" not in columns or not ({"score"} <= columns or {"a", "b"} <= columns):
        names = ", ".join(name for name in found.header if name) or "none"
        raise DataError(f"{table}: needs the columns same and score, or same, a and b; has {names}")
    if not found.rows:
        raise DataError(f"{table}: the table has no rows")
    same = [_truth(table, line, found.field(row, "same")) for line, row in found.rows]
    if "score" in columns:
        return [_number(table, line, found.field(row, "score")) for line, row in found.rows], same
    pairs = [
        (
            _picture(table, line, found.field(row, "a")),
            _picture(table, line, found.field(row, "b")),
        )
        for line, row in found.rows
    ]
    return score(pairs), same


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
    path = named_file(table.parent, text)
    if path is None:
        raise DataError(f"{table}, row {line}: there is no picture {text!r}")
    return path
