"""The memory that a long-running process holds without need."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Give memory that is free but still held back to the system, where the C library can.

    Fitting a gallery of hundreds of references takes some megabytes for a moment; glibc would keep
    them for as long as the process runs. Takes a millisecond or two.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
