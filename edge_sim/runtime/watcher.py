"""Watcher: one watch for a program that has its own frames and its own loop."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from edge_sim.core.events import Event
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, Frame, Observation, Roi, State, Threshold
from edge_sim.decision.pipeline import Pipeline
from edge_sim.errors import ConfigError, GalleryError, PictureRejectedError
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import (
    Accepted,
    EnrolmentPlan,
    MaskLike,
    check_embedder,
    enrol,
    make_reference,
    region_from,
    rejection_error,
)
from edge_sim.gallery.enrolment_checks import Refusal
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.assembly import build_watch, check_states, open_model, region_of
from edge_sim.runtime.config import Config, single_watch_config
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

if TYPE_CHECKING:
    from typing_extensions import Unpack


logger = logging.getLogger(__name__)

ModelLike = str | PathLike[str] | Embedder
"""As for `open_embedder`, or an embedder that is open."""


class WatchSettings(TypedDict, total=False):
    """Settings of a watch: keys, meanings and defaults of `watches:` in `configs/default.yaml`."""

    states: Sequence[str]
    roi: Roi | Sequence[float]
    interval_s: float
    recheck_s: float
    gate: bool
    sensitivity: float
    confirm: Mapping[str, int]
    rules: Mapping[str, Any]
    problems: Mapping[str, Any]
    drift_every_s: float | None
    followers: Sequence[str]
    private: bool


class Watcher:
    """Watch on frames that the program pushes, made by `open`, `in_memory` or `from_config`.

    Use it from the thread that made it; several watchers may run in several threads. `process`
    neither waits nor starts threads. Close it after use, or use `with`.
    """

    def __init__(
        self,
        config: Config,
        embedder: Embedder,
        gallery: Gallery,
        *,
        region: Region,
        store: GalleryStore | None = None,
    ) -> None:
        (self.watch,) = config.watches
        ((self.source, _),) = config.sources.items()
        check_states(config, self.watch, gallery)
        self.embedder = embedder
        self._watch = build_watch(config, self.watch, gallery, region)
        self._pipeline = Pipeline(embedder, [self._watch], config.device)
        self._gallery = gallery
        self._store = store
        self._seen_version = 0 if store is None else store.data_version()
        self._thread = threading.get_ident()
        self._is_closed = False
        self._times = _FrameTimes()
        self._frame: Frame | None = None
        self._observation: Observation | None = None

    @classmethod
    def open(
        cls,
        gallery: str | PathLike[str],
        *,
        watch: str,
        create: bool = False,
        model: ModelLike = "default",
        mask: MaskLike | None = None,
        source: str = "frames",
        device: str = "edge_sim",
        **settings: Unpack[WatchSettings],
    ) -> Watcher:
        """Return a watcher on a gallery file; changes that other programs make to it are used.

        Args:
            gallery: Path of the file.
            watch: Name of the watch in it.
            create: Whether to make the file if there is none, and to accept a watch without
                references: it is `unknown: no_references` until `teach` adds some.
            model: `default`, `thumbnail`, the path of a .tflite file, or an open embedder.
            mask: Mask over the region, (h, w) uint8, black where pixels do not count; or its path.
            source: Name of the camera, for events.
            device: Name of the device, for events.
            settings: As in the configuration: `roi`, `states`, `sensitivity`, `confirm`,
                `interval_s`, `recheck_s`, `gate`, `rules`, `problems`, `drift_every_s`,
                `followers`.

        Raises:
            GalleryError: The file cannot be used, has no such watch, or is of another model.
            ConfigError: A setting is unknown or invalid.
            ModelError: The model or a runtime for it cannot be used.
        """
        config, region = _configured(watch, mask, source, device, settings)
        embedder = _opened(model)
        with ExitStack() as opened:
            store = opened.enter_context(_open_store(gallery, create=create))
            if not create:
                _check_known(store, watch)
            references = store.gallery(watch, model_id=embedder.model_id)
            watcher = cls(config, embedder, references, region=region, store=store)
            opened.pop_all()
        return watcher

    @classmethod
    def in_memory(
        cls,
        gallery: Gallery | None = None,
        *,
        watch: str = "watch",
        model: ModelLike = "default",
        mask: MaskLike | None = None,
        source: str = "frames",
        device: str = "edge_sim",
        **settings: Unpack[WatchSettings],
    ) -> Watcher:
        """Return a watcher without any file; `teach` adds to the gallery in memory.

        Args:
            gallery: References so far, from `make_reference`; None starts with none.
            watch: Name of the watch, for events.
            model: As in `open`; the references must be made with it.
            mask: As in `open`.
            source: As in `open`.
            device: As in `open`.
            settings: As in `open`.

        Raises:
            GalleryError: The references are of another model.
            ConfigError: A setting is unknown or invalid.
            ModelError: The model or a runtime for it cannot be used.
        """
        config, region = _configured(watch, mask, source, device, settings)
        embedder = _opened(model)
        references = Gallery() if gallery is None else gallery
        _check_model(references, embedder)
        return cls(config, embedder, references, region=region)

    @classmethod
    def from_config(cls, config: Config, watch: str) -> Watcher:
        """Return a watcher with model, gallery and settings of one watch of a configuration.

        Sources, sinks and outbox are not opened: the program gives frames and takes events.

        Args:
            config: Configuration, as `load_config` returns it.
            watch: Name of the watch.

        Raises:
            ConfigError: There is no such watch, or its mask cannot be read.
            GalleryError: The gallery file cannot be used or is of another model.
            ModelError: The model or a runtime for it cannot be used.
        """
        if watch not in config.watches:
            hint = nearest(watch, config.watches)
            raise ConfigError(f"the configuration has no watch {watch!r}{hint}")
        section = config.watches[watch]
        source = config.source_of(watch)
        alone = msgspec.structs.replace(
            config, sources={source: config.sources[source]}, watches={watch: section}, sinks=()
        )
        embedder = open_model(config)
        with ExitStack() as opened:
            store = opened.enter_context(_open_store(config.path(config.gallery.path)))
            gallery = store.gallery(watch, model_id=embedder.model_id)
            region = region_of(config, watch)
            watcher = cls(alone, embedder, gallery, region=region, store=store)
            opened.pop_all()
        return watcher

    def process(self, frame: BgrImage | Frame, *, at: float | None = None) -> tuple[Event, ...]:
        """Return the events of one frame, most often none.

        Args:
            frame: Picture, (H, W, 3) uint8 in OpenCV's order BGR, of any size; RGB cannot be
                detected and scores lower. It is kept for `teach` until the next call: pass a fresh
                array. Or a `Frame`, which carries its time.
            at: Time of the frame, seconds since 1970; durations are counted from these times, so
                that a recording gives the same events as the live camera. A step back counts as
                no time. None takes the clocks of the machine; give it for every frame or for none.

        Raises:
            PictureError: Not such a picture; nothing has changed.
            ValueError: `at` is no time, is given with a `Frame`, or for some frames only; or the
                watcher is closed.
            ModelError: The model fails.
        """
        self._check_use()
        timed = self._times.frame_of(frame, at, self.source)
        self._refresh()
        outcomes = self._pipeline.process(timed)
        self._frame = timed
        if outcomes:
            self._observation = outcomes[0].observation
        return tuple(self._pipeline.events_of(outcomes, self.source))

    @property
    def state(self) -> State:
        """State of the watch: its name, and the reason if it is `unknown`."""
        return self._watch.decider.state

    @property
    def states(self) -> tuple[str, ...]:
        """States that the gallery has references of, sorted."""
        return self._watch.gallery.states

    @property
    def observation(self) -> Observation | None:
        """Last observation: match, light and quality; None before the first."""
        return self._observation

    @property
    def scores(self) -> Mapping[str, float]:
        """Probability of each state at the last observation, the most probable first."""
        match = None if self._observation is None else self._observation.match
        return {} if match is None else {item.state: item.probability for item in match.states}

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Thresholds in force, by state, for `observation.match.best.score.combined`."""
        return self._watch.decider.thresholds

    @property
    def gallery(self) -> Gallery:
        """References in force."""
        return self._gallery

    def teach(self, state: str, frame: BgrImage | Frame | None = None) -> Accepted:
        """Enrol the last frame, or another one, as a reference of `state`.

        The label overrules a similarity to another state; a picture that is dark, covered or
        blurred, or shows nothing new, is rejected. With a gallery file the reference is
        written to it as one revision.

        Args:
            state: Name of the state, which may be new.
            frame: Whole frame; None takes the last one.

        Raises:
            PictureRejectedError: The picture would make the gallery worse; `reason` says why.
            PictureError: `frame` is no picture.
            GalleryError: There is no frame yet, the name is invalid, or the file cannot be
                written.
        """
        self._check_use()
        picture = frame if frame is not None else self._frame
        if picture is None:
            raise GalleryError("there is nothing to teach: no frame was processed yet")
        if not isinstance(picture, Frame):
            picture = Frame(picture, 0.0, 0.0, 0, self.source)
        if self._store is None:
            return self._taught_in_memory(state, picture)
        return self._taught_in_file(self._store, state, picture)

    def use(self, gallery: Gallery) -> None:
        """Use another gallery in memory; the present state stays in force.

        Raises:
            GalleryError: The references are of another model, or the watcher has a gallery file.
        """
        self._check_use()
        if self._store is not None:
            raise GalleryError(f"the watcher uses the gallery file {self._store.path}: change that")
        _check_model(gallery, self.embedder)
        self._gallery = gallery
        self._watch.use(gallery)

    def close(self) -> None:
        """Close the gallery file. Safe to call twice."""
        self._is_closed = True
        self._frame = None
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        reason = f": {self.state.reason.value}" if self.state.reason else ""
        return f"Watcher({self.watch!r}, {self.state.name}{reason})"

    def _check_use(self) -> None:
        if self._is_closed:
            raise ValueError(f"the watcher of {self.watch!r} is closed")
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                f"the watcher of {self.watch!r} was made in another thread; use it in that thread, "
                f"or make it in this one"
            )

    def _refresh(self) -> None:
        """Read the gallery file again if it has changed; an unreadable one changes nothing."""
        if self._store is None:
            return
        try:
            version = self._store.data_version()
            if version == self._seen_version:
                return
            self._seen_version = version
            gallery = self._store.gallery(self.watch, model_id=self.embedder.model_id)
        except GalleryError as error:
            logger.error("the gallery is kept as it was: %s", error)
            return
        self._gallery = gallery
        self._watch.use(gallery)
        logger.info("gallery revision=%d is in force", gallery.revision)

    def _taught_in_memory(self, state: str, picture: Frame) -> Accepted:
        region = self._watch.region
        pixels = region.pixels_of(picture.pixels)
        overruled = None
        try:
            reference = make_reference(self.embedder, pixels, state, gallery=self._gallery)
        except PictureRejectedError as error:
            if error.reason != Refusal.CONFLICT.value:
                raise
            overruled = Refusal.CONFLICT
            reference = make_reference(
                self.embedder, pixels, state, gallery=self._gallery, force=True
            )
        self.use(self._gallery.adding(reference))
        name = f"{picture.source}#{picture.index}"
        return Accepted(name, state, reference.condition, overruled, reference.reference_id)

    def _taught_in_file(self, store: GalleryStore, state: str, picture: Frame) -> Accepted:
        plan = EnrolmentPlan(self.watch, state, self._watch.region, {"taught": "yes"})
        name = f"{picture.source}#{picture.index}"
        candidate = EnrolmentCandidate(name, picture.pixels, picture.unix_time_s or None)
        with GalleryStore.open(store.path) as writable:
            report = enrol(writable, self.embedder, [candidate], plan=plan)
            if report.rejected and report.rejected[0].refusal is Refusal.CONFLICT:
                report = enrol(writable, self.embedder, [candidate], plan=replace(plan, force=True))
        if report.rejected:
            raise rejection_error(report.rejected[0])
        self._refresh()
        return report.accepted[0]


class _FrameTimes:
    """Numbers and times of the frames: one clock for all of them, which never goes back."""

    def __init__(self) -> None:
        self._index = 0
        self._clock: str | None = None
        self._last_s = -math.inf
        self._ahead_s = 0.0

    def frame_of(self, frame: BgrImage | Frame, at: float | None, source: str) -> Frame:
        """Return the frame with its time."""
        if isinstance(frame, Frame):
            if at is not None:
                raise ValueError("`at` is for pictures only: a Frame carries its time")
            self._check_clock("frame")
            self._index += 1
            return frame
        if at is None:
            timed = Frame(frame, time.monotonic(), time.time(), self._index, source)
            self._check_clock("machine")
        else:
            if not (isinstance(at, int | float) and 0 <= at < 1e11):
                raise ValueError(f"`at` must be seconds since 1970, as of time.time(), got {at!r}")
            timed = Frame(frame, self._steady(float(at)), float(at), self._index, source)
            self._check_clock("given")
            self._last_s, self._ahead_s = timed.captured_at_s, timed.captured_at_s - float(at)
        self._index += 1
        return timed

    def _steady(self, at_s: float) -> float:
        """Return `at_s` moved forward so that it does not lie before the previous frame."""
        return max(at_s + self._ahead_s, self._last_s)

    def _check_clock(self, clock: str) -> None:
        if self._clock not in (None, clock):
            raise ValueError(
                "give `at` for every frame or for none, and Frames or pictures: "
                "their times do not compare"
            )
        self._clock = clock


def _configured(
    watch: str,
    mask: MaskLike | None,
    source: str,
    device: str,
    settings: WatchSettings,
) -> tuple[Config, Region]:
    plain: dict[str, Any] = dict(settings)
    for key in ("source", "mask"):
        plain.pop(key, None)
    region = region_from(plain.get("roi", Roi()), mask)
    plain["roi"] = (region.roi.x1, region.roi.y1, region.roi.x2, region.roi.y2)
    return single_watch_config(watch, plain, source=source, device=device), region


def _opened(model: ModelLike) -> Embedder:
    if isinstance(model, str):
        return open_embedder(model)
    if isinstance(model, PathLike):
        return open_embedder(str(model))
    check_embedder(model)
    return model


def _open_store(path: str | PathLike[str], *, create: bool = False) -> GalleryStore:
    """Return the gallery file, open for reading."""
    if create:
        GalleryStore.open(path, create=True).close()
    return GalleryStore.open(path, read_only=True)


def _check_known(store: GalleryStore, watch: str) -> None:
    known = store.watches()
    if watch not in known:
        raise GalleryError(
            f"{store.path}: there is no watch {watch!r}{nearest(watch, known)}; "
            f"create=True starts one"
        )


def _check_model(gallery: Gallery, embedder: Embedder) -> None:
    if not isinstance(gallery, Gallery):
        raise GalleryError(
            f"needs a Gallery in memory, got {type(gallery).__name__}: Watcher.open opens a file"
        )
    if gallery.model_id not in (None, embedder.model_id):
        raise GalleryError(
            f"the references were made with the model {gallery.model_id}, the watcher uses "
            f"{embedder.model_id}; make them with watcher.embedder"
        )
