"""The sections of the configuration for what is written down of decisions."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge_sim.options import Megabytes, Options, Seconds


class ExplanationsConfig(Options, frozen=True):
    """What is kept of each change of state, for `edge-sim explain`."""

    path: str | None = "explanations.jsonl"
    max_mb: Megabytes = 8.0
    looks: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 40
    pictures: bool = False


class ScoreLogConfig(Options, frozen=True):
    """What every watch saw, for `edge-sim stats` and `edge-sim replay`."""

    path: str | None = None
    every_s: Seconds = 60.0
    max_mb: Megabytes = 20.0
