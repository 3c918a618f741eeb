"""Tables from spreadsheets and other systems are read, or their line is named."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from edge_sim.core.tables import name_key, named_file, read_table
from edge_sim.errors import DataError
from edge_sim.io.sources import open_source
from tests.pictures import picture, write


def table_of(folder: Path, data: bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(data)
    return path


PLAIN = "frame,state\na.png,on\nb.png,off\n"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        b" frame , state \n\n a.png , on \n,\nb.png,off\n",
        b'"frame","state"\n"a.png","on"\nb.png,off',
    ],
    ids=["plain", "mark", "utf-16", "dos", "old mac", "semicolon", "tab", "blanks", "quotes"],
)
def test_every_usual_way_to_write_a_table_is_read(tmp_path: Path, data: bytes) -> None:
    table = read_table(table_of(tmp_path, data))
    assert table.header == ("frame", "state")
    rows = [tuple(table.field(row, name) for name in table.header) for _, row in table.rows]
    assert rows == [("a.png", "on"), ("b.png", "off")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the table is empty"),
        (b"\n \n,,\n", "the table is empty"),
        (b"a,b\n1,2\nx,caf\xe9\n", "line 3: cannot be read"),
        (b"a,b\n1,\0\n", "line 2: holds a NUL"),
        (b'a,b\n1,"2\n3,4\n', "line 2: is no CSV table"),
        (b"a,b\n" + b"x" * 200_000, "line 2: is no CSV table"),
    ],
    ids=["empty", "blank", "latin-1", "nul", "open quote", "huge field"],
)
def test_a_table_that_is_none_is_named_with_its_line(
    tmp_path: Path, data: bytes, words: str
) -> None:
    with pytest.raises(DataError, match=rf"labels\.csv.*{words}"):
        read_table(table_of(tmp_path, data))


def test_a_row_is_named_by_the_line_that_it_begins_in(tmp_path: Path) -> None:
    table = read_table(table_of(tmp_path, b'a,b\n"two\nlines",1\n\nx,2\n'))
    assert [line for line, _ in table.rows] == [2, 5]


@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_name_is_found_in_either_unicode_form_and_with_backslashes(
    tmp_path: Path, asked: str, stored: str
) -> None:
    name = "größe/Café.png"
    write(tmp_path / unicodedata.normalize(stored, name), picture(1))  # type: ignore[arg-type]
    wanted = unicodedata.normalize(asked, name)  # type: ignore[arg-type]
    for text in (wanted, wanted.replace("/", "\\")):
        assert named_file(tmp_path, text) is not None
        table_of(tmp_path, f"frame,time\n{text},5\n".encode())
        frame = open_source(f"folder:{tmp_path}?times=labels.csv").read()
        assert frame is not None
    assert named_file(tmp_path, "other.png") is None
    assert named_file(tmp_path, "") is None


def test_one_file_has_one_key() -> None:
    names = [".\\a\\b.png", "a/b.png", "./a//b.png", " a/b.png "]
    assert {name_key(name) for name in names} == {"a/b.png"}
