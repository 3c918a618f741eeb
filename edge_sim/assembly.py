"""The only place that joins concrete parts: a configuration becomes a device that runs."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event as StopEvent
from types import TracebackType

from edge_sim import heap
from edge_sim.config import Config, SourceConfig, WatchConfig
from edge_sim.config_sinks import kind_of, sink_options
from edge_sim.config_yaml import nearest
from edge_sim.domain import Roi
from edge_sim.embedders import open_embedder
from edge_sim.errors import ConfigError, EdgeSimError, SinkError
from edge_sim.events import Event
from edge_sim.gallery import Gallery
from edge_sim.gallery_store import GalleryStore
from edge_sim.gate import Gate
from edge_sim.imaging import gray
from edge_sim.loop import Lane, Step, deliver, steps
from edge_sim.mask import Mask
from edge_sim.outbox import Bounds, Outbox, take_over_previous
from edge_sim.outbox.counts import DAY_S, MEGABYTE
from edge_sim.pipeline import ObservationInterval, Pipeline, Region, Watch
from edge_sim.protocols import Embedder, EventSink
from edge_sim.sinks import open_sink
from edge_sim.sources import SourceOptions, anchored, is_live, open_source
from edge_sim.sources.pictures import read_picture
from edge_sim.stages import stages_of

logger = logging.getLogger(__name__)


class Device:
    """Sources, watches and sinks of one configuration, opened and ready to run.

    Made by `build`; a context manager that closes everything.
    """

    def __init__(self, lanes: list[Lane], sinks: list[EventSink], store: GalleryStore) -> None:
        self.lanes = tuple(lanes)
        self.sinks = tuple(sinks)
        self._store = store
        self._seen_version = store.data_version()

    @property
    def watches(self) -> tuple[Watch, ...]:
        """All watches, in the order of the configuration within each source."""
        return tuple(watch for lane in self.lanes for watch in lane.pipeline.watches)

    def steps(self, *, stop: StopEvent | None = None) -> Iterator[Step]:
        """Yield one step per frame; the events in it have been delivered to the sinks.

        Raises:
            SourceError: A file or folder cannot be read to its end.
        """
        for step in steps(self.lanes, stop=stop, between_frames=self.refresh):
            deliver(step.events, self.sinks)
            yield step

    def events(self, *, stop: StopEvent | None = None) -> Iterator[Event]:
        """Yield every event after it was delivered to the sinks; as `steps` otherwise."""
        for step in self.steps(stop=stop):
            yield from step.events

    def refresh(self) -> None:
        """Take the gallery file over if somebody has changed it."""
        version = self._store.data_version()
        if version == self._seen_version:
            return
        self._seen_version = version
        for lane in self.lanes:
            model_id = lane.pipeline.model_id
            for watch in lane.pipeline.watches:
                watch.use(self._store.gallery(watch.name, model_id=model_id))
        heap.give_back()
        logger.info("gallery changed: revision %d in force", self._store.revision)

    def close(self) -> None:
        """Close sources, sinks and gallery; what fails is logged and keeps nothing else open."""
        for lane in self.lanes:
            lane.source.close()
        for sink in self.sinks:
            _close_logged(sink)
        self._store.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
) -> Device:
    """Open everything that `config` names.

    Args:
        config: From `load_config`.
        sinks: Open sinks instead of the configured ones, closed with the device; `()` for none.
        now: Seconds since 1970 UTC; stamps the loss and return of sources.

    Raises:
        ConfigError: There is nothing to watch, or a mask or state does not fit.
        EdgeSimError: Model, gallery, source or sink cannot be opened.
    """
    watches_of = watches_by_source(config)
    with contextlib.ExitStack() as opened:
        embedder = open_model(config)
        store = opened.enter_context(open_gallery(config))
        receivers = open_sinks(config) if sinks is None else list(sinks)
        for sink in receivers:
            opened.callback(sink.close)
        lanes = []
        for name, watches in watches_of.items():
            pipeline = build_pipeline(config, watches, embedder, store)
            uri = resolved_uri(config, name)
            source = open_source(uri, source_options(name, config.sources[name]))
            opened.callback(source.close)
            lanes.append(Lane(source, pipeline, live=is_live(uri), now=now))
        device = Device(lanes, receivers, store)
        opened.pop_all()
    heap.give_back()
    return device


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
    return GalleryStore.open(config.path(config.gallery.path), read_only=True)


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
        built.append(build_watch(config, name, gallery, region_of(config, watch)))
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


def source_options(name: str, source: SourceConfig) -> SourceOptions:
    """Return what the configuration asks of a source."""
    return SourceOptions(
        name=name,
        width=source.width,
        height=source.height,
        fps=source.fps,
        rotate=source.rotate,
        open_timeout_s=source.open_timeout_s,
        read_timeout_s=source.read_timeout_s,
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
    for state in sorted(watch.rules.rules.states.difference(known)) if known else ():
        raise ConfigError(
            f"watches.{name}.rules: there is no state {state!r}{nearest(state, known)}"
        )
    missing = [state for state in watch.states if state not in gallery.states]
    if missing and len(gallery):
        raise ConfigError(
            f"watches.{name}.states: the gallery has no reference of {', '.join(missing)} "
            f"(it has {', '.join(gallery.states)}); add some with `edge-sim gallery add`"
        )
