"""Feeds inputs to a target and notices what must not happen: tracebacks, hangs, stray files."""

from __future__ import annotations

import logging
import os
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
BUSY_S, HANG_S = 5, 120
"""No input takes more than some hundredths of a second: CPU time, and time on the wall, which on a
busy machine may be a thousand times as long."""
_LONGEST = 4_000
"""Characters of a failure that are told."""
_CHUNK = 2_000
"""Hypothesis remembers every input of a run, so that a run must not be too long."""


class BrokenPromiseError(AssertionError):
    """Something that must not happen, whatever the input."""


@dataclass
class Tally:
    """What came of the inputs of one target."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def feed(
    strategy: SearchStrategy[T], once: Callable[[T], str], *, count: int, seed_of_all: int
) -> Tally:
    """Call `once` with `count` inputs; it returns the kind of the outcome, or raises.

    After a failure, the smallest input that fails alike is kept, and the next chunk begins.
    """
    tally = Tally()

    def one(value: T) -> None:
        tally.inputs += 1
        with _time_limit():
            tally.outcomes[once(value)] += 1

    chunk = 0
    while tally.inputs < count and chunk <= 2 * count / _CHUNK + 10:
        chunk += 1
        wanted = min(_CHUNK, count - tally.inputs)
        run = settings(
            max_examples=wanted,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )(given(strategy)(one))
        try:
            seed(seed_of_all * 100_000 + chunk)(run)()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            tally.failures.append(_told(error))
    return tally


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Collect what goes wrong beside the input: tracebacks in logs or threads, files outside.

    Args:
        folder: All that may be written lies in it; its parent is looked at before and after.
    """
    found: list[str] = []
    handler = _Tracebacks(found)
    root = logging.getLogger()
    root.addHandler(handler)
    hook, threading.excepthook = threading.excepthook, lambda args: found.append(str(args))
    outside = _files(folder.parent, folder)
    try:
        yield found
    finally:
        threading.excepthook = hook
        root.removeHandler(handler)
        found += [f"written outside: {path}" for path in _files(folder.parent, folder) - outside]


class _Tracebacks(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._found.append(f"logged with a traceback: {record.getMessage()}")
        elif "\n" in record.getMessage():
            self._found.append(f"logged on two lines: {record.getMessage()!r}")


def _files(folder: Path, but: Path) -> set[Path]:
    found: set[Path] = set()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) != but]
        found |= {Path(place, name) for name in (*folders, *files)}
    return found


def _told(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    notes = " ".join(getattr(error, "__notes__", ()))
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"{type(error).__name__} at {place}: {error} {notes}"[:_LONGEST]


@contextmanager
def _time_limit() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001
        raise BrokenPromiseError(f"no answer within {BUSY_S} s of work or {HANG_S} s of waiting")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    limits = (
        (signal.SIGALRM, signal.ITIMER_REAL, HANG_S),
        (signal.SIGPROF, signal.ITIMER_PROF, BUSY_S),
    )
    former = {number: signal.signal(number, late) for number, _, _ in limits}
    for _, timer, limit_s in limits:
        signal.setitimer(timer, limit_s)
    try:
        yield
    finally:
        for number, timer, _ in limits:
            signal.setitimer(timer, 0.0)
            signal.signal(number, former[number])
