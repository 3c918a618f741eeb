"""Capture times of pictures, from a table in a CSV file."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

from edge_sim.errors import DataError, SourceError
from edge_sim.files import printable
from edge_sim.tables import read_table

FRAME_COLUMNS = ("frame", "file", "filename", "path", "name", "image", "picture")
"""Tried in this order; the first column of the table if none is there."""

# 2023-06-19T06_17_09, 2023-06-13 03:11:46.5+02:00, 20250801-174609, 20151102_004355
_MOMENT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T _-]?(\d\d)[:_-]?(\d\d)(?:[:_-]?(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s*(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
# As seconds these would be millions of years off: 12 or 14 digits are a date run together.
_DATE_DIGITS = (12, 14)
_UNITS = ((1e10, 1.0), (1e13, 1e3), (1e16, 1e6), (1e19, 1e9))
"""Upper ends of numbers of seconds, milliseconds, microseconds and nanoseconds since 1970 (the
year 2286), and how many of each make a second. A tenth of the upper end is the year 1973, so no
number can be meant in two units."""


def read_time(text: str) -> float:
    """Return seconds since 1970 UTC of a date and time, or the number itself.

    Dates without a zone are UTC. Read are `2023-06-19T06_17_09`, `2023-06-13 03:11:46`,
    `20250801-174609` and what lies between, and plain seconds. Numbers too large for seconds are
    taken as milliseconds, microseconds or nanoseconds, by their size.

    Raises:
        ValueError: The text is neither.
    """
    text = text.strip()
    digits_only = text.isascii() and text.isdecimal()
    if _NUMBER.fullmatch(text) and not (digits_only and len(text) in _DATE_DIGITS):
        return _seconds(text)
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text!r}")
    year, month, day, hour, minute = (int(match[group]) for group in range(1, 6))
    fraction = float("0." + match[7]) if match[7] else 0.0
    zone = (match[8] or "Z").upper().replace("Z", "+0000").replace(":", "")
    moment = datetime.strptime(
        f"{year:04}{month:02}{day:02}{hour:02}{minute:02}{int(match[6] or 0):02}{zone}",
        "%Y%m%d%H%M%S%z",
    )
    return moment.astimezone(timezone.utc).timestamp() + fraction


def read_times(table: Path, column: str | None = None) -> dict[str, float]:
    """Return the time of each picture that a CSV table names, in the order of the table.

    Args:
        table: UTF-8, with a header. The pictures are in one of `FRAME_COLUMNS` or the first one.
        column: Holds the times; None takes the first whose name contains `time`.

    Raises:
        SourceError: The table cannot be read, has no such column, or holds what is no time.
    """
    name = printable(table)
    try:
        found = read_table(table)
    except DataError as error:
        reason = str(error).removeprefix(name)
        raise SourceError(f"{name}: the table of times cannot be read{reason}") from error
    header = list(found.header)
    frame_at = next((header.index(column) for column in FRAME_COLUMNS if column in header), 0)
    time_at = _time_column(header, column, name)
    times: dict[str, float] = {}
    for line, row in found.rows:
        if max(frame_at, time_at) >= len(row):
            raise SourceError(f"{name}, line {line}: too few columns")
        try:
            times[row[frame_at].strip()] = read_time(row[time_at])
        except ValueError as error:
            raise SourceError(f"{name}, line {line}: {error}") from error
    return times


def _seconds(text: str) -> float:
    """Return a number as seconds, whatever unit since 1970 its size says."""
    number = float(text)
    for limit, per_second in _UNITS:
        if abs(number) < limit and (per_second == 1.0 or number >= limit / 100):
            return number / per_second
    raise ValueError(f"not a time: {text!r} (seconds, ms, us or ns of the years 1973 to 2286)")


def _time_column(header: list[str], column: str | None, table: str) -> int:
    for at, name in enumerate(header):
        if name == column or (column is None and "time" in name.lower()):
            return at
    wanted = f"no column {column!r}" if column else "no column whose name contains 'time'"
    raise SourceError(f"{table}: {wanted}; there are {', '.join(header)} (choose with &column=)")
