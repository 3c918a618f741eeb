"""Tables, JSON and progress: results on stdout, the rest on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

import msgspec

from edge_sim.core.files import printable

T = TypeVar("T")


def print_json(value: Any) -> None:
    """Print a msgspec struct, dict or list as indented JSON on stdout."""
    print(msgspec.json.format(json_of(value), indent=2).decode())


def print_json_line(value: Any) -> None:
    """Print a msgspec struct, dict or list as one line of JSON on stdout, at once."""
    print(json_of(value).decode(), flush=True)


def json_of(value: Any) -> bytes:
    """Return a value as JSON; file names that are not UTF-8 are escaped."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(msgspec.to_builtins(value)))


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_as_text(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_text(item) for item in value]
    return value


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headers, columns aligned; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(cells) and all(_is_number(row[column]) for row in cells)
        for column in range(len(headers))
    ]
    widths = [
        max([len(header), *(len(row[column]) for row in cells)])
        for column, header in enumerate(headers)
    ]
    for row in [list(headers), *cells]:
        fields = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        )
        print("  ".join(fields).rstrip())


def say(message: str) -> None:
    """Print one line of the result on stdout; control characters in names are escaped."""
    print(printable(message), flush=True)


def note(message: str) -> None:
    """Print one line for people on stderr; control characters in names are escaped."""
    print(printable(message), file=sys.stderr, flush=True)


def progress(
    items: Iterable[T], total: int | None, label: str, *, every_s: float | None = None
) -> Iterator[T]:
    """Yield `items` and draw a bar on stderr while it is a terminal.

    Args:
        items: What is worked on.
        total: Number of items; None if it is not known.
        label: Name of the work.
        every_s: Seconds between lines where stderr is no terminal; None is silent there.
    """
    stream = sys.stderr
    if not stream.isatty():
        yield from items if every_s is None else _in_lines(items, total, label, every_s)
        return
    started_s = time.monotonic()
    drawn_s = 0.0
    done = 0
    for item in items:
        yield item
        done += 1
        now_s = time.monotonic()
        if now_s - drawn_s >= 0.1 or done == total:
            drawn_s = now_s
            _draw(stream, label, done, total, now_s - started_s)
    stream.write("\n" if done else "")
    stream.flush()


def _in_lines(items: Iterable[T], total: int | None, label: str, every_s: float) -> Iterator[T]:
    started_s = printed_s = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now_s = time.monotonic()
        if now_s - printed_s >= every_s:
            printed_s = now_s
            note(f"{label} {_rate_text(done, total, now_s - started_s)}")


def _rate_text(done: int, total: int | None, elapsed_s: float) -> str:
    """Return the number done with its rate, and the time that is left."""
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    if not total:
        return f"{done}  {rate:.0f}/s"
    left_s = (total - done) / rate if rate else 0.0
    return f"{done}/{total}  {rate:.0f}/s  {left_s:.0f} s left"


def graph_progress(*, every_s: float) -> Callable[[int, int], None]:
    """Return a function that shows how many rows of all are in the file of an index.

    Args:
        every_s: Seconds between lines where stderr is no terminal.
    """
    started_s = printed_s = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal printed_s
        stream, now_s = sys.stderr, time.monotonic()
        if stream.isatty():
            _draw(stream, "index", done, total, now_s - started_s)
            stream.write("\n" if done >= total else "")
        elif now_s - printed_s >= every_s:
            printed_s = now_s
            note(f"index {_rate_text(done, total, now_s - started_s)}")

    return show


@contextmanager
def byte_progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function that draws bytes done, of how many in all, while stderr is a terminal."""
    stream = sys.stderr
    started_s = time.monotonic()
    drawn_s = 0.0
    is_begun = False

    def draw(done: int, total: int | None) -> None:
        nonlocal drawn_s, is_begun
        now_s = time.monotonic()
        if not stream.isatty() or (now_s - drawn_s < 0.1 and done != total):
            return
        drawn_s = now_s
        is_begun = True
        rate = done / 1e6 / max(now_s - started_s, 1e-3)
        whole = f"{done / 1e6:.1f}"
        if total:
            filled = min(30, 30 * done // total)
            whole = f"[{'#' * filled}{'-' * (30 - filled)}] {whole}/{total / 1e6:.1f}"
        stream.write(f"\r{label} {whole} MB  {rate:.1f} MB/s\x1b[K")
        stream.flush()

    try:
        yield draw
    finally:
        stream.write("\n" if is_begun else "")
        stream.flush()


def _draw(stream: TextIO, label: str, done: int, total: int | None, elapsed_s: float) -> None:
    bar = ""
    if total:
        filled = min(30, 30 * done // total)
        bar = f"[{'#' * filled}{'-' * (30 - filled)}] "
    stream.write(f"\r{label} {bar}{_rate_text(done, total, elapsed_s)}\x1b[K")
    stream.flush()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return printable(str(value))


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace("-", "", 1).isdigit()
