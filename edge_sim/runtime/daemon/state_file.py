"""State file: memory of a device across restarts, in one small file that is always whole.

The last reported state is not taken from here if the outbox knows it: there it is written in the
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
from edge_sim.core.files import exists, is_dir, read_bounded, write_whole
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.decision.drift import DriftFollower, DriftMemory
from edge_sim.decision.pipeline import Watch
from edge_sim.decision.rules import RuleFollower, RuleMemory
from edge_sim.decision.scene_problems import ProblemMemory, SceneHealth
from edge_sim.decision.thresholds import Drift, Memory
from edge_sim.errors import ConfigError
from edge_sim.runtime.assembly import Device
from edge_sim.runtime.config import Config
from edge_sim.runtime.health.status import OpenIssues, StatusBoard

logger = logging.getLogger(__name__)

_MAX_BYTES = 4_000_000


class KeptDrift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Drift of the scores of a state in one light condition; see `decision.thresholds.Drift`."""

    state: str
    condition: str
    shift: float
    spread: float | None
    observations: int = msgspec.field(name="looks")


class WatchMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State, learned thresholds and reports of one watch; times count while the device runs."""

    state: str | None = None
    reason: str | None = None
    in_state_s: float = 0.0
    drifts: tuple[KeptDrift, ...] = ()
    problems: tuple[ProblemMemory, ...] = ()
    rules: RuleMemory | None = None
    scores: DriftMemory | None = None


class DeviceMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of the file."""

    schema: int = 1
    watches: dict[str, WatchMemory] = msgspec.field(default_factory=dict)
    lost_sources: tuple[str, ...] = ()
    sensitivities: dict[str, float] = msgspec.field(default_factory=dict)


@runtime_checkable
class Remembering(Protocol):
    """Decider whose learned state can be kept over a restart."""

    def snapshot(self) -> Memory:
        """Return the learned state."""

    def restore(self, memory: Memory) -> None:
        """Continue from the learned state of an earlier decider."""


class StateFile:
    """State file, written whole, so that a power cut leaves the old or the new content.

    Args:
        path: Path of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written: bytes | None = None
        self.written_bytes = 0
        """Bytes written since the start, for the write budget."""
        self._faults = 0

    def load(self) -> DeviceMemory:
        """Return the content of the file; empty if there is none. A damaged file is moved aside.

        Raises:
            ConfigError: A folder lies in its place.
        """
        if self._path is None or not exists(self._path):
            return DeviceMemory()
        if is_dir(self._path):
            raise ConfigError(f"daemon.state: {self._path} is a folder; name a file")
        try:
            content = read_bounded(self._path, _MAX_BYTES)
            return msgspec.json.decode(content, type=DeviceMemory)
        except (OSError, msgspec.DecodeError) as error:
            damaged = self._path.with_suffix(".damaged")
            logger.error("%s cannot be read (%s); moved to %s", self._path, error, damaged.name)
            try:
                self._path.replace(damaged)
            except OSError as fault:
                logger.error("%s cannot be moved: %s", self._path, fault)
            return DeviceMemory()

    def save(self, memory: DeviceMemory) -> bool:
        """Write `memory` if it differs from the last content; return whether it is on disk."""
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
    """Return the state and the learned thresholds of `watch`."""
    decider = watch.decider
    memory = decider.snapshot() if isinstance(decider, Remembering) else Memory()
    state = decider.state
    drifts = tuple(
        KeptDrift(name, condition, drift.shift, drift.spread, drift.observations)
        for (name, condition), drift in sorted(memory.drifts.items())
    )
    reason = state.reason.value if state.reason else None
    return WatchMemory(state.name, reason, round(in_state_s, 1), drifts)


def restore_decider(watch: Watch, memory: WatchMemory) -> None:
    """Restore the decider of `watch`; a state that it no longer has is ignored."""
    if not isinstance(watch.decider, Remembering):
        return
    drifts = {
        (item.state, item.condition): Drift(item.shift, item.spread, item.observations)
        for item in memory.drifts
    }
    try:
        watch.decider.restore(Memory(memory.state, memory.reason, drifts))
    except ValueError as error:
        logger.warning(
            "watch %s starts anew: its saved state cannot be used (%s)", watch.name, error
        )


def reconciled(memory: WatchMemory, reported: StateChanged | None) -> WatchMemory:
    """Return `memory` with the state of the last reported event."""
    if reported is None or (memory.state, memory.reason) == (reported.after, reported.reason):
        return memory
    rules = memory.rules
    if rules is not None and reported.after not in (UNKNOWN, rules.state):
        rules = RuleMemory(reported.after, unix_time_s(reported.at))
    return msgspec.structs.replace(
        memory, state=reported.after, reason=reported.reason, in_state_s=0.0, rules=rules
    )


def with_followed(memory: WatchMemory, watch: Watch) -> WatchMemory:
    """Return `memory` with the state of the followers of `watch`."""
    for follower in watch.followers:
        if isinstance(follower, SceneHealth):
            memory = msgspec.structs.replace(memory, problems=follower.snapshot())
        elif isinstance(follower, RuleFollower):
            memory = msgspec.structs.replace(memory, rules=follower.snapshot())
        elif isinstance(follower, DriftFollower):
            memory = msgspec.structs.replace(memory, scores=follower.snapshot())
    return memory


def restore_followers(watch: Watch, memory: WatchMemory) -> None:
    """Restore the followers of `watch`."""
    for follower in watch.followers:
        if isinstance(follower, SceneHealth):
            follower.restore(memory.problems)
        elif isinstance(follower, RuleFollower) and memory.rules is not None:
            follower.restore(memory.rules)
        elif isinstance(follower, DriftFollower) and memory.scores is not None:
            follower.restore(memory.scores)


def open_issues(watch: Watch) -> OpenIssues:
    """Return the open issues that the followers of `watch` report."""
    issues = OpenIssues()
    for follower in watch.followers:
        if isinstance(follower, SceneHealth):
            reported = {
                problem.value: utc_text(at_s) for problem, at_s in follower.reported.items()
            }
            problems = reported if follower.can_report or reported else None
            issues = replace(issues, problems=problems)
        elif isinstance(follower, RuleFollower):
            can_be = follower.watches_overdue or follower.is_overdue
            overdue = follower.is_overdue if can_be else None
            issues = replace(issues, overdue=overdue)
        elif isinstance(follower, DriftFollower):
            issues = replace(issues, drifts=follower.readings)
    return issues


class StateStore:
    """Reader and writer of the state of a device.

    Args:
        path: Path of the state file; None keeps nothing.
        board: Status board, for the time in each state.
    """

    def __init__(self, path: Path | None, board: StatusBoard) -> None:
        self._file = StateFile(path)
        self._board = board
        self.sensitivities: dict[str, float] = {}
        """Sensitivities set while running, by watch; they override the configuration."""

    @property
    def written_bytes(self) -> int:
        """Bytes written since the start."""
        return self._file.written_bytes

    def load(self, latest: Mapping[str, StateChanged]) -> DeviceMemory:
        """Return the saved state, with the last events of the outbox in `latest`."""
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
        """Restore the watches and sources of `device`."""
        for name, watch in device.watches.items():
            known = memory.watches.get(name)
            if known is None or known.state is None:
                continue
            state = _state(known)
            if state is None:
                logger.warning("watch %s starts anew: its saved state is no state", name)
                continue
            restore_decider(watch, known)
            watch.recall_time(known.in_state_s)
            restore_followers(watch, known)
            self._board.restore_state(name, state, known.in_state_s)
        for name, runner in device.runners.items():
            if name in memory.lost_sources and not runner.is_lost:
                runner.resume_lost()

    def current(self, device: Device) -> DeviceMemory:
        """Return the state to be saved."""
        watches = {
            name: with_followed(memory_of(watch, self._board.in_state_s(name)), watch)
            for name, watch in device.watches.items()
        }
        lost = tuple(name for name, runner in device.runners.items() if runner.is_lost)
        return DeviceMemory(
            watches=watches, lost_sources=lost, sensitivities=dict(self.sensitivities)
        )

    def save(self, device: Device) -> bool:
        """Write the state of `device`; return whether it is on disk."""
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
