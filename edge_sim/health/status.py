"""What is known of sources and watches at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_sim.domain import State
from edge_sim.drift import DriftReading

INFERENCE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper limits of a histogram, seconds."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source.

    Args:
        name: As configured.
        up: Whether it gives frames.
        frames: Looked at since the start.
        losses: How often it was lost.
        frame_at_s: Monotonic time of the last frame; None before the first.
        frame_unix_s: Time of day of it, seconds since 1970.
        error: Why it is lost; empty if it is not.
        dropped: Frames that newer ones replaced.
        rejected: Reads that gave no picture.
        repeated: Frames exactly like the one before.
        hanging: Threads that hang in the driver now.
    """

    name: str
    up: bool = False
    frames: int = 0
    losses: int = 0
    frame_at_s: float | None = None
    frame_unix_s: float | None = None
    error: str = ""
    dropped: int = 0
    rejected: int = 0
    repeated: int = 0
    hanging: int = 0


@dataclass(frozen=True, slots=True)
class OpenIssues:
    """What a watch has told besides its state, and is not over.

    Args:
        problems: Trouble with the picture -> since when (UTC); None if none is ever told.
        overdue: Whether its state lasts too long; None if no state can.
        drifts: Where the scores of each state and light stand.
    """

    problems: Mapping[str, str] | None = None
    overdue: bool | None = None
    drifts: tuple[DriftReading, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """One watch.

    Args:
        name: As configured.
        source: Name of its source.
        states: That it can say, without `unknown`.
        state: That it says; None before the first look.
        entered_at_s: Monotonic time since when it says so, the time before a restart included.
        probability: Of each state at the last look.
        combined: Best combined score of each state at the last look.
        margin: Of the last look.
        condition: Light regime of the last look.
        looks: Since the start.
        skipped: Of them, those that needed no embedding.
        changes: (before, after) -> how often, since the start.
        unknown_s: Reason -> seconds, since the start.
        revision: Of its gallery.
        looked_at_s: Frame time of the last look; None before the first.
        standing: What else it has told.
    """

    name: str
    source: str
    states: tuple[str, ...]
    state: State | None = None
    entered_at_s: float = 0.0
    probability: Mapping[str, float] = field(default_factory=dict)
    combined: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    condition: str = ""
    looks: int = 0
    skipped: int = 0
    changes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown_s: Mapping[str, float] = field(default_factory=dict)
    revision: int = 0
    looked_at_s: float | None = None
    standing: OpenIssues = OpenIssues()


@dataclass(frozen=True, slots=True)
class Durations:
    """A histogram: `counts[i]` lie between two limits of `INFERENCE_BUCKETS_S`, the rest last."""

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the device works, and if not, why.

    Args:
        alive: No part of the daemon is broken.
        ready: It is alive, has processed a frame, and a source gives frames.
        faults: One line each.
        stuck: Only a restart helps: systemd's watchdog is fed no more.
    """

    alive: bool
    ready: bool
    faults: tuple[str, ...]
    stuck: bool = False
