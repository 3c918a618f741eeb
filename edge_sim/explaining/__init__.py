"""Explaining: what is kept of an event, and the account of it in plain words."""

from __future__ import annotations

from edge_sim.explaining.account import (
    Account,
    StateRow,
    account_of,
    origin_text,
    said_text,
    where_text,
)
from edge_sim.explaining.keeping import LATEST, ExplanationFile, choose, find_explanation
from edge_sim.explaining.recording import Recorder
from edge_sim.explaining.records import (
    Explanation,
    ObservedState,
    SeenLook,
    configuration_digest,
    from_event,
    seen_look,
)

__all__ = [
    "LATEST",
    "Account",
    "Explanation",
    "ExplanationFile",
    "ObservedState",
    "Recorder",
    "SeenLook",
    "StateRow",
    "account_of",
    "choose",
    "configuration_digest",
    "find_explanation",
    "from_event",
    "origin_text",
    "said_text",
    "seen_look",
    "where_text",
]
