"""How a watch makes scorer, decider and monitor for a gallery.

The only place that joins concrete parts: a configuration becomes a device that runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from edge_sim.core import resources
from edge_sim.core.backoff import BACKOFF_S, HELD_S
from edge_sim.core.events import Event
from edge_sim.core.images import gray
from edge_sim.core.protocols import Embedder, EventSink, Follower, FrameSource, Scorer
from edge_sim.core.types import BgrImage, Embedding, GrayImage, Roi
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.drift import DriftFollower, baselines_of
from edge_sim.decision.features import Structural, with_structure
from edge_sim.decision.followers import make_follower
from edge_sim.decision.pipeline import ObservationInterval, Pipeline, Stages, Watch
from edge_sim.decision.rules import RuleFollower
from edge_sim.decision.scene_problems import SceneHealth
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.errors import ConfigError, EdgeSimError, GalleryError, SinkError
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.records import moved_region
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.outbox.outbox import Outbox, take_over_previous
from edge_sim.io.outbox.queue import DAY_S, MEGABYTE, Bounds
from edge_sim.io.sinks import open_sink
from edge_sim.io.sources import check_source, is_live, open_source
from edge_sim.io.sources.live import CLOSE_WAIT_S, LiveSource
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.pictures import read_picture
from edge_sim.io.sources.uri import anchored
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.config.sinks import kind_of, sink_options
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.runtime.loop import SourceRunner, Step, Wakeup, deliver, steps
from edge_sim.vision.alignment import RegionStabilizer
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Mask, Region
from edge_sim.vision.scene_monitor import SceneMonitor


def stages_of(config: Config, watch: WatchConfig) -> Stages:
    """Return how `watch` makes scorer, decider and monitor for a gallery."""
    drift = DriftFollower(watch.drift_every_s)
    return Stages(
        scorer=GalleryScorer,
        decider=partial(_decider, watch, drift),
        monitor=SceneMonitor,
        steady=lambda gallery: RegionStabilizer(gallery).follow,
        detail=partial(with_structure, structural=_structural(config.score.ssim_engine)),
        followers=partial(_followers, watch, drift),
    )


def _decider(
    watch: WatchConfig, drift: DriftFollower, gallery: Gallery, scorer: Scorer
) -> AdaptiveDecider:
    left_out = scorer.leave_one_out()
    drift.compare_with(baselines_of(gallery, left_out))
    return AdaptiveDecider(
        left_out,
        gallery,
        sensitivity=watch.sensitivity,
        matches=watch.confirm.matches,
        of=watch.confirm.of,
        rules=watch.rules,
    )


def _followers(watch: WatchConfig, drift: DriftFollower) -> tuple[Follower, ...]:
    own = map(make_follower, watch.followers)
    return SceneHealth(watch.problems), RuleFollower(watch.rules), drift, *own


def _structural(engine: str) -> Structural | None:
    """Return another structural similarity than edge_sim's own; None for that."""
    if engine == "opencv":
        return None
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise ConfigError(
            "score.ssim_engine: scikit-image is not installed; pip install 'edge_sim[ssim]'"
        ) from error

    def compare(a: GrayImage, b: GrayImage) -> float:
        return float(
            structural_similarity(
                a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
            )
        )

    return compare


logger = logging.getLogger(__name__)

MAX_WORKERS = 4
"""Workers that `worker_count` gives at most by itself: each holds a model, and Python lets one run
at a time."""
_FAULTS_PER_LINE = 60
LOCKED_S = 1.0
"""Longest wait for a gallery that another process is writing: no frame is looked at meanwhile."""


def open_configured(config: Config, name: str) -> FrameSource:
    """Return the source `name` of `config`, open; a camera is read in the caller's thread.

    Raises:
        SourceError: It cannot be opened.
    """
    options = msgspec.structs.replace(source_options(config, name), threaded=False)
    return open_source(resolved_uri(config, name), options)


@dataclass(frozen=True, slots=True)
class Environment:
    """Sources and clocks of a device; tests give their own.

    Args:
        open_source: Opens the source of a name; a live one in its own thread, again after a loss.
        is_live: Whether a uri names a camera or stream.
        now: Seconds since 1970 UTC, for people.
        clock: Monotonic seconds, for durations.
        retry_s: Pauses between attempts to open a camera.
        held_s: Seconds that frames must have come for a source to count as steady.
        on_step: Called with every step of the daemon, after its events were taken; for tools.
    """

    open_source: Callable[[Config, str], FrameSource] = open_configured
    is_live: Callable[[str], bool] = is_live
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    retry_s: Sequence[float] = BACKOFF_S
    held_s: float = HELD_S
    on_step: Callable[[str, Step], None] | None = None


class TimedEmbedder:
    """An embedder that reports how long each embedding took."""

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


class SharedEmbedders:
    """Several embedders of one model for as many threads; each is used by one at a time.

    Args:
        embedders: At least one, all of the same model.
    """

    def __init__(self, embedders: list[Embedder]) -> None:
        self._idle: queue.SimpleQueue[Embedder] = queue.SimpleQueue()
        for embedder in embedders:
            self._idle.put(embedder)
        self.model_id = embedders[0].model_id
        self.dimension = embedders[0].dimension
        self.input_px = embedders[0].input_px

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding from whichever is idle, waiting for one if none is."""
        embedder = self._idle.get()
        try:
            return embedder.embed(pixels)
        finally:
            self._idle.put(embedder)


def worker_count(number: int, sources: int) -> int:
    """Return how many workers to use for so many sources.

    Args:
        number: Configured; 0 takes what the cores leave beside capture and delivery.
        sources: Workers beyond their number would never have anything to do.
    """
    wished = number or min(MAX_WORKERS, len(os.sched_getaffinity(0)) - 1)
    return max(min(wished, sources), 1)


class Device:
    """Model, gallery, and one lane per source of one configuration; of the API its sinks, too.

    Made by `build`; a context manager that closes everything. All but `wake` belongs to one thread.
    """

    def __init__(
        self,
        config: Config,
        embedder: Embedder,
        store: GalleryStore,
        lanes: Mapping[str, SourceRunner],
        *,
        sinks: Sequence[EventSink] = (),
        wakeup: Wakeup | None = None,
        workers: int = 1,
    ) -> None:
        self.config = config
        self.embedder = embedder
        self.lanes = dict(lanes)
        self.sinks = tuple(sinks)
        self.workers = workers
        """Sources that are processed at the same time by the daemon."""
        self._store = store
        self._wakeup = wakeup or Wakeup()
        self._seen_version = store.data_version()
        self._faults = 0

    @property
    def watches(self) -> dict[str, Watch]:
        """All watches by name, in the order of the configuration within each source."""
        return {
            watch.name: watch for lane in self.lanes.values() for watch in lane.pipeline.watches
        }

    def start(self) -> None:
        """Begin to open and read the cameras, each in a thread of its own; waits for none."""
        for lane in self.lanes.values():
            if isinstance(lane.source, LiveSource):
                lane.source.begin()

    def wake(self) -> None:
        """Let `steps` ask its `stop` at once; may be called from threads and signal handlers."""
        self._wakeup.ring()

    def steps(self, *, stop: threading.Event | None = None) -> Iterator[Step]:
        """Yield one step per frame; the events in it have been delivered to the sinks.

        Raises:
            SourceError: A file or folder cannot be read to its end.
        """
        lanes = list(self.lanes.values())
        for step in steps(lanes, stop=stop, between_frames=self.refresh, wakeup=self._wakeup):
            deliver(step.events, self.sinks)
            yield step

    def events(self, *, stop: threading.Event | None = None) -> Iterator[Event]:
        """Yield every event after it was delivered to the sinks; as `steps` otherwise."""
        for step in self.steps(stop=stop):
            yield from step.events

    def refresh(self) -> bool:
        """Take the gallery file over if it has changed; return whether it was.

        One that cannot be used is logged, and the watches keep what they have.
        """
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
        resources.release_free_memory()
        logger.info("gallery revision=%d is in force", revision)
        return True

    def leave(self, *, keeping: frozenset[str] = frozenset()) -> None:
        """Close sinks, gallery and sources but those in `keeping`; waits for no camera.

        What fails is logged and keeps nothing else open.
        """
        for name, lane in self.lanes.items():
            if name in keeping:
                continue
            if isinstance(lane.source, LiveSource):
                lane.source.leave()
            else:
                lane.source.close()
        for sink in self.sinks:
            _close_logged(sink)
        self._store.close()

    def join(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait until the cameras are given back, at most `limit_s` for all of them."""
        until_s = clock() + limit_s
        for lane in self.lanes.values():
            if isinstance(lane.source, LiveSource):
                lane.source.join(max(until_s - clock(), 0.0))

    def close(self) -> None:
        """Close everything; waits at most two seconds for cameras that are just being read."""
        self.leave()
        self.join(CLOSE_WAIT_S)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_logged(sink: EventSink) -> None:
    try:
        sink.close()
    except SinkError as error:
        logger.error("%s", error)


def build(
    config: Config,
    *,
    sinks: Sequence[EventSink] | None = None,
    now: Callable[[], float] = time.time,
    environment: Environment | None = None,
) -> Device:
    """Open everything that `config` names; cameras are opened in the background.

    A camera that does not open is reported as lost by the device, which goes on with the others and
    tries it again.

    Args:
        config: From `load_config`.
        sinks: Open sinks instead of the configured ones, closed with the device; `()` for none.
        now: Seconds since 1970 UTC; stamps the loss and return of sources.
        environment: Sources and clocks instead of the real ones, `now` included.

    Raises:
        ConfigError: There is nothing to watch, or a mask, state or uri does not fit.
        EdgeSimError: Model, gallery, sink, or a file to play cannot be opened.
    """
    if not isinstance(config, Config):
        raise ConfigError(
            f"build takes a Config, got {type(config).__name__}: load_config(path) reads one"
        )
    with contextlib.ExitStack() as opened:
        device = assemble(config, environment=environment or Environment(now=now))
        opened.callback(device.leave)
        device.sinks = tuple(open_sinks(config) if sinks is None else sinks)
        opened.pop_all()
    device.start()
    return device


def assemble(
    config: Config,
    *,
    environment: Environment,
    wakeup: Wakeup | None = None,
    old: Device | None = None,
    workers: int = 1,
    on_embedded: Callable[[float], None] | None = None,
) -> Device:
    """Return the device of `config` without sinks, its cameras not yet started.

    Args:
        config: In force from now on.
        environment: Sources and clocks.
        wakeup: Rung by the cameras; one of its own if None.
        old: Device before a reload; sources that it has alike are taken over, and go on.
        workers: Sources to process at the same time, at most one per source.
        on_embedded: Called with the seconds of each embedding.

    Raises:
        ConfigError: There is nothing to watch, or a mask, state or uri does not fit.
        EdgeSimError: Model, gallery or a file to play cannot be opened.
    """
    watches_of = watches_by_source(config)
    wakeup = wakeup or Wakeup()
    with contextlib.ExitStack() as opened:
        workers = min(workers, len(watches_of))
        models = [open_model(config) for _ in range(workers)]
        embedder: Embedder = models[0] if workers == 1 else SharedEmbedders(models)
        if on_embedded is not None:
            embedder = TimedEmbedder(embedder, environment.clock, on_embedded)
        store = opened.enter_context(open_gallery(config))
        lanes = {}
        for name, watches in watches_of.items():
            pipeline = build_pipeline(config, watches, embedder, store)
            source = kept_source(config, name, old)
            if source is None:
                source = _source_of(config, name, environment, wakeup)
                opened.callback(source.close)
            lanes[name] = SourceRunner(
                source,
                pipeline,
                live=isinstance(source, LiveSource),
                now=environment.now,
                clock=environment.clock,
                stale_after_s=config.sources[name].stale_after_s,
                held_s=environment.held_s,
            )
            if old is not None and name in old.lanes and source is old.lanes[name].source:
                lanes[name].follow(old.lanes[name])
        device = Device(config, embedder, store, lanes, wakeup=wakeup, workers=workers)
        opened.pop_all()
    resources.release_free_memory()
    return device


def kept_source(config: Config, name: str, old: Device | None) -> FrameSource | None:
    """Return the source of `old` that `config` wants just so; None if there is none."""
    if old is None or name not in old.lanes or old.lanes[name].ended:
        return None
    same = source_options(config, name) == source_options(old.config, name) and resolved_uri(
        config, name
    ) == resolved_uri(old.config, name)
    return old.lanes[name].source if same else None


def _source_of(config: Config, name: str, environment: Environment, wakeup: Wakeup) -> FrameSource:
    if not environment.is_live(resolved_uri(config, name)):
        return environment.open_source(config, name)
    options = source_options(config, name)
    check_source(resolved_uri(config, name), options)
    return LiveSource(
        partial(environment.open_source, config, name),
        msgspec.structs.replace(
            options, reconnect_s=tuple(environment.retry_s), held_s=environment.held_s
        ),
        wake=wakeup.ring,
    )


def open_sinks(config: Config) -> list[EventSink]:
    """Return the sinks of `config`, open.

    Raises:
        SinkError: One of them cannot be opened; the others are closed again.
    """
    with contextlib.ExitStack() as opened:
        sinks: list[EventSink] = []
        for item in config.sinks:
            options = sink_options(item, device=config.device, folder=config.path(""))
            sinks.append(open_sink(kind_of(item), **options))
            opened.callback(sinks[-1].close)
        opened.pop_all()
    return sinks


def open_outbox(config: Config, sinks: Sequence[EventSink]) -> Outbox:
    """Return the outbox of `config` for these sinks.

    Raises:
        SinkError: Its file cannot be used.
    """
    section = config.outbox
    bounds = Bounds(
        max_bytes=int(section.max_mb * MEGABYTE),
        max_age_s=section.max_days * DAY_S,
        write_budget_bytes=int(section.write_budget_mb_per_day * MEGABYTE),
    )
    path = config.path(section.path) if section.storage == "disk" else None
    outbox = Outbox.open(path, [sink.name for sink in sinks], bounds=bounds)
    if path is not None and config.daemon.state is not None:
        take_over_previous(outbox, path, config.path(config.daemon.state))
    return outbox


def open_model(config: Config) -> Embedder:
    """Return the embedder of `config`.

    Raises:
        ModelError: The model or a runtime for it cannot be used.
    """
    spec = config.model.path
    if spec not in ("default", "thumbnail"):
        spec = str(config.path(spec))
    return open_embedder(spec, threads=config.model.threads, runtime=config.model.runtime)


def open_gallery(config: Config) -> GalleryStore:
    """Return the gallery file of `config`, open for reading.

    Raises:
        GalleryError: There is none, or it cannot be used.
    """
    return GalleryStore.open(config.path(config.gallery.path), read_only=True, timeout_s=LOCKED_S)


def watches_by_source(config: Config) -> Mapping[str, Mapping[str, WatchConfig]]:
    """Return the watches of each source that has any.

    Raises:
        ConfigError: No source or no watch is configured.
    """
    if not config.sources or not config.watches:
        missing = "sources" if not config.sources else "watches"
        raise ConfigError(f"nothing to watch: the configuration has no {missing}")
    only = next(iter(config.sources))
    found: dict[str, dict[str, WatchConfig]] = {}
    for name, watch in config.watches.items():
        found.setdefault(watch.source or only, {})[name] = watch
    return found


def build_pipeline(
    config: Config, watches: Mapping[str, WatchConfig], embedder: Embedder, store: GalleryStore
) -> Pipeline:
    """Return the pipeline of one source.

    Raises:
        ConfigError: A mask cannot be read, or a configured state has no reference.
        GalleryError: The references were made with another model.
    """
    built = []
    for name, watch in watches.items():
        gallery = store.gallery(name, model_id=embedder.model_id)
        check_states(name, watch, gallery)
        region = region_of(config, watch)
        moved = moved_region(gallery, region.roi)
        if moved is not None:
            logger.warning("watch %s: %s", name, moved)
        built.append(build_watch(config, name, gallery, region))
    return Pipeline(embedder, built, config.device)


def build_watch(config: Config, name: str, gallery: Gallery, region: Region) -> Watch:
    """Return the watch that `config` calls `name`."""
    watch = config.watches[name]
    pace = ObservationInterval(watch.interval_s, watch.recheck_s)
    gate = Gate() if watch.gate else None
    return Watch(name, gallery, stages_of(config, watch), region=region, pace=pace, gate=gate)


def region_of(config: Config, watch: WatchConfig) -> Region:
    """Return where `watch` looks, its mask read.

    Raises:
        ConfigError: The mask cannot be read.
    """
    return Region(Roi(*watch.roi), _mask(config, watch))


def source_options(config: Config, name: str) -> SourceOptions:
    """Return the options of a source under its name, paths anchored at the configuration's folder.

    A camera that gives single pictures is asked at the shortest interval of its watches.
    """
    source = config.sources[name]
    only = next(iter(config.sources))
    intervals_s = [
        watch.interval_s
        for watch in config.watches.values()
        if (watch.source or only) == name and watch.interval_s > 0
    ]
    return msgspec.structs.replace(
        source,
        name=name,
        ca_file=None if source.ca_file is None else str(config.path(source.ca_file)),
        poll_s=min(intervals_s, default=source.poll_s),
    )


def resolved_uri(config: Config, name: str) -> str:
    """Return the uri of a source, a relative path in it anchored at the configuration's folder."""
    return anchored(config.sources[name].uri, config.folder)


def _mask(config: Config, watch: WatchConfig) -> Mask | None:
    if watch.mask is None:
        return None
    try:
        return Mask(gray(read_picture(config.path(watch.mask))))
    except EdgeSimError as error:
        raise ConfigError(f"mask: {error}") from error


def check_states(name: str, watch: WatchConfig, gallery: Gallery) -> None:
    """Check that the gallery knows every configured state; an empty gallery may be filled later.

    Raises:
        ConfigError: A configured state has no reference, or a rule names a state that is none.
    """
    known = watch.states or gallery.states
    for state in sorted(watch.rules.states.difference(known)) if known else ():
        raise ConfigError(
            f"watches.{name}.rules: there is no state {state!r}{nearest(state, known)}"
        )
    missing = [state for state in watch.states if state not in gallery.states]
    if missing and len(gallery):
        raise ConfigError(
            f"watches.{name}.states: the gallery has no reference of {', '.join(missing)} "
            f"(it has {', '.join(gallery.states)}); add some with `edge-sim gallery add`"
        )
