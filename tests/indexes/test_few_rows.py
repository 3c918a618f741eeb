"""Rows read one by one are the rows that are mapped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.indexes.few_rows import FewRows

NUMBERS = np.array([7, 0, 19, 7])
PARTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "whole": lambda rows: rows,
    "first columns": lambda rows: rows[:, :5],
    "last columns": lambda rows: rows[:, 5:],
    "later rows": lambda rows: rows[10:],
    "every second row": lambda rows: rows[::2],
    "backwards": lambda rows: rows[::-1],
    "every second column": lambda rows: rows[:, ::2],
    "in memory": np.array,
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_any_part_of_a_mapped_file_gives_its_rows(
    tmp_path: Path, part: Callable[[NDArray[Any]], NDArray[Any]], dtype: type[np.floating[Any]]
) -> None:
    rows = np.random.default_rng(0).random((60, 9)).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    mapped = part(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    found = FewRows(mapped).take(NUMBERS)
    assert found.dtype == dtype
    assert (found == part(rows)[NUMBERS]).all()


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((3, 4), np.float32))
    rows = FewRows(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert rows.take(np.zeros(0, np.intp)).shape == (0, 4)


def test_a_file_that_was_deleted_is_still_read_from_its_mapping(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.eye(30, dtype=np.float32))
    mapped = np.load(path, mmap_mode="r")
    path.unlink()
    assert (FewRows(mapped).take(NUMBERS) == np.eye(30)[NUMBERS]).all()


def test_a_file_that_was_shortened_is_an_error_and_no_wrong_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.eye(30, dtype=np.float32))
    rows = FewRows(np.load(path, mmap_mode="r"))
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(OSError, match="row 19 is cut off"):
        rows.take(np.array([19]))
