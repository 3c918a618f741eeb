"""Stay: for how long a watch has been seen in the state that it said last."""

from __future__ import annotations

from edge_sim.domain import UNKNOWN, Doubt, Observation, State, UnknownReason
from edge_sim.rules import Rules

_SEEING = frozenset({UnknownReason.NOVEL, UnknownReason.AMBIGUOUS})
"""Reasons of `unknown` with which the thing itself was seen, though not understood."""


class DwellTimer:
    """The last state said, since when it was entered, and whether it was watched all along.

    While the picture was dark, covered or another view, or nothing was looked at, anything may
    have happened: then no change is implausible.
    """

    def __init__(self) -> None:
        self._state: str | None = None
        self._since_s: float | None = None
        self._seen = False

    def look(self, look: Observation) -> None:
        """Take a look in, before it decides anything."""
        match = look.match
        if match is not None and look.impediment is None and match.best.state == self._state:
            self._seen = True

    def say(self, said: State, at_s: float | None) -> None:
        """Note what is said from now on; `at_s` is None where that began before."""
        if said.name == UNKNOWN:
            self._seen = self._seen and said.reason in _SEEING
        elif said.name != self._state:
            self._state, self._since_s, self._seen = said.name, at_s, at_s is not None

    def lose_sight(self) -> None:
        """Note that nothing was seen for a while; how long it lasted is not known either."""
        self._seen = False
        self._since_s = None

    def doubts_about(self, after: str, at_s: float, rules: Rules) -> tuple[Doubt, ...]:
        """Return what `rules` have against a change to `after` now."""
        if self._state is None or after in (self._state, UNKNOWN) or not self._seen:
            return ()
        found = []
        if not rules.allows(self._state, after):
            found.append(Doubt.NOT_ALLOWED)
        if self._since_s is not None and rules.is_too_short(self._state, at_s - self._since_s):
            found.append(Doubt.TOO_SHORT)
        return tuple(found)
