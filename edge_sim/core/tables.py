"""CSV tables of users: rows with their lines, and the pictures that they name.

Tables come from spreadsheets, other systems and other disks: with `;` for commas, as UTF-16, with
backslashes in paths, and with letters in another Unicode form than the names of the files.
"""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from edge_sim.core.files import is_dir, is_file, printable, read_bounded, size_of
from edge_sim.errors import DataError

MAX_TABLE_BYTES = 256_000_000
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Table:
    """Table with a header.

    Args:
        header: Names of the columns, without blanks around them.
        rows: Line in the file and fields of each row that is not empty.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def field(self, row: tuple[str, ...], column: str) -> str:
        """Return a field of a row without blanks around it; empty where the row is shorter."""
        at = self.header.index(column)
        return row[at].strip() if at < len(row) else ""


def read_table(path: Path) -> Table:
    """Return the table in a CSV file.

    Raises:
        DataError: The file cannot be read, is no such table, or is empty.
    """
    name = printable(path)
    return parse_table(_content(path, name), name)


def parse_table(data: bytes, name: str) -> Table:
    """Return the table in the content of a CSV file; errors begin with `name`.

    Raises:
        DataError: It is no such table, or empty.
    """
    text = _text(data, name)
    first = text.lstrip().partition("\n")[0]
    delimiter = "," if "," in first else max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[int, tuple[str, ...]]] = []
    before = 0
    try:
        for row in reader:
            if any(field.strip() for field in row):
                lines.append((before + 1, tuple(row)))
            before = reader.line_num
    except csv.Error as error:
        raise DataError(f"{name}, line {before + 1}: is no CSV table ({error})") from error
    if not lines:
        raise DataError(f"{name}: the table is empty: there are no rows")
    header = tuple(field.strip() for field in lines[0][1])
    return Table(header, tuple(lines[1:]))


def named_file(folder: Path, name: str) -> Path | None:
    """Return the file with the `name` in a table, relative to `folder`; None if there is none.

    Raises:
        AccessError: The file system denies access.
    """
    for text in dict.fromkeys((name, name.replace("\\", "/"))):
        for form in (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
            if form and is_file(folder / form):
                return folder / form
    return None


def name_key(name: str) -> str:
    """Return a form of a relative path under which one file has one name."""
    text = unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
    return "/".join(part for part in text.split("/") if part not in ("", "."))


def _content(path: Path, name: str) -> bytes:
    if not is_file(path):
        reason = "Is a directory" if is_dir(path) else "No such file"
        raise DataError(f"{name}: cannot be read ({reason})")
    if size_of(path) > MAX_TABLE_BYTES:
        raise DataError(f"{name}: is larger than {MAX_TABLE_BYTES} bytes")
    try:
        return read_bounded(path, MAX_TABLE_BYTES)
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})") from error


def _text(data: bytes, name: str) -> str:
    has_line_end = b"\n\0" in data or b"\0\n" in data
    is_wide = has_line_end and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{name}, line {line}: cannot be read: no CSV table in UTF-8, save it as one"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{name}, line {line}: holds a NUL; save the table as CSV in UTF-8")
    return text
