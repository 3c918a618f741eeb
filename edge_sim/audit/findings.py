"""What an audit finds: plain values, as they are printed in JSON."""

from __future__ import annotations

import msgspec


class Share(msgspec.Struct, frozen=True):
    """A part of `number` with its 95 % interval, 0 to 1."""

    value: float
    low: float
    high: float
    number: int


class Gap(msgspec.Struct, frozen=True):
    """Median lead of the own state, as a probability, -1 to 1, with its 95 % interval."""

    median: float
    low: float
    high: float


class PairFinding(msgspec.Struct, frozen=True):
    """How well two states are told apart in one light, each reference left out in turn.

    `condition` is `any` over all lights. `accuracy` and `gap` are null where no reference can be
    judged, because its state has no other.
    """

    first: str
    second: str
    condition: str
    accuracy: Share | None
    gap: Gap | None


class Suspect(msgspec.Struct, frozen=True):
    """A reference that looks like another state: its label may be wrong.

    `probability` is that of the state that it looks like; null for the only reference of its state
    in its light, which is as near to those of the other state as they are to each other.
    """

    id: str
    state: str
    looks_like: str
    nearest: str
    probability: float | None = None


class Redundant(msgspec.Struct, frozen=True):
    """A reference that shows the look of another one."""

    id: str
    covered_by: str
    distance: float


class Contradiction(msgspec.Struct, frozen=True):
    """Two references of different states that show the same picture: one of them is wrong."""

    id: str
    state: str
    same_as: str
    other_state: str


class CoverageCell(msgspec.Struct, frozen=True):
    """References of one state in one light; `looks` counts those that are not redundant."""

    state: str
    condition: str
    references: int
    looks: int
    enough: bool


class Audit(msgspec.Struct, frozen=True):
    """All findings on one watch; `next_picture` is one sentence, the best thing to do next."""

    watch: str
    revision: int
    references: int
    sure: Share | None
    pairs: tuple[PairFinding, ...]
    cells: tuple[CoverageCell, ...]
    suspects: tuple[Suspect, ...]
    redundant: tuple[Redundant, ...]
    contradictions: tuple[Contradiction, ...]
    next_picture: str
