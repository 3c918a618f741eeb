"""Rules: which state follows which, and how long a state lasts."""

from __future__ import annotations

import msgspec

from edge_sim.options import Name, Options, PositiveSeconds


class Rules(Options, frozen=True, forbid_unknown_fields=False):
    """What is known of the states of a watch; states that are not named may do anything.

    Args:
        allowed: State -> states that may follow it.
        min_duration_s: State -> seconds that it lasts at least.
        max_duration_s: State -> seconds after which it cannot still last.
        overdue_s: State -> seconds after which somebody wants to know.
        repeat_s: Seconds after which an overdue state is told again; None tells once.

    Raises:
        ValueError: A duration is not above 0, or a state cannot last as long as it must.
    """

    allowed: dict[Name, tuple[Name, ...]] = msgspec.field(default_factory=dict)
    min_duration_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    max_duration_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    overdue_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    repeat_s: PositiveSeconds | None = None

    def __post_init__(self) -> None:
        limits = (self.min_duration_s, self.max_duration_s, self.overdue_s)
        repeats = {} if self.repeat_s is None else {"repeat": self.repeat_s}
        for name, seconds in [item for table in (*limits, repeats) for item in table.items()]:
            if not seconds > 0.0:
                raise ValueError(f"a duration must be above 0, got {seconds} for {name}")
        for state, least_s in self.min_duration_s.items():
            if least_s > self.max_duration_s.get(state, least_s):
                raise ValueError(f"{state} cannot last {least_s} s at least and less at most")

    @property
    def states(self) -> frozenset[str]:
        """Every state that a rule names."""
        followers = [state for states in self.allowed.values() for state in states]
        tables = (self.allowed, self.min_duration_s, self.max_duration_s, self.overdue_s)
        return frozenset(followers).union(*tables)

    def allows(self, before: str, after: str) -> bool:
        """Return whether `after` may follow `before`."""
        followers = self.allowed.get(before)
        return followers is None or after in followers

    def is_too_short(self, state: str, lasted_s: float) -> bool:
        """Return whether `state` cannot be over after so long."""
        return lasted_s < self.min_duration_s.get(state, 0.0)


NO_RULES = Rules()
