"""Everything that one configuration says to look at, built whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_sim import assembly, heap
from edge_sim.config import Config
from edge_sim.daemon.bell import Bell
from edge_sim.daemon.feeder import RETRY_S, Feeder
from edge_sim.daemon.hands import SharedEmbedders, hands_for
from edge_sim.domain import BgrImage, Embedding
from edge_sim.errors import GalleryError
from edge_sim.gallery_store import GalleryStore
from edge_sim.health.board import Board
from edge_sim.health.status import WatchStatus
from edge_sim.loop import Lane, Step
from edge_sim.pipeline import Watch
from edge_sim.protocols import Embedder, FrameSource
from edge_sim.sources import is_live, open_source

logger = logging.getLogger(__name__)

_FAULTS_PER_LINE = 60


def open_configured(config: Config, name: str) -> FrameSource:
    """Return the source `name` of `config`, open.

    Raises:
        SourceError: It cannot be opened.
    """
    options = assembly.source_options(name, config.sources[name])
    return open_source(assembly.resolved_uri(config, name), options)


@dataclass(frozen=True, slots=True)
class World:
    """What touches the world outside; tests give their own.

    Args:
        open_source: Opens the source of a name.
        is_live: Whether a uri names a camera or stream.
        now: Seconds since 1970 UTC, for people.
        clock: Monotonic seconds, for durations.
        retry_s: Pauses between attempts to open a camera.
        on_step: Told of every step, by source, after its events were taken; for tools.
    """

    open_source: Callable[[Config, str], FrameSource] = open_configured
    is_live: Callable[[str], bool] = is_live
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    retry_s: Sequence[float] = RETRY_S
    on_step: Callable[[str, Step], None] | None = None


class TimedEmbedder:
    """An embedder that tells how long each embedding took."""

    def __init__(
        self, inner: Embedder, clock: Callable[[], float], on_done: Callable[[float], None]
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._on_done = on_done
        self.model_id = inner.model_id
        self.dimension = inner.dimension
        self.input_px = inner.input_px

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of the inner one."""
        started_s = self._clock()
        embedding = self._inner.embed(pixels)
        self._on_done(self._clock() - started_s)
        return embedding


class Rig:
    """Model, gallery and one lane per source, of one configuration."""

    def __init__(
        self,
        config: Config,
        embedder: Embedder,
        store: GalleryStore,
        lanes: dict[str, Lane],
        *,
        hands: int = 1,
    ) -> None:
        self.config = config
        self.embedder = embedder
        self.lanes = lanes
        self.hands = hands
        """Sources that are looked at at the same time."""
        self._store = store
        self._seen_version = store.data_version()
        self._faults = 0

    @property
    def watches(self) -> dict[str, Watch]:
        """All watches by name."""
        return {
            watch.name: watch for lane in self.lanes.values() for watch in lane.pipeline.watches
        }

    def start(self) -> None:
        """Start the threads of the sources that were not taken over."""
        for lane in self.lanes.values():
            if isinstance(lane.source, Feeder):
                lane.source.start()

    def refresh(self) -> bool:
        """Take the gallery file over if it has changed; return whether it was."""
        try:
            version = self._store.data_version()
            if version == self._seen_version:
                return False
            self._seen_version = version
            model_id = self.embedder.model_id
            fresh = {name: self._store.gallery(name, model_id=model_id) for name in self.watches}
            revision = self._store.revision
        except GalleryError as error:
            if self._faults % _FAULTS_PER_LINE == 0:
                logger.error(
                    "the gallery is kept as it was: %s (fault %d)", error, self._faults + 1
                )
            self._faults += 1
            return False
        self._faults = 0
        for name, watch in self.watches.items():
            watch.use(fresh.pop(name))  # of which it keeps little: to be gone before the next line
        heap.give_back()
        logger.info("gallery revision=%d is in force", revision)
        return True

    def close(self, *, keeping: frozenset[str] = frozenset()) -> None:
        """Close gallery and sources but those in `keeping`; waits for no camera."""
        for name, lane in self.lanes.items():
            if name not in keeping:
                lane.source.close()
        self._store.close()

    def join(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait until the cameras are given back, at most `limit_s` for all of them."""
        until_s = clock() + limit_s
        for lane in self.lanes.values():
            if isinstance(lane.source, Feeder):
                lane.source.join(max(until_s - clock(), 0.0))


def build_rig(
    config: Config, *, world: World, bell: Bell, board: Board, old: Rig | None = None
) -> Rig:
    """Build what `config` says; sources that `old` has alike are taken over, and go on.

    Raises:
        ConfigError: There is nothing to watch, or a mask, state or uri does not fit.
        EdgeSimError: Model, gallery or a file to play cannot be opened.
    """
    watches_of = assembly.watches_by_source(config)
    with contextlib.ExitStack() as opened:
        hands = hands_for(config.daemon.workers, len(watches_of))
        model = SharedEmbedders([assembly.open_model(config) for _ in range(hands)])
        embedder = TimedEmbedder(model, world.clock, board.embedded)
        store = opened.enter_context(assembly.open_gallery(config))
        lanes = {}
        for name, watches in watches_of.items():
            pipeline = assembly.build_pipeline(config, watches, embedder, store)
            live = world.is_live(assembly.resolved_uri(config, name))
            source = kept_source(config, name, old)
            if source is None:
                source = (
                    _opened(config, name, world, bell) if live else world.open_source(config, name)
                )
                opened.callback(source.close)
            lanes[name] = Lane(source, pipeline, live=live, now=world.now, clock=world.clock)
            if old is not None and source is old.lanes[name].source and old.lanes[name].is_lost:
                lanes[name].resume_lost()
        rig = Rig(config, embedder, store, lanes, hands=hands)
        opened.pop_all()
    heap.give_back()
    return rig


def kept_source(config: Config, name: str, old: Rig | None) -> FrameSource | None:
    """Return the source of `old` that `config` wants just so; None if there is none."""
    if old is None or name not in old.lanes or old.lanes[name].ended:
        return None
    same = config.sources[name] == old.config.sources[name] and assembly.resolved_uri(
        config, name
    ) == assembly.resolved_uri(old.config, name)
    return old.lanes[name].source if same else None


def watch_statuses(rig: Rig) -> list[WatchStatus]:
    """Return what the board should show of the watches, before their first look."""
    return [
        WatchStatus(
            name=watch.name,
            source=name,
            states=watch.gallery.states,
            revision=watch.gallery.revision,
        )
        for name, lane in rig.lanes.items()
        for watch in lane.pipeline.watches
    ]


def _opened(config: Config, name: str, world: World, bell: Bell) -> FrameSource:
    return Feeder(
        name,
        lambda: world.open_source(config, name),
        bell.ring,
        frozen_s=config.sources[name].frozen_timeout_s,
        retry_s=world.retry_s,
    )
