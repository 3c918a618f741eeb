"""Rules: what a user knows of the states of a watch, and what is told when it does not hold."""

from __future__ import annotations

from edge_sim.rules.following import RuleFollower, RuleMemory
from edge_sim.rules.rules import NO_RULES, Rules
from edge_sim.rules.timing import TimeInState

__all__ = ["NO_RULES", "RuleFollower", "RuleMemory", "Rules", "TimeInState"]
