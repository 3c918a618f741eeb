"""Waiting for what the kernel or another thread does without saying so."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as Signal

import pytest

_LOOKS, _PAUSE_S = 1000, 0.01


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` is true; fail the test if it does not become so."""
    never = Signal()
    for _ in range(_LOOKS):
        if condition():
            return
        never.wait(_PAUSE_S)
    pytest.fail("waited in vain")
