"""State file: what a device remembers across restarts, in one small file that is always whole.

The state reported last is not taken from here if the outbox knows it: there it is written in the
same commit as the event. So a power cut between the two can neither lose an event nor repeat one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from edge_sim.core.events import StateChanged, unix_time_s, utc_text
from edge_sim.core.files import write_whole
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.decision.drift import DriftFollower, DriftMemory
from edge_sim.decision.pipeline import Watch
from edge_sim.decision.rules import RuleFollower, RuleMemory
from edge_sim.decision.scene_problems import ProblemMemory, SceneHealth
from edge_sim.decision.thresholds import Drift, Memory
from edge_sim.runtime.assembly import Device
from edge_sim.runtime.config import Config
from edge_sim.runtime.health.status import OpenIssues, StatusBoard

logger = logging.getLogger(__name__)

_MAX_BYTES = 4_000_000


class KeptDrift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the scores of a state have moved in one condition; see `deciding.levels.Drift`."""

    state: str
    condition: str
    shift: float
    spread: float | None
    looks: int


class WatchMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State, learned levels and reports of one watch; times count while the device runs."""

    state: str | None = None
    reason: str | None = None
    in_state_s: float = 0.0
    drifts: tuple[KeptDrift, ...] = ()
    problems: tuple[ProblemMemory, ...] = ()
    rules: RuleMemory | None = None
    scores: DriftMemory | None = None


class DeviceMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file."""

    schema: int = 1
    watches: dict[str, WatchMemory] = msgspec.field(default_factory=dict)
    lost_sources: tuple[str, ...] = ()
    sensitivities: dict[str, float] = msgspec.field(default_factory=dict)


@runtime_checkable
class Remembering(Protocol):
    """A decider that can be carried over a restart."""

    def snapshot(self) -> Memory:
        """Return what was learned."""

    def restore(self, memory: Memory) -> None:
        """Take over what an earlier decider learned."""


class StateFile:
    """The file; written whole, so that a power cut leaves the old or the new content.

    Args:
        path: Of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written: bytes | None = None
        self.written_bytes = 0
        """Since the start; for the write budget."""
        self._faults = 0

    def load(self) -> DeviceMemory:
        """Return what is in the file; nothing if there is none. A damaged file is moved aside."""
        if self._path is None or not self._path.exists():
            return DeviceMemory()
        try:
            with self._path.open("rb") as stream:
                content = stream.read(_MAX_BYTES)
            return msgspec.json.decode(content, type=DeviceMemory)
        except (OSError, msgspec.DecodeError) as error:
            aside = self._path.with_suffix(".damaged")
            logger.error("%s cannot be read (%s); moved to %s", self._path, error, aside.name)
            try:
                self._path.replace(aside)
            except OSError as fault:
                logger.error("%s cannot be moved: %s", self._path, fault)
            return DeviceMemory()

    def save(self, memory: DeviceMemory) -> bool:
        """Write `memory` if it differs from what was written last; return whether it is on disk."""
        if self._path is None:
            return False
        content = msgspec.json.encode(memory)
        if content == self._written:
            return True
        try:
            write_whole(self._path, content)
        except OSError as error:
            self._faults += 1
            if self._faults % 100 == 1:
                logger.error("%s: %s (fault %d)", self._path, error.strerror, self._faults)
            return False
        self._faults = 0
        self._written = content
        self.written_bytes += len(content)
        return True


def memory_of(watch: Watch, in_state_s: float) -> WatchMemory:
    """Return what `watch` says and has learned."""
    decider = watch.decider
    memory = decider.snapshot() if isinstance(decider, Remembering) else Memory()
    state = decider.state
    drifts = tuple(
        KeptDrift(name, condition, drift.shift, drift.spread, drift.looks)
        for (name, condition), drift in sorted(memory.drifts.items())
    )
    reason = state.reason.value if state.reason else None
    return WatchMemory(state.name, reason, round(in_state_s, 1), drifts)


def recall(watch: Watch, memory: WatchMemory) -> None:
    """Let `watch` go on as `memory` says; a state that it does not have any more is ignored."""
    if not isinstance(watch.decider, Remembering):
        return
    drifts = {
        (item.state, item.condition): Drift(item.shift, item.spread, item.looks)
        for item in memory.drifts
    }
    try:
        watch.decider.restore(Memory(memory.state, memory.reason, drifts))
    except ValueError as error:
        logger.warning(
            "watch %s starts anew: what it remembered makes no sense (%s)", watch.name, error
        )


def reconciled(memory: WatchMemory, reported: StateChanged | None) -> WatchMemory:
    """Return `memory` as the last event says: what was reported is what was said."""
    if reported is None or (memory.state, memory.reason) == (reported.after, reported.reason):
        return memory
    rules = memory.rules
    if rules is not None and reported.after not in (UNKNOWN, rules.state):
        rules = RuleMemory(reported.after, unix_time_s(reported.at))
    return msgspec.structs.replace(
        memory, state=reported.after, reason=reported.reason, in_state_s=0.0, rules=rules
    )


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
            problems = told if follower.can_report or told else None
            standing = replace(standing, problems=problems)
        elif isinstance(follower, RuleFollower):
            can_be = follower.watches_overdue or follower.is_overdue
            overdue = follower.is_overdue if can_be else None
            standing = replace(standing, overdue=overdue)
        elif isinstance(follower, DriftFollower):
            standing = replace(standing, drifts=follower.readings)
    return standing


class StateStore:
    """Knows what every watch last said, and writes it down.

    Args:
        path: Of the state file; None keeps nothing.
        board: Knows how long states last.
    """

    def __init__(self, path: Path | None, board: StatusBoard) -> None:
        self._file = StateFile(path)
        self._board = board
        self.sensitivities: dict[str, float] = {}
        """Set by people while running; they go before the configuration."""

    @property
    def written_bytes(self) -> int:
        """Since the start."""
        return self._file.written_bytes

    def load(self, latest: Mapping[str, StateChanged]) -> DeviceMemory:
        """Return what was before the start; `latest` is what the outbox knows of it."""
        memory = self._file.load()
        names = memory.watches.keys() | latest.keys()
        watches = {
            name: reconciled(memory.watches.get(name, WatchMemory()), latest.get(name))
            for name in names
        }
        self.sensitivities = {
            name: value for name, value in memory.sensitivities.items() if 0.0 <= value <= 1.0
        }
        return msgspec.structs.replace(memory, watches=watches)

    def restore(self, device: Device, memory: DeviceMemory) -> None:
        """Let the watches of `device` go on where they were."""
        for name, watch in device.watches.items():
            known = memory.watches.get(name)
            if known is None or known.state is None:
                continue
            state = _state(known)
            if state is None:
                logger.warning("watch %s starts anew: it remembered no state that is one", name)
                continue
            recall(watch, known)
            watch.recall_time(known.in_state_s)
            recall_followed(watch, known)
            self._board.recall(name, state, known.in_state_s)
        for name, lane in device.lanes.items():
            if name in memory.lost_sources and not lane.is_lost:
                lane.resume_lost()

    def current(self, device: Device) -> DeviceMemory:
        """Return what is to be remembered now."""
        watches = {
            name: with_followed(memory_of(watch, self._board.in_state_s(name)), watch)
            for name, watch in device.watches.items()
        }
        lost = tuple(name for name, lane in device.lanes.items() if lane.is_lost)
        return DeviceMemory(
            watches=watches, lost_sources=lost, sensitivities=dict(self.sensitivities)
        )

    def save(self, device: Device) -> bool:
        """Write everything down; return whether it is on disk."""
        return self._file.save(self.current(device))


def with_sensitivities(config: Config, sensitivities: Mapping[str, float]) -> Config:
    """Return `config` with other sensitivities of the watches that it has."""
    watches = {
        name: msgspec.structs.replace(watch, sensitivity=sensitivities[name])
        if name in sensitivities
        else watch
        for name, watch in config.watches.items()
    }
    return msgspec.structs.replace(config, watches=watches)


def _state(memory: WatchMemory) -> State | None:
    try:
        reason = None if memory.reason is None else UnknownReason(memory.reason)
        return State(memory.state or UNKNOWN, reason)
    except ValueError:
        return None
