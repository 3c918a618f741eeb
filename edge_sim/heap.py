"""The memory that a long-running process holds without need."""

from __future__ import annotations

import contextlib
import ctypes

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def share_one() -> None:
    """Let all threads begun from now on take memory from one heap, where the C library can.

    glibc gives up to eight per core, and each holds on to what its threads once needed.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Give memory that is free but still held back to the system, where the C library can.

    Fitting a gallery of hundreds of references takes some megabytes for a moment; glibc would keep
    them for as long as the process runs. Takes a millisecond or two.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
