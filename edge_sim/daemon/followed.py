"""What the followers of a watch know: carried over restarts, and shown."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from edge_sim.daemon.memory import WatchMemory
from edge_sim.drift import DriftFollower
from edge_sim.events import utc_text
from edge_sim.health.status import OpenIssues
from edge_sim.pipeline import Watch
from edge_sim.problems import SceneHealth
from edge_sim.rules import RuleFollower


def with_followed(memory: WatchMemory, watch: Watch) -> WatchMemory:
    """Return `memory` with what the followers of `watch` know."""
    for follower in watch.followers:
        if isinstance(follower, SceneHealth):
            memory = msgspec.structs.replace(memory, problems=follower.snapshot())
        elif isinstance(follower, RuleFollower):
            memory = msgspec.structs.replace(memory, rules=follower.snapshot())
        elif isinstance(follower, DriftFollower):
            memory = msgspec.structs.replace(memory, scores=follower.snapshot())
    return memory


def recall_followed(watch: Watch, memory: WatchMemory) -> None:
    """Let the followers of `watch` go on as `memory` says."""
    for follower in watch.followers:
        if isinstance(follower, SceneHealth):
            follower.restore(memory.problems)
        elif isinstance(follower, RuleFollower) and memory.rules is not None:
            follower.restore(memory.rules)
        elif isinstance(follower, DriftFollower) and memory.scores is not None:
            follower.restore(memory.scores)


def standing_of(watch: Watch) -> OpenIssues:
    """Return what the followers of `watch` say now."""
    standing = OpenIssues()
    for follower in watch.followers:
        if isinstance(follower, SceneHealth):
            told = {problem.value: utc_text(at_s) for problem, at_s in follower.told.items()}
            problems = told if follower.can_tell or told else None
            standing = replace(standing, problems=problems)
        elif isinstance(follower, RuleFollower):
            can_be = follower.watches_overdue or follower.is_overdue
            overdue = follower.is_overdue if can_be else None
            standing = replace(standing, overdue=overdue)
        elif isinstance(follower, DriftFollower):
            standing = replace(standing, drifts=follower.readings)
    return standing
