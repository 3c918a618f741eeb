"""Explanations of events: recorded with the event, kept in bounded space, and found again.

An explanation holds all that decided an event, so that it can be explained without the video.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import msgspec

from edge_sim.core.events import StateChanged, unix_time_s
from edge_sim.core.files import exists, private_opener, reading_opener, write_private
from edge_sim.core.images import encode_jpeg
from edge_sim.core.types import (
    BgrImage,
    GrayImage,
    Match,
    Observation,
    Score,
    State,
    StateScore,
    Threshold,
    UnknownReason,
)
from edge_sim.decision.pipeline import Outcome, Watch
from edge_sim.decision.thresholds import DecisionState, LearnedDrift, Memory, Settings, learned
from edge_sim.errors import DataError
from edge_sim.runtime.config import Config
from edge_sim.runtime.score_log import fault_of
from edge_sim.version import __version__

SCHEMA = 1
_DIGEST_BYTES = 8


class ObservationSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """Observation around an event.

    Args:
        at_s: Frame time after the event, seconds; negative before it.
        unix_time_s: Time of the frame, seconds since 1970.
        state: State of the watch after the observation, with the `reason` of `unknown`.
        scores: `Score.combined` by state, 0 to 1; empty without references.
        levels: Thresholds in force, by state.
        margin: Probability margin of the best state, 0 to 1; null without a match.
        luma: Mean grey level, 0 to 255.
        condition: Light condition.
        impediment: Reason against a decision on the observation; null without one.
        decided: Whether this observation gave the event.
    """

    at_s: float
    unix_time_s: float
    state: str
    scores: dict[str, float]
    levels: dict[str, Threshold]
    margin: float | None
    luma: float
    condition: str
    reason: str | None = None
    impediment: str | None = None
    decided: bool = False


class Explanation(msgspec.Struct, frozen=True, tag="explanation", tag_field="type"):
    """Event with all that decided it.

    Args:
        event: Event as it was sent.
        cause: Observation that decided, in full precision where it was kept.
        settings: Settings of the decider; null if only the event is known.
        standing: Votes and evidence before the decision; null if only the event is known.
        drifts: Adaptation of the thresholds.
        observations: Observations around the event, the oldest first; later ones than the event
            only from a score log.
        gallery: Digest of the references; empty if unknown.
        configuration: Digest of the sections that decide: model, score and watch; empty if unknown.
        edge_sim: Version that decided; empty if unknown.
        picture: JPEG of the region in colour; null unless pictures are kept.
        thumbnail: PNG of the (96, 96) grey picture for structural similarity; null likewise.
    """

    event: StateChanged
    cause: Observation
    settings: Settings | None = None
    standing: DecisionState | None = None
    drifts: tuple[LearnedDrift, ...] = ()
    observations: tuple[ObservationSummary, ...] = msgspec.field(name="looks", default=())
    gallery: str = ""
    configuration: str = ""
    edge_sim: str = ""
    picture: bytes | None = None
    thumbnail: bytes | None = None
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, eq=False)
class ObservedState:
    """An observation, the state of the watch after it, and the thresholds in force."""

    observation: Observation
    state: State
    thresholds: Mapping[str, Threshold]


def summarise_observation(observed: ObservedState, cause: Observation) -> ObservationSummary:
    """Return the summary of an observation, its time counted from that which decided, `cause`."""
    observation, state, thresholds = observed.observation, observed.state, observed.thresholds
    match = observation.match
    return ObservationSummary(
        at_s=round(observation.captured_at_s - cause.captured_at_s, 3),
        unix_time_s=round(observation.unix_time_s, 3),
        state=state.name,
        reason=state.reason.value if state.reason else None,
        scores={} if match is None else {s.state: round(s.score.combined, 4) for s in match.states},
        levels={name: level.rounded() for name, level in thresholds.items()},
        margin=None if match is None else round(match.margin, 4),
        luma=round(observation.quality.luma, 1),
        condition=observation.condition,
        impediment=observation.impediment.value if observation.impediment else None,
        decided=observation is cause,
    )


def from_event(event: StateChanged) -> Explanation:
    """Return the explanation that an event alone gives, with the rounded numbers that were sent."""
    states = tuple(
        StateScore(
            item.state,
            item.reference_id,
            Score(item.cosine, item.ssim, item.combined),
            item.probability,
        )
        for item in event.matches
    )
    reason = None if event.reason is None else UnknownReason(event.reason)
    impediment = reason if reason in _IMPEDIMENTS else None
    cause = Observation(
        captured_at_s=event.captured_at_s,
        unix_time_s=unix_time_s(event.at),
        frame_index=event.frame,
        match=Match(states) if states else None,
        condition=event.condition,
        impediment=impediment,
        quality=event.quality,
    )
    return checked(Explanation(event, cause))


def checked(explanation: Explanation) -> Explanation:
    """Return an explanation that was read, if its values are possible.

    Raises:
        ValueError: They are not; the file was changed by something else.
    """
    event = explanation.event
    unix_time_s(event.at)
    states = [(event.after, event.reason)]
    states += [] if event.before is None else [(event.before, event.before_reason)]
    states += [(item.state, item.reason) for item in explanation.observations]
    for name, reason in states:
        State(name, None if reason is None else UnknownReason(reason))
    for item in explanation.observations:
        if item.impediment is not None:
            UnknownReason(item.impediment)
    if explanation.settings is not None:
        fault = fault_of(explanation.cause, explanation.settings.levels)
        if fault:
            raise ValueError(fault)
    return explanation


def configuration_digest(config: Config, watch: str) -> str:
    """Return a digest of the sections that decide a watch, 16 hexadecimal digits."""
    decides = (config.model, config.score, config.watches.get(watch))
    return hashlib.blake2b(msgspec.json.encode(decides), digest_size=_DIGEST_BYTES).hexdigest()


def present_version() -> str:
    """Return the version of edge_sim that runs."""
    return __version__


_IMPEDIMENTS = frozenset(UnknownReason) - {
    UnknownReason.STARTING,
    UnknownReason.NO_REFERENCES,
    UnknownReason.NOVEL,
    UnknownReason.AMBIGUOUS,
    UnknownReason.UNTAUGHT_LIGHT,
    UnknownReason.STALE,
}


LATEST = "last"
"""Word for the newest event in place of an id."""
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Explanation)
_ID = re.compile(rb'"type":"state_changed","id":"([^"]*)"')
_LEAST_PREFIX = 4
_NAMED_IDS = 3


class ExplanationFile:
    """Writer of one JSON line per event; the full file is renamed to `<name>.1`.

    The file is opened for each line: events are rare, and nothing stays open for months. A line
    cut short by a power failure is ended before the next one.

    Args:
        path: Path of the file; its folder must exist.
        max_mb: Size of one file, megabytes; at most two of them are kept.
    """

    def __init__(self, path: Path, *, max_mb: float = 8.0) -> None:
        self._path = path
        self._max_bytes = int(max_mb * 1e6)

    def append(self, explanation: Explanation) -> None:
        """Write one explanation.

        Raises:
            DataError: The disk is full or gone.
        """
        line = _ENCODER.encode(explanation) + b"\n"
        try:
            if self._fits(line):
                return
            self._path.replace(older_part(self._path))
            write_private(self._path, line)
        except OSError as error:
            raise DataError(f"{self._path}: cannot append ({error.strerror})") from error

    def _fits(self, line: bytes) -> bool:
        """Append a line if there is room for it; whole, or not at all."""
        with open(self._path, "ab", buffering=0, opener=private_opener) as stream:
            end = stream.seek(0, os.SEEK_END)
            if end and end + len(line) > self._max_bytes:
                return False
            content = _closing(self._path, end) + line
            try:
                if stream.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    stream.truncate(end)
                raise
        return True


def find_explanation(paths: Iterable[Path], wanted: str) -> Explanation:
    """Return the explanation of an event.

    Args:
        paths: Files written by `ExplanationFile`; for each the older part is read first.
        wanted: Id of an event, its first digits (at least four) if they are unique, or `last`.

    Raises:
        DataError: A file cannot be read, or there is no such event; similar ids are named.
    """
    names = [str(path) for path in paths]
    lines: dict[str, bytes] = {}
    for path in map(Path, names):
        for line in _stored_lines(path):
            match = _ID.search(line)
            if match is not None:
                event_id = match[1].decode("utf-8", "replace")
                lines.pop(event_id, None)  # sent again after a power cut: the last counts
                lines[event_id] = line
    chosen = choose(list(lines), wanted, " or ".join(names))
    try:
        return checked(_DECODER.decode(lines[chosen]))
    except (msgspec.DecodeError, ValueError) as error:
        raise DataError(
            f"{names[0]}: the explanation of {chosen} cannot be read ({error})"
        ) from error


def choose(ids: Sequence[str], wanted: str, place: str) -> str:
    """Return the id that `wanted` names.

    Args:
        ids: Known ids, the newest last.
        wanted: Id, its first digits if they are unique, or `last`.
        place: Name of their files, for the error.

    Raises:
        DataError: There is none, or several begin so.
    """
    if not ids:
        raise DataError(f"{place}: no event of a change of state is kept there")
    if wanted == LATEST:
        return ids[-1]
    if wanted in ids:
        return wanted
    begun = (
        [item for item in ids if item.startswith(wanted)] if len(wanted) >= _LEAST_PREFIX else []
    )
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise DataError(
            f"{place}: {wanted} may be {', '.join(begun[:_NAMED_IDS])}; give more digits"
        )
    near = get_close_matches(wanted, ids, _NAMED_IDS) or list(ids[-_NAMED_IDS:][::-1])
    raise DataError(
        f"{place}: there is no event {wanted[:64]!r} among {len(ids)}; nearest: {', '.join(near)}"
    )


def _stored_lines(path: Path) -> Iterator[bytes]:
    older = older_part(path)
    if not exists(path) and not exists(older):
        raise DataError(
            f"{path}: nothing is kept there yet; `edge-sim run` and `edge-sim daemon` write "
            f"an explanation with every change of state"
        )
    for part in (older, path):
        if not exists(part):
            continue
        try:
            with open(part, "rb", opener=reading_opener) as stream:
                yield from stream
        except OSError as error:
            raise DataError(f"{part}: cannot be read ({error.strerror})") from error


def _closing(path: Path, end: int) -> bytes:
    """Return a line end if the last line was cut short; nothing if it is whole."""
    if not end:
        return b""
    with path.open("rb") as stream:
        stream.seek(end - 1)
        return b"" if stream.read(1) == b"\n" else b"\n"


def older_part(path: Path) -> Path:
    """Return the path of the earlier explanations, to which a full file is renamed."""
    return path.with_name(f"{path.name}.1")


PICTURE_PX = 256
"""Longest side of a kept picture, pixels."""


@runtime_checkable
class Explainable(Protocol):
    """Decider that shows its settings and its state."""

    @property
    def settings(self) -> Settings:
        """Settings of the decider."""

    @property
    def standing(self) -> DecisionState:
        """Votes and evidence before the last observation was decided."""

    def snapshot(self) -> Memory:
        """Return state and learned thresholds."""


class Recorder:
    """Maker of the explanation of each event from the observations before it.

    It keeps a number of small values per watch; pictures only while an explanation is made.

    Args:
        observations: Number of observations kept per watch.
        pictures: Whether explanations hold the picture of the region.
        configuration: Function that returns the digest of the configuration of a watch.
    """

    def __init__(
        self, *, observations: int, pictures: bool, configuration: Callable[[str], str]
    ) -> None:
        self._most = observations
        self._pictures = pictures
        self._configuration = configuration
        self._observations: dict[str, deque[ObservedState]] = {}

    def note(
        self, watch: Watch, outcome: Outcome, event: StateChanged | None, frame: BgrImage | None
    ) -> Explanation | None:
        """Keep one observation; return the explanation of its event, if it gave one.

        Args:
            watch: Watch of the observation.
            outcome: Result of the observation.
            event: Event of its change of state; None without a change.
            frame: Whole picture, (H, W, 3) uint8 BGR; None keeps the grey thumbnail alone.
        """
        kept = self._observations.setdefault(watch.name, deque(maxlen=self._most))
        kept.append(ObservedState(outcome.observation, outcome.state, outcome.thresholds))
        if event is None:
            return None
        picture = thumbnail = None
        if self._pictures:
            thumbnail = _png(outcome.probe.thumbnail)
            picture = None if frame is None else _jpeg(watch.region.pixels_of(frame))
        decider = watch.decider
        reasons = decider if isinstance(decider, Explainable) else None
        return Explanation(
            event=event,
            cause=outcome.observation,
            settings=reasons.settings if reasons else None,
            standing=reasons.standing if reasons else None,
            drifts=learned(reasons.snapshot().drifts) if reasons else (),
            observations=tuple(summarise_observation(item, outcome.observation) for item in kept),
            gallery=watch.gallery.digest,
            configuration=self._configuration(watch.name),
            edge_sim=present_version(),
            picture=picture,
            thumbnail=thumbnail,
        )

    def explain_lost_view(self, watch: Watch, event: StateChanged) -> Explanation:
        """Return the explanation of a change that no observation gave: the view was lost.

        Args:
            watch: Watch of the event.
            event: Change to `unknown: stale`.
        """
        bare = from_event(event)
        kept = self._observations.get(watch.name, ())
        return msgspec.structs.replace(
            bare,
            observations=tuple(summarise_observation(item, bare.cause) for item in kept),
            gallery=watch.gallery.digest,
            configuration=self._configuration(watch.name),
            edge_sim=present_version(),
        )


def _png(thumbnail: GrayImage) -> bytes:
    return cv2.imencode(".png", thumbnail)[1].tobytes()


def _jpeg(pixels: BgrImage) -> bytes:
    height, width = pixels.shape[:2]
    shrink = min(1.0, PICTURE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if shrink < 1.0 else pixels
    return encode_jpeg(small.astype("uint8"), 88)
