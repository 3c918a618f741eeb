"""Configuration: YAML read into frozen structs. `assembly` builds the device from them.

An unknown key is an error that names the key, its line and the nearest valid key. `${NAME}` is
replaced in secrets only: in keys called `uri`, `url`, `password`, `secret` and `token`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from edge_sim.core.files import read_bounded
from edge_sim.core.options import (
    INTERNAL,
    Count,
    Name,
    Options,
    PositiveSeconds,
    Ratio,
    Seconds,
    in_words,
)
from edge_sim.core.types import Roi, is_reserved
from edge_sim.decision.followers import follower_names
from edge_sim.decision.rules import Rules
from edge_sim.decision.scene_problems import ReportingPolicy
from edge_sim.errors import ConfigError, EdgeSimError, GalleryError, SinkError, SourceError
from edge_sim.gallery.gallery import checked_name
from edge_sim.io.sinks.options import SinkOptions, StdoutOptions
from edge_sim.io.sources.options import SourceOptions
from edge_sim.runtime.config.service import (
    DaemonConfig,
    ExplanationsConfig,
    ReviewConfig,
    ScoreLogConfig,
    UpdatesConfig,
    WebConfig,
    check_review,
    check_updates,
    check_web,
)
from edge_sim.runtime.config.sinks import OutboxConfig, check_images, read_sinks, registered_section
from edge_sim.runtime.config.watches import check_rules
from edge_sim.runtime.config.yaml_reader import MAX_TEXT, YamlReader, compose, nearest


class ModelConfig(Options, frozen=True):
    """The embedding model.

    Args:
        path: `default` for the model that ships with edge_sim, the path of a .tflite file, or
            `thumbnail` for no model at all: a baseline for machines without a runtime.
        threads: Threads of one inference.
        runtime: Runtime of the model; `auto` takes the first that works.
    """

    path: str = "default"
    threads: Count = 1
    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = "auto"


class GalleryConfig(Options, frozen=True):
    """The gallery file.

    Args:
        path: File with all reference pictures of this device.
    """

    path: str = "gallery.db"


class SourceConfig(SourceOptions, frozen=True, kw_only=True):
    """One source, of the kind of its `uri`.

    Args:
        uri: Address of the camera: /dev/video0, /dev/v4l/by-id/..., rtsp://..., http://..., csi:0;
            or a file, a folder of pictures, or a drawn scene such as synthetic:bowl. `${NAME}` is
            taken from the environment.
        frozen_timeout_s: Seconds of the same picture, noise included, that count as a loss of the
            source; null never.
        stale_after_s: Seconds without a frame after a loss until the watches of the source say
            unknown; null never.
    """

    uri: str
    frozen_timeout_s: PositiveSeconds | None = 120.0
    stale_after_s: PositiveSeconds | None = 60.0


class ConfirmConfig(Options, frozen=True):
    """Votes for a change: `matches` of the last `of` observations agree.

    Args:
        matches: Observations that must agree.
        of: Latest observations that are counted.
    """

    matches: Count = 3
    of: Count = 5


class WatchConfig(Options, frozen=True):
    """One region of one source.

    Args:
        source: Name of the source; null takes the only one.
        states: Names of the states; empty takes those in the gallery.
        roi: Region of interest: left, top, right and bottom edge in fractions of the frame.
        mask: Picture over the region; black hides what must not count. null hides nothing.
        interval_s: Interval between observations in seconds of frame time; 0 observes every frame.
        recheck_s: Interval between observations while a change is being confirmed.
        gate: Whether pictures that show nothing new are not embedded again.
        sensitivity: 0 to 1; 0.5 is the calibrated point. Higher reports weaker changes, and
            unknown more often.
        confirm: Agreement of observations that a change needs.
        rules: Known transitions and durations of the states.
        problems: Problems of the picture that are reported, and when.
        drift_every_s: Interval between observations whose scores are compared with those of the
            references, in seconds of frame time; null does not compare.
        followers: Registered followers, by name.
        private: Whether no picture of it leaves the device: the page shows its state only, MQTT
            sinks publish neither picture nor embedding of it, and no pack takes its references.
    """

    source: str | None = None
    states: tuple[Name, ...] = ()
    roi: tuple[Ratio, Ratio, Ratio, Ratio] = (0.0, 0.0, 1.0, 1.0)
    mask: str | None = None
    interval_s: Seconds = 0.0
    recheck_s: Seconds = 0.0
    gate: bool = True
    sensitivity: Ratio = 0.5
    confirm: ConfirmConfig = ConfirmConfig()
    rules: Rules = Rules()
    problems: ReportingPolicy = ReportingPolicy()
    drift_every_s: PositiveSeconds | None = 1800.0
    followers: tuple[Name, ...] = ()
    private: bool = False


class ScoreConfig(Options, frozen=True):
    """Comparison of probes and references.

    Args:
        ssim_engine: Implementation of structural similarity; scikit-image is slower.
    """

    ssim_engine: Literal["opencv", "scikit-image"] = "opencv"


class Config(Options, frozen=True):
    """Whole configuration, as in `configs/default.yaml`.

    Args:
        device: Name of this device, in every event.
        model: The embedding model.
        gallery: The gallery file.
        score: Comparison of a picture with the references.
        sources: Sources of frames, by a name of your choice.
        watches: Watches, by a name of your choice.
        sinks: Destinations of events.
        outbox: Storage of events until every sink has them.
        explanations: Explanations of changes of state.
        score_log: Log of the scores of every watch.
        review: Pictures of uncertain observations, kept for a person to label.
        daemon: Settings of the service.
        web: The page, its API, health, metrics and state.
        updates: Signed packs of references that the daemon takes by itself.
    """

    earlier_keys: ClassVar[Mapping[str, str]] = {"health": "web"}
    device: Name = "edge_sim"
    model: ModelConfig = ModelConfig()
    gallery: GalleryConfig = GalleryConfig()
    score: ScoreConfig = ScoreConfig()
    sources: dict[Name, SourceConfig] = msgspec.field(default_factory=dict)
    watches: dict[Name, WatchConfig] = msgspec.field(default_factory=dict)
    sinks: tuple[SinkOptions, ...] = (StdoutOptions(),)
    outbox: OutboxConfig = OutboxConfig()
    explanations: ExplanationsConfig = ExplanationsConfig()
    score_log: ScoreLogConfig = ScoreLogConfig()
    review: ReviewConfig = ReviewConfig()
    daemon: DaemonConfig = DaemonConfig()
    web: WebConfig = WebConfig()
    updates: UpdatesConfig = UpdatesConfig()
    folder: Annotated[str, INTERNAL] = "."
    """Folder that relative paths start from: that of the file. Not a key of the file."""
    hints: Annotated[tuple[str, ...], INTERNAL] = ()
    """Lines about keys of the file that have other names now. Not a key of the file."""
    places: Annotated[dict[str, str], INTERNAL] = msgspec.field(default_factory=dict)
    """FILE:LINE of each key of the file, as in `watches.bowl.mask`. Not a key of the file."""

    def error(self, key: str, message: str) -> ConfigError:
        """Return an error about a key, with its line, or that of what it is in, in front."""
        while key and key not in self.places:
            key = re.split(r"[.\[][^.\[]*$", key)[0] if re.search(r"[.\[]", key) else ""
        place = self.places.get(key, "")
        return ConfigError(f"{place}: {message}" if place else message)

    @contextmanager
    def located(
        self,
        section: str,
        key: str = "",
        *,
        kinds: tuple[type[EdgeSimError], ...] = (ConfigError, SourceError, SinkError),
    ) -> Iterator[None]:
        """Say in the errors of the block where the section, or its key, is written.

        Args:
            section: Path of the section, as in `sources.yard`.
            key: Key that an error is about which names none of the section's keys.
            kinds: Kinds of errors; others pass as they are.
        """
        try:
            yield
        except kinds as error:
            messages = error.messages if isinstance(error, ConfigError) else (str(error),)
            raise type(error)(
                *(self._located(section, key, message) for message in messages)
            ) from error

    def _located(self, section: str, key: str, message: str) -> str:
        start = f"{section}."
        keys = [place.removeprefix(start) for place in self.places if place.startswith(start)]
        named = [name for name in keys if re.search(rf"\b{re.escape(name)}\b", message)]
        shown = message if message.startswith(section) else f"{section}: {message}"
        return str(self.error(start + (named or [key])[0], shown)) if self.places else message

    @property
    def is_served(self) -> bool:
        """True if pages are served, on which watches can be added and taught."""
        return self.web.address is not None

    def source_of(self, watch: str) -> str:
        """Return the name of the source of a watch: the only one, where it names none."""
        return self.watches[watch].source or next(iter(self.sources), "")

    def path(self, text: str) -> Path:
        """Return a path of the configuration, relative ones from the file's folder."""
        return Path(self.folder, text).absolute() if text else Path(self.folder)


def load_config(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in a YAML file.

    Args:
        path: Path of the file.
        environ: Values for `${NAME}` in secrets; None takes the environment of the process.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or has an invalid key or value.
    """
    file = Path(path)
    try:
        text = read_bounded(file, MAX_TEXT).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        raise ConfigError(f"{file}: cannot read the configuration ({reason})") from error
    environ = os.environ if environ is None else environ
    return parse_config(text, where=str(file), folder=str(file.parent), environ=environ)


def parse_config(
    text: str,
    *,
    where: str = "configuration",
    folder: str = ".",
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration in YAML text.

    Args:
        text: Text of a file for `load_config`.
        where: Name of the text in errors.
        folder: Folder that relative paths start from.
        environ: Values for `${NAME}` in secrets; none are read from the process.

    Raises:
        ConfigError: As in `load_config`.
    """
    node = compose(text, where)
    reader = YamlReader(where, environ or {}, section_of=registered_section)
    table = {} if node is None else reader.value(node, Config, "")
    reader.finish()
    sinks = table.pop("sinks", None)
    try:
        known = {"folder": folder, "hints": reader.hints, "places": reader.places()}
        config = msgspec.convert({**table, **known}, Config)
        if sinks is not None:
            config = msgspec.structs.replace(config, sinks=read_sinks(sinks))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {in_words(error)}") from error
    _check(config, reader)
    return config


def single_watch_config(
    name: str,
    settings: Mapping[str, Any],
    *,
    source: str,
    device: str = "edge_sim",
    score: ScoreConfig | None = None,
) -> Config:
    """Return a configuration of one watch from plain values, checked as a file is.

    Args:
        name: Name of the watch.
        settings: Keys of a watch in the configuration, with their values.
        source: Name of the source, for events.
        device: Name of the device, for events.
        score: Comparison of probes and references.

    Raises:
        ConfigError: A key is unknown, a value invalid, or values contradict each other.
    """
    known = [field.name for field in msgspec.structs.fields(WatchConfig)]
    for key in settings:
        if key not in known:
            raise ConfigError(f"watch {name!r}: unknown setting {key!r}{nearest(key, known)}")
    try:
        for kind, value in {"watch": name, "source": source, "device": device}.items():
            checked_name(kind, value)
    except GalleryError as error:
        raise ConfigError(str(error)) from error
    table = {
        "device": device,
        "sources": {source: {"uri": "frames of the program"}},
        "watches": {name: dict(settings)},
    }
    try:
        config = msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        fault, _, place = in_words(error).rstrip(")").partition(" (at watches[...].")
        raise ConfigError(f"watch {name!r}, {place or 'settings'}: {fault}") from error
    _check(config, YamlReader(f"watch {name!r}", {}))
    return msgspec.structs.replace(config, score=score or ScoreConfig(), sinks=())


def _check(config: Config, reader: YamlReader) -> None:
    """Check the rules that concern several sections."""
    on_disk = config.outbox.storage == "disk"
    with reader.collecting():
        check_web(config.web, reader)
    with reader.collecting():
        check_updates(config.updates, reader)
    with reader.collecting():
        check_review(config.review, on_disk=on_disk, reader=reader)
    with reader.collecting():
        check_images(config.sinks, on_disk=on_disk, reader=reader)
    for name, watch in config.watches.items():
        _check_watch(config, watch, f"watches.{name}", reader)
    reader.finish()


def _check_watch(config: Config, watch: WatchConfig, path: str, reader: YamlReader) -> None:
    with reader.collecting():
        _check_source(config, watch, path, reader)
    with reader.collecting():
        try:
            Roi(*watch.roi)
        except ValueError as error:
            raise reader.error(f"{path}.roi", f"{path}.roi: {error}") from error
    with reader.collecting():
        if watch.confirm.matches > watch.confirm.of:
            raise reader.error(
                f"{path}.confirm",
                f"{path}.confirm: matches {watch.confirm.matches} is more than "
                f"of {watch.confirm.of}",
            )
    for state in filter(is_reserved, watch.states):
        with reader.collecting():
            raise reader.error(f"{path}.states", f"{path}.states: {state!r} is reserved")
    with reader.collecting():
        check_rules(watch.rules, watch.states, f"{path}.rules", reader)
    for follower in watch.followers:
        if follower not in follower_names():
            hint = nearest(follower, follower_names())
            with reader.collecting():
                raise reader.error(
                    f"{path}.followers",
                    f"{path}.followers: there is no follower {follower!r}{hint}",
                )


def _check_source(config: Config, watch: WatchConfig, path: str, reader: YamlReader) -> None:
    if watch.source is None and len(config.sources) != 1:
        known = ", ".join(config.sources) or "none"
        raise reader.error(path, f"{path}: the key source is missing (source: NAME of {known})")
    if watch.source is not None and watch.source not in config.sources:
        hint = nearest(watch.source, config.sources)
        raise reader.error(
            f"{path}.source", f"{path}.source: there is no source {watch.source!r}{hint}"
        )
