"""Keeping the runtimes' greeting off the user's terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
"""Written by C++ code straight to file descriptor 2 when the first interpreter is built."""

_STDERR = 2


@contextlib.contextmanager
def greeting_hidden() -> Iterator[None]:
    """Drop the greeting from file descriptor 2 inside the block; pass every other byte on after it.

    For the few milliseconds of building an interpreter. What other threads write to stderr
    meanwhile comes late but is not lost. Where there is no stderr or no memfd, nothing is done.
    """
    try:
        caught = os.memfd_create("stderr")
    except (AttributeError, OSError):
        yield
        return
    try:
        with _diverted(caught):
            yield
    finally:
        os.lseek(caught, 0, os.SEEK_SET)
        with os.fdopen(caught, "rb") as lines:
            rest = b"".join(line for line in lines if line.strip() != GREETING)
        if rest:
            os.write(_STDERR, rest)


@contextlib.contextmanager
def _diverted(target: int) -> Iterator[None]:
    try:
        saved = os.dup(_STDERR)
    except OSError:  # A daemon may have closed it.
        yield
        return
    os.dup2(target, _STDERR)
    try:
        yield
    finally:
        os.dup2(saved, _STDERR)
        os.close(saved)
