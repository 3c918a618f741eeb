"""How the daemon speaks of itself: log lines, the status of systemd, the card for far ends."""

from __future__ import annotations

import logging

from edge_sim.daemon.feeder import Feeder
from edge_sim.daemon.followed import standing_of
from edge_sim.daemon.rig import Rig
from edge_sim.events import Event, SceneProblem, SourceLost, StateChanged, WatchEvent, tag_of
from edge_sim.health.board import Board
from edge_sim.pipeline import Watch
from edge_sim.protocols import FrameSource
from edge_sim.sinks.remote import Site, WatchCard

logger = logging.getLogger(__name__)


def site_of(rig: Rig) -> Site:
    """Return what a far end must know of the device."""
    cards = tuple(
        _card(rig, source, watch)
        for source, lane in rig.lanes.items()
        for watch in lane.pipeline.watches
    )
    return Site(cards, rig.embedder.model_id)


def _card(rig: Rig, source: str, watch: Watch) -> WatchCard:
    configured = rig.config.watches[watch.name]
    standing = standing_of(watch)
    return WatchCard(
        name=watch.name,
        source=source,
        states=configured.states or watch.gallery.states,
        sensitivity=configured.sensitivity,
        problems=standing.problems,
        overdue=standing.overdue,
    )


def show_standing(rig: Rig, board: Board) -> None:
    """Put on the board what the watches have told besides their state."""
    for name, watch in rig.watches.items():
        board.stands(name, standing_of(watch))


def counts_of(source: FrameSource) -> dict[str, int]:
    """Return the counters of a live source, named like the fields of `SourceStatus`."""
    if not isinstance(source, Feeder):
        return {}
    return {
        "dropped": source.dropped,
        "rejected": source.rejected,
        "repeated": source.repeated,
        "hanging": source.hanging,
    }


def log_event(event: Event) -> None:
    """One line per event, `key=value`, for journald and grep."""
    if isinstance(event, WatchEvent):
        logger.info("%s watch=%s %s id=%s", tag_of(event), event.watch, _facts(event), event.id)
        return
    if not isinstance(event, StateChanged):
        verb = "source_lost" if isinstance(event, SourceLost) else "source_restored"
        logger.info("%s source=%s id=%s", verb, event.source, event.id)
        return
    logger.info(
        "state_changed watch=%s before=%s after=%s%s confidence=%.3f id=%s",
        event.watch,
        event.before,
        event.after,
        f" reason={event.reason}" if event.reason else "",
        event.confidence,
        event.id,
    )


def _facts(event: WatchEvent) -> str:
    """Return the fields that are of this kind alone, those that are set."""
    own = [name for name in event.__struct_fields__ if name not in WatchEvent.__struct_fields__]
    facts = {name: getattr(event, name) for name in own if name != "action"}
    return " ".join(f"{name}={_word(value)}" for name, value in facts.items() if value is not None)


def _word(value: object) -> object:
    return value.value if isinstance(value, SceneProblem) else value


def summary(board: Board) -> str:
    """Return what every watch says, in one short line."""
    said = [
        f"{item.name} {item.state.name if item.state else 'starting'}" for item in board.watches
    ]
    return ", ".join(said)[:200]
