"""Carries the watches over restarts and reloads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge_sim.config import Config
from edge_sim.daemon.followed import recall_followed, with_followed
from edge_sim.daemon.memory import (
    DeviceMemory,
    StateFile,
    WatchMemory,
    memory_of,
    recall,
    reconciled,
)
from edge_sim.daemon.rig import Rig
from edge_sim.domain import UNKNOWN, State, UnknownReason
from edge_sim.events import StateChanged
from edge_sim.health.board import Board

logger = logging.getLogger(__name__)


class Keeper:
    """Knows what every watch last said, and writes it down.

    Args:
        path: Of the state file; None keeps nothing.
        board: Knows how long states last.
    """

    def __init__(self, path: Path | None, board: Board) -> None:
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

    def restore(self, rig: Rig, memory: DeviceMemory) -> None:
        """Let the watches of `rig` go on where they were."""
        for name, watch in rig.watches.items():
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
        for name, lane in rig.lanes.items():
            if name in memory.lost_sources and not lane.is_lost:
                lane.resume_lost()

    def current(self, rig: Rig) -> DeviceMemory:
        """Return what is to be remembered now."""
        watches = {
            name: with_followed(memory_of(watch, self._board.in_state_s(name)), watch)
            for name, watch in rig.watches.items()
        }
        lost = tuple(name for name, lane in rig.lanes.items() if lane.is_lost)
        return DeviceMemory(
            watches=watches, lost_sources=lost, sensitivities=dict(self.sensitivities)
        )

    def save(self, rig: Rig) -> bool:
        """Write everything down; return whether it is on disk."""
        return self._file.save(self.current(rig))


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
