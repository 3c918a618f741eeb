"""ChangeEvidence: how strongly the looks speak for another state than the last one."""

from __future__ import annotations

import math

from edge_sim.domain import Match

_MOST_PER_LOOK = 3.0
"""One look weighs at most e^3 = 20 to 1, however sure it is of itself."""
_SLACK = 0.5
"""Taken from every look, so that a long row of doubtful ones (62 to 38) proves nothing."""
_NEVER_CERTAIN = 0.01


class CusumTest:
    """Page's cumulative sum (Biometrika 41, 1954) of the log odds of each other state.

    Every look adds the logarithm of how much more probable a state is than the one last said,
    less a slack; a sum never falls below zero. Three clear looks give 7.5. Looks that are hardly
    better than a coin take many more than three, which counting alone would not notice.

    Args:
        needed: Sum from which a change is believed.
    """

    def __init__(self, needed: float) -> None:
        self.needed = needed
        self._sums: dict[str, float] = {}

    @property
    def sums(self) -> dict[str, float]:
        """What speaks for each state so far, 0 and up; empty right after a change."""
        return dict(self._sums)

    def weigh(self, match: Match, last: str) -> None:
        """Add what one look says against the state `last`; nothing if it is not in numbers."""
        odds = {item.state: item.probability + _NEVER_CERTAIN for item in match.states}
        if not all(math.isfinite(probability) for probability in odds.values()):
            return
        before = odds.get(last, _NEVER_CERTAIN)
        for state, probability in odds.items():
            step = math.log(probability / before)
            step = min(max(step, -_MOST_PER_LOOK), _MOST_PER_LOOK) - _SLACK
            self._sums[state] = max(self._sums.get(state, 0.0) + step, 0.0)

    def forget(self) -> None:
        """Start anew."""
        self._sums.clear()
