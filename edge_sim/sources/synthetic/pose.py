"""Where the moving part of a scene stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pose:
    """What a scene draws.

    Args:
        level: 0 is the scene's first state, 1 the second, between them it moves.
        variant: Which of many like pictures of a state: another heap, another car.
        passage: 0 to 1 through a transition, for those who cause it (a hand, a cat); None at rest.
        rising: Whether the transition goes from the first state to the second.
    """

    level: float
    variant: int = 0
    passage: float | None = None
    rising: bool = True
