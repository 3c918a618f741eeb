"""Whose turn it is: a fair share of the worker for every source, however slow the others are."""

from __future__ import annotations

from collections.abc import Iterable


class Turns:
    """Start-time fair queueing (Goyal, Vin, Cheng 1996) with equal weights.

    Everyone has a virtual time: the seconds of work it was given. Of those who are ready, the one
    with the least goes next. Who was not ready for a while does not save its seconds up.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._had_s = dict.fromkeys(names, 0.0)
        self._last_turn = dict.fromkeys(self._had_s, 0)
        self._now_s = 0.0
        self._turn = 0

    def pick(self, ready: Iterable[str]) -> str | None:
        """Return who of `ready` goes next; None if nobody is ready."""
        waiting = list(ready)
        if not waiting:
            return None
        chosen = min(waiting, key=self._rank)
        self._now_s = max(self._had_s.get(chosen, 0.0), self._now_s)
        self._turn += 1
        self._last_turn[chosen] = self._turn
        return chosen

    def charge(self, name: str, cost_s: float) -> None:
        """Note that the turn of `name` took `cost_s` seconds."""
        self._had_s[name] = max(self._had_s.get(name, 0.0), self._now_s) + max(cost_s, 0.0)

    def _rank(self, name: str) -> tuple[float, int]:
        # Among equals, the one that waits longest: turns that cost nothing go round as well.
        return max(self._had_s.get(name, 0.0), self._now_s), self._last_turn.get(name, 0)
