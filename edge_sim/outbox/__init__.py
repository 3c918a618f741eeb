"""Events wait on disk until every sink has them; one courier per sink brings them there."""

from __future__ import annotations

from edge_sim.outbox.counts import Bounds, OutboxCounts
from edge_sim.outbox.delivery import Courier, Delivery
from edge_sim.outbox.moving import take_over_previous
from edge_sim.outbox.store import Outbox, Waiting

__all__ = [
    "Bounds",
    "Courier",
    "Delivery",
    "Outbox",
    "OutboxCounts",
    "Waiting",
    "take_over_previous",
]
