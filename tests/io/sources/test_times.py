from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.pictures import read_time

MOMENT_S = datetime(2023, 6, 19, 6, 17, 9, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2023-06-19T06_17_09",
        "2023-06-19 06:17:09",
        "2023-06-19T06:17:09Z",
        "2023-06-19T08:17:09+02:00",
        "2023-06-19T01:17:09-0500",
        "20230619-061709",
        "20230619_061709",
        "20230619061709",
        " 2023-06-19 06:17:09 ",
        "2023-06-19 06:17:09.000",
    ],
)
def test_every_usual_way_to_write_a_moment_is_read(text: str) -> None:
    assert read_time(text) == MOMENT_S


@pytest.mark.parametrize(
    ("text", "seconds"), [("17", 17.0), ("0.25", 0.25), ("-3", -3.0), ("1e3", 1000.0), (".5", 0.5)]
)
def test_plain_numbers_are_seconds(text: str, seconds: float) -> None:
    assert read_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "noon", "2023-13-19 06:17:09", "nan", "inf", "1_000", "1e999"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|must be|match|range|month|day"):
        read_time(text)


@pytest.mark.parametrize(
    "text",
    ["1687155429", "1687155429000", "1687155429000000", "1687155429000000000", "1.687155429e12"],
)
def test_milliseconds_and_smaller_units_are_known_by_their_size(text: str) -> None:
    assert read_time(text) == MOMENT_S


@pytest.mark.parametrize(
    "text", ["20000000000", "-1687155429000", "50000000000000.5", "99999999999999999999", "1e30"]
)
def test_a_number_that_is_no_time_in_any_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a time: .* of the years 1973 to 2286"):
        read_time(text)


@given(st.one_of(st.floats(), st.integers()).map(str))
def test_every_number_read_is_a_time_that_can_be_printed(text: str) -> None:
    try:
        seconds = read_time(text)
    except ValueError:
        return
    if seconds >= 0:
        assert datetime.fromtimestamp(seconds, tz=timezone.utc).year <= 2286


@given(seconds=st.floats(1e5, 4e9))
def test_iso_text_is_read_back_to_the_microsecond(seconds: float) -> None:
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    assert read_time(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("frame,time\n1.png,1\n2.png,2\n1.png,3\n", "line 4: 1.png is in line 2"),
        ("frame,time,time\n1.png,1,2\n", "2 columns are called 'time'"),
        ("frame,time\n1.png,5\n2.png,2023-06-19T06:17:09\n", "2.png has a date and another"),
        ("frame,time\n1.png,2023-06-19T06:17:09\n2.png,5\n", "2.png has seconds from the start"),
        ("frame,time\n1.png,1e308\n", "line 2: not a time"),
    ],
)
def test_a_table_that_contradicts_itself_is_one_line(
    tmp_path: Path, rows: str, message: str
) -> None:
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(f"folder:{tmp_path}?times=labels.csv")
    assert "\n" not in str(caught.value)
