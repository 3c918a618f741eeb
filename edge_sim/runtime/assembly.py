"""Assembly: builds a device of concrete parts from a configuration.

No other module of the runtime chooses scorers, deciders, monitors, sources or sinks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import msgspec

from edge_sim.core import resources
from edge_sim.core.backoff import BACKOFF_S, HELD_S
from edge_sim.core.events import Event
from edge_sim.core.files import exists, printable
from edge_sim.core.protocols import Embedder, EventSink, FrameSource
from edge_sim.core.types import Roi
from edge_sim.decision.pipeline import ObservationInterval, Pipeline, Watch
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
from edge_sim.io.sources.pictures import read_mask
from edge_sim.io.sources.uri import anchored
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.config.sinks import kind_of, sink_options
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.runtime.fitting import LOCKED_S, GalleryFits, call, fitted, read_fits
from edge_sim.runtime.loop import SourceRunner, Step, Wakeup, deliver, steps
from edge_sim.runtime.sharing import SharedEmbedders, TimedEmbedder
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Mask, Region

logger = logging.getLogger(__name__)

_FAULTS_PER_LINE = 60


def open_configured(
    config: Config, name: str, *, threaded: bool = False, real_time: bool = False
) -> FrameSource:
    """Return the source `name` of `config`, open.

    Args:
        config: Configuration of the source.
        name: Name of the source.
        threaded: Whether a camera is read in a thread of its own, and not in the caller's.
        real_time: Whether a synthetic scene plays in real time and for ever, unless its uri says.

    Raises:
        ConfigError: It can never be opened.
        SourceError: It cannot be opened.
    """
    options = msgspec.structs.replace(
        source_options(config, name), threaded=threaded, real_time=real_time
    )
    uri = resolved_uri(config, name)
    with config.located(f"sources.{name}", "uri"):
        is_camera = is_live(uri, real_time=real_time)
        if not is_camera:
            return open_source(uri, options)
    # That a camera does not answer is no mistake in the configuration.
    with config.located(f"sources.{name}", "uri", kinds=(ConfigError,)):
        return open_source(uri, options)


@dataclass(frozen=True, slots=True)
class Environment:
    """Sources and clocks of a device; tests give their own.

    Args:
        open_source: Opener of the source of a name; for a live one called in a thread of its own,
            again after a loss.
        is_live: Test for a uri that names a camera or stream.
        now: Seconds since 1970 UTC, for people.
        clock: Monotonic seconds, for durations.
        retry_s: Pauses between attempts to open a camera.
        held_s: Seconds that frames must have come for a source to count as steady.
        on_step: Function called with every step of the daemon after its events are stored; for
            tools.
    """

    open_source: Callable[[Config, str], FrameSource] = open_configured
    is_live: Callable[[str], bool] = is_live
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    retry_s: Sequence[float] = BACKOFF_S
    held_s: float = HELD_S
    on_step: Callable[[str, Step], None] | None = None


def served_environment() -> Environment:
    """Return the environment of a device that runs for ever: drawn scenes play in real time."""
    return Environment(
        open_source=partial(open_configured, real_time=True),
        is_live=partial(is_live, real_time=True),
    )


class Device:
    """Model, gallery and source runners of one configuration; for the API its sinks as well.

    Made by `build`; a context manager that closes everything. All but `wake` belongs to one thread.
    """

    def __init__(
        self,
        config: Config,
        embedder: Embedder,
        store: GalleryStore,
        runners: Mapping[str, SourceRunner],
        *,
        sinks: Sequence[EventSink] = (),
        wakeup: Wakeup | None = None,
        workers: int = 1,
        version: int | None = None,
    ) -> None:
        self.config = config
        self.embedder = embedder
        self.runners = dict(runners)
        self.sinks = tuple(sinks)
        self.workers = workers
        """Number of sources that the daemon processes at the same time."""
        self._store = store
        self._wakeup = wakeup or Wakeup()
        self._seen_version = store.data_version() if version is None else version
        self._faults = 0
        self._fitting: Future[GalleryFits] | None = None

    @property
    def watches(self) -> dict[str, Watch]:
        """Watches by name, in the order of the configuration within each source."""
        return {
            watch.name: watch
            for runner in self.runners.values()
            for watch in runner.pipeline.watches
        }

    def start(self) -> None:
        """Begin to open and read the cameras, each in a thread of its own; wait for none."""
        for runner in self.runners.values():
            if isinstance(runner.source, LiveSource):
                runner.source.begin()

    def wake(self) -> None:
        """Make `steps` check its `stop` at once; may be called from threads and signal handlers."""
        self._wakeup.ring()

    def steps(self, *, stop: threading.Event | None = None) -> Iterator[Step]:
        """Yield one step per frame; the events in it have been delivered to the sinks.

        Raises:
            SourceError: A file or folder cannot be read to its end.
        """
        runners = list(self.runners.values())
        for step in steps(runners, stop=stop, between_frames=self.refresh, wakeup=self._wakeup):
            deliver(step.events, self.sinks)
            yield step

    def events(self, *, stop: threading.Event | None = None) -> Iterator[Event]:
        """Yield every event after it was delivered to the sinks; as `steps` otherwise."""
        for step in self.steps(stop=stop):
            yield from step.events

    def refresh(self) -> bool:
        """Use the references of the gallery file if it has changed; return whether they are others.

        A large gallery is fitted in a thread of its own, and used by a later call. A file that
        cannot be used is logged, and the watches keep their references.
        """
        try:
            if self._fitting is None:
                version = self._store.data_version()
                if version == self._seen_version:
                    return False
                self._seen_version = version
                read = partial(read_fits, self._store.path, self.watches, self.embedder.model_id)
                self._fitting = fitted(read, self._store.count(), self._wakeup.ring)
            if not self._fitting.done():
                return False
            ready, self._fitting = self._fitting, None
            fits = ready.result()
        except GalleryError as error:
            if self._faults % _FAULTS_PER_LINE == 0:
                logger.error(
                    "the gallery is kept as it was: %s (fault %d)", error, self._faults + 1
                )
            self._faults += 1
            return False
        self._faults = 0
        for name, watch in self.watches.items():
            watch.use_fit(fits.of_watch[name])
        resources.release_free_memory()
        logger.info("gallery revision=%d is in force", fits.revision)
        return True

    def resume(self, before: Device) -> None:
        """Continue with the sources that were taken over from another device, at a reload."""
        for name, runner in self.runners.items():
            if name in before.runners and runner.source is before.runners[name].source:
                runner.resume(before.runners[name])

    def leave(self, *, keeping: frozenset[str] = frozenset()) -> None:
        """Close sinks, gallery and sources but those in `keeping`; wait for no camera.

        A failure is logged and keeps nothing else open.
        """
        for name, runner in self.runners.items():
            if name in keeping:
                continue
            if isinstance(runner.source, LiveSource):
                runner.source.leave()
            else:
                runner.source.close()
        for sink in self.sinks:
            _close_logged(sink)
        self._store.close()

    def join(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait until the cameras are released, at most `limit_s` for all of them."""
        until_s = clock() + limit_s
        for runner in self.runners.values():
            if isinstance(runner.source, LiveSource):
                runner.source.join(max(until_s - clock(), 0.0))

    def close(self) -> None:
        """Close everything; wait at most two seconds for cameras that are being read."""
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
        config: Configuration, as `load_config` returns it.
        sinks: Open sinks instead of the configured ones, closed with the device; `()` for none.
        now: Seconds since 1970 UTC, for the loss and return of sources.
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
    grows: bool = False,
    run: Callable[[Callable[[], Pipeline]], Pipeline] = call,
) -> Device:
    """Return the device of `config` without sinks, its cameras not yet started.

    Args:
        config: Configuration of the device.
        environment: Sources and clocks.
        wakeup: Wakeup that the cameras ring; a new one if None.
        old: Device before a reload; sources that are configured alike are kept open.
        workers: Number of sources to process at the same time, at most one per source.
        on_embedded: Function called with the duration of each embedding, seconds.
        grows: Whether watches and references are added while the device runs: there may be no
            watch, no gallery file and no reference of a configured state yet.
        run: Function that runs the fitting of the watches of one source and returns its result;
            it may do so in another thread.

    Raises:
        ConfigError: There is nothing to watch, or a mask, state or uri does not fit.
        EdgeSimError: Model, gallery or a file to play cannot be opened.
    """
    watches_of = {} if grows and not config.watches else watches_by_source(config)
    wakeup = wakeup or Wakeup()
    with contextlib.ExitStack() as opened:
        workers = max(min(workers, len(watches_of)), 1)
        models = [open_model(config) for _ in range(workers)]
        embedder: Embedder = models[0] if workers == 1 else SharedEmbedders(models)
        if on_embedded is not None:
            embedder = TimedEmbedder(embedder, environment.clock, on_embedded)
        store = opened.enter_context(open_gallery(config, create=grows))
        version = store.data_version()  # a change from now on is seen by `refresh`
        runners = {}
        for name, watches in watches_of.items():
            pipeline = run(partial(build_pipeline, config, watches, embedder, grows=grows))
            source = kept_source(config, name, old)
            if source is None:
                source = _source_of(config, name, environment, wakeup)
                opened.callback(source.close)
            runners[name] = SourceRunner(
                source,
                pipeline,
                live=isinstance(source, LiveSource),
                now=environment.now,
                clock=environment.clock,
                stale_after_s=config.sources[name].stale_after_s,
                held_s=environment.held_s,
            )
        device = Device(
            config, embedder, store, runners, wakeup=wakeup, workers=workers, version=version
        )
        opened.pop_all()
    resources.release_free_memory()
    return device


def kept_source(config: Config, name: str, old: Device | None) -> FrameSource | None:
    """Return the source of `old` that is configured alike in `config`; None if there is none."""
    if old is None or name not in old.runners or old.runners[name].ended:
        return None
    same = source_options(config, name) == source_options(old.config, name) and resolved_uri(
        config, name
    ) == resolved_uri(old.config, name)
    return old.runners[name].source if same else None


def _source_of(config: Config, name: str, environment: Environment, wakeup: Wakeup) -> FrameSource:
    options = source_options(config, name)
    with config.located(f"sources.{name}", "uri"):
        is_camera = environment.is_live(resolved_uri(config, name))
        if is_camera:
            check_source(resolved_uri(config, name), options)
    if not is_camera:
        return environment.open_source(config, name)
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
        for at, item in enumerate(config.sinks):
            options = sink_options(item, device=config.device, folder=config.path(""))
            with config.located(f"sinks[{at}]"):
                sinks.append(open_sink(kind_of(item), **options))
            opened.callback(sinks[-1].close)
        opened.pop_all()
    return sinks


def open_outbox(config: Config, sinks: Sequence[EventSink], *, is_trial: bool = False) -> Outbox:
    """Return the outbox of `config` for these sinks.

    Args:
        config: Configuration of the device.
        sinks: Its sinks.
        is_trial: Drop and take over nothing until `settle_outbox`.

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
    outbox = Outbox.open(path, [sink.name for sink in sinks], bounds=bounds, keeps_gone=is_trial)
    if not is_trial:
        settle_outbox(config, outbox)
    return outbox


def settle_outbox(config: Config, outbox: Outbox) -> None:
    """Drop what waits for sinks that are gone, and take over what waits in the previous file."""
    outbox.forget_sinks()
    if config.outbox.storage == "disk" and config.daemon.state is not None:
        path, state = config.path(config.outbox.path), config.path(config.daemon.state)
        take_over_previous(outbox, path, state)


def open_model(config: Config) -> Embedder:
    """Return the embedder of `config`.

    Raises:
        ModelError: The model or a runtime for it cannot be used, or the model is not verified.
    """
    spec = config.model.path
    if spec not in ("default", "thumbnail"):
        spec = str(config.path(spec))
    return open_embedder(spec, threads=config.model.threads, runtime=config.model.runtime)


def open_gallery(config: Config, *, create: bool = False) -> GalleryStore:
    """Return the gallery file of `config`, open for reading.

    Args:
        config: Configuration of the device.
        create: Make an empty gallery first if there is no file.

    Raises:
        GalleryError: There is none, or it cannot be used.
    """
    path = config.path(config.gallery.path)
    if create and not exists(path):
        GalleryStore.open(path, create=True).close()
    return GalleryStore.open(path, read_only=True, timeout_s=LOCKED_S)


def watches_by_source(config: Config) -> Mapping[str, Mapping[str, WatchConfig]]:
    """Return the watches of each source that has any.

    Raises:
        ConfigError: No source or no watch is configured.
    """
    if not config.sources or not config.watches:
        missing = "sources" if not config.sources else "watches"
        raise ConfigError(f"nothing to watch: the configuration has no {missing}")
    by_source: dict[str, dict[str, WatchConfig]] = {}
    for name, watch in config.watches.items():
        by_source.setdefault(config.source_of(name), {})[name] = watch
    return by_source


def build_pipeline(
    config: Config,
    watches: Mapping[str, WatchConfig],
    embedder: Embedder,
    *,
    grows: bool = False,
) -> Pipeline:
    """Return the pipeline of one source; may be called in any thread.

    Args:
        config: Configuration of the device.
        watches: Watches of the source, by name.
        embedder: Embedder that they share.
        grows: As in `assemble`.

    Raises:
        ConfigError: A mask cannot be read, or a configured state has no reference.
        GalleryError: The references were made with another model.
    """
    built = []
    with open_gallery(config) as store:
        for name in watches:
            gallery = store.gallery(name, model_id=embedder.model_id)
            check_states(config, name, gallery, grows=grows)
            region = region_of(config, name)
            moved = moved_region(gallery, region.roi)
            if moved is not None:
                logger.warning("watch %s: %s", name, moved)
            built.append(build_watch(config, name, gallery, region))
    return Pipeline(embedder, built, config.device)


def build_watch(config: Config, name: str, gallery: Gallery, region: Region) -> Watch:
    """Return the watch `name` of `config`."""
    watch = config.watches[name]
    pace = ObservationInterval(watch.interval_s, watch.recheck_s)
    gate = Gate() if watch.gate else None
    return Watch(name, gallery, stages_of(config, watch), region=region, pace=pace, gate=gate)


def region_of(config: Config, name: str) -> Region:
    """Return the region and mask of the watch `name`.

    Raises:
        ConfigError: The mask cannot be read.
    """
    return Region(Roi(*config.watches[name].roi), _mask(config, name))


def source_options(config: Config, name: str) -> SourceOptions:
    """Return the options of a source under its name, paths anchored at the configuration's folder.

    A camera that gives single pictures is asked at the shortest interval of its watches.
    """
    source = config.sources[name]
    intervals_s = [
        watch.interval_s
        for watch_name, watch in config.watches.items()
        if config.source_of(watch_name) == name and watch.interval_s > 0
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


def _mask(config: Config, name: str) -> Mask | None:
    path = config.watches[name].mask
    if path is None:
        return None
    try:
        return Mask.painted(read_mask(config.path(path)))
    except (ValueError, EdgeSimError) as error:
        key = f"watches.{name}.mask"
        raise config.error(key, f"{key}: {_with_path(path, str(error))}") from error


def _with_path(path: str, message: str) -> str:
    return message if path in message else f"{printable(path)}: {message}"


def check_states(config: Config, name: str, gallery: Gallery, *, grows: bool = False) -> None:
    """Check that the gallery knows every configured state; an empty gallery may be filled later.

    Args:
        config: Configuration of the watch.
        name: Name of the watch.
        gallery: References of the watch.
        grows: Log a state without a reference instead of raising: it is about to be taught.

    Raises:
        ConfigError: A configured state has no reference, or a rule names a state that is none.
    """
    watch = config.watches[name]
    known = watch.states or gallery.states
    for state in sorted(watch.rules.states.difference(known)) if known else ():
        raise config.error(
            f"watches.{name}.rules",
            f"watches.{name}.rules: there is no state {state!r}{nearest(state, known)}",
        )
    missing = [state for state in watch.states if state not in gallery.states]
    if missing and len(gallery):
        if grows:
            logger.warning("watch %s has no reference yet of %s", name, ", ".join(missing))
            return
        raise config.error(
            f"watches.{name}.states",
            f"watches.{name}.states: the gallery has no reference of {', '.join(missing)} "
            f"(it has {', '.join(gallery.states)}); add some with `edge-sim gallery add`",
        )
