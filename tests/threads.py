"""What threads a test began, whatever those before it left to end by themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def none_left(limit_s: float = 10.0) -> Iterator[None]:
    """Every thread begun within has to end, at the latest so long after it."""
    before = set(threading.enumerate())
    yield
    begun = [thread for thread in threading.enumerate() if thread not in before]
    for thread in begun:
        thread.join(limit_s)
    assert [thread.name for thread in begun if thread.is_alive()] == []
