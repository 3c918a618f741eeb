"""What is kept of an event, so that it can be explained without the video.

ExplanationFile: the explanations of a device, in bounded space; and finding one again.

Recorder: remembers the last looks of every watch, and keeps them when one gives an event.
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
from edge_sim.core.files import exists, private_opener, write_private
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
    """One look around the event.

    Args:
        at_s: Seconds of frame time after the event; negative before it.
        unix_time_s: Of the frame.
        state: What the watch said from then on, with the `reason` of `unknown`.
        scores: `Score.combined` per state, 0 to 1; empty if the gallery is.
        levels: In force, per state.
        margin: Lead of the best state in probability, 0 to 1; null without a match.
        luma: Mean grey level, 0 to 255.
        condition: Light regime.
        impediment: Why the look could not be decided on; null if it could.
        decided: Whether this is the look that gave the event.
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
    """An event with all that decided it.

    Args:
        event: As it was sent.
        cause: The look that decided, in full precision where it was kept.
        settings: What the decider went by; null if only the event is known.
        standing: Votes and evidence at the moment; null if only the event is known.
        drifts: How far the levels had adapted.
        looks: Around the event, the oldest first; those after it only from a score log.
        gallery: Digest of the references; empty if unknown.
        configuration: Digest of the sections that decide: model, score and watch; empty if unknown.
        edge_sim: Version that decided; empty if unknown.
        picture: JPEG of the region in colour; null unless pictures are kept.
        thumbnail: PNG of the (96, 96) grey picture that structural similarity saw; null likewise.
    """

    event: StateChanged
    cause: Observation
    settings: Settings | None = None
    standing: DecisionState | None = None
    drifts: tuple[LearnedDrift, ...] = ()
    looks: tuple[ObservationSummary, ...] = ()
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
    """Return one look as it is kept, its time counted from the look that decided, `cause`."""
    observation, said, thresholds = observed.observation, observed.state, observed.thresholds
    match = observation.match
    return ObservationSummary(
        at_s=round(observation.captured_at_s - cause.captured_at_s, 3),
        unix_time_s=round(observation.unix_time_s, 3),
        state=said.name,
        reason=said.reason.value if said.reason else None,
        scores={} if match is None else {s.state: round(s.score.combined, 4) for s in match.states},
        levels={state: level.rounded() for state, level in thresholds.items()},
        margin=None if match is None else round(match.margin, 4),
        luma=round(observation.quality.luma, 1),
        condition=observation.condition,
        impediment=observation.impediment.value if observation.impediment else None,
        decided=observation is cause,
    )


def from_event(event: StateChanged) -> Explanation:
    """Return what an event alone tells of itself; its numbers are rounded as they were sent."""
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
    """Return an explanation that was read, if everything in it can have happened.

    Raises:
        ValueError: It cannot; the file was changed by something else.
    """
    event = explanation.event
    unix_time_s(event.at)
    said = [(event.after, event.reason)]
    said += [] if event.before is None else [(event.before, event.before_reason)]
    said += [(look.state, look.reason) for look in explanation.looks]
    for name, reason in said:
        State(name, None if reason is None else UnknownReason(reason))
    for look in explanation.looks:
        if look.impediment is not None:
            UnknownReason(look.impediment)
    if explanation.settings is not None:
        fault = fault_of(explanation.cause, explanation.settings.levels)
        if fault:
            raise ValueError(fault)
    return explanation


def configuration_digest(config: Config, watch: str) -> str:
    """Return 16 hexadecimal digits that depend on all that a configuration says of a decision."""
    decides = (config.model, config.score, config.watches.get(watch))
    return hashlib.blake2b(msgspec.json.encode(decides), digest_size=_DIGEST_BYTES).hexdigest()


def present_version() -> str:
    """Return the version of edge_sim that decides here."""
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
"""Asks for the newest event instead of one with an id."""
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Explanation)
_ID = re.compile(rb'"type":"state_changed","id":"([^"]*)"')
_LEAST_PREFIX = 4
_NAMED_IDS = 3


class ExplanationFile:
    """Appends one JSON line per event; the old file goes to `<name>.1` when it is full.

    The file is opened for each line: events are rare, and nothing stays open for months. A line
    cut short by a power failure is closed by the next one, and spoils no other.

    Args:
        path: Of the file; its folder must exist.
        max_mb: Of one file, so that two of them are kept at most.
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
            self._path.replace(_older(self._path))
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
        wanted: An id, its first digits (at least four) if they tell it apart, or `last`.

    Raises:
        DataError: A file cannot be read, or there is no such event; ids that are near are named.
    """
    names = [str(path) for path in paths]
    found: dict[str, bytes] = {}
    for path in map(Path, names):
        for line in _stored_lines(path):
            match = _ID.search(line)
            if match is not None:
                event_id = match[1].decode("utf-8", "replace")
                found.pop(event_id, None)  # told again after a power cut: the last counts
                found[event_id] = line
    chosen = choose(list(found), wanted, " or ".join(names))
    try:
        return checked(_DECODER.decode(found[chosen]))
    except (msgspec.DecodeError, ValueError) as error:
        raise DataError(f"{names[0]}: what is kept of {chosen} cannot be read ({error})") from error


def choose(ids: Sequence[str], wanted: str, place: str) -> str:
    """Return the id that `wanted` means.

    Args:
        ids: That there are, the newest last.
        wanted: An id, its first digits if they tell it apart, or `last`.
        place: Where they come from, for the error.

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
        raise DataError(f"{place}: {wanted} may be {', '.join(begun[:_NAMED_IDS])}; say which")
    near = get_close_matches(wanted, ids, _NAMED_IDS) or list(ids[-_NAMED_IDS:][::-1])
    raise DataError(
        f"{place}: there is no event {wanted[:64]!r} among {len(ids)}; nearest: {', '.join(near)}"
    )


def _stored_lines(path: Path) -> Iterator[bytes]:
    older = _older(path)
    if not exists(path) and not exists(older):
        raise DataError(
            f"{path}: nothing is kept there yet; `edge-sim run` and `edge-sim daemon` write "
            f"an explanation with every change of state"
        )
    for part in (older, path):
        if not exists(part):
            continue
        try:
            with part.open("rb") as stream:
                yield from stream
        except OSError as error:
            raise DataError(f"{part}: cannot be read ({error.strerror})") from error


def _closing(path: Path, end: int) -> bytes:
    """Return what ends a line that was cut short; nothing if the last one is whole."""
    if not end:
        return b""
    with path.open("rb") as stream:
        stream.seek(end - 1)
        return b"" if stream.read(1) == b"\n" else b"\n"


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


PICTURE_PX = 256
"""Longer side of a kept picture, at most."""


@runtime_checkable
class Reasoning(Protocol):
    """A decider that says what it goes by and where it stands."""

    @property
    def settings(self) -> Settings:
        """What it goes by."""

    @property
    def standing(self) -> DecisionState:
        """Where it stood at its last look, before that decided anything."""

    def snapshot(self) -> Memory:
        """Return what it says and has learned."""


class Recorder:
    """Makes the explanation of each event from the looks before it.

    It holds `looks` small values per watch; pictures are only held while an explanation is made.

    Args:
        looks: Remembered of each watch.
        pictures: Whether explanations hold the region's picture.
        configuration: Digest of what the configuration says of a watch.
    """

    def __init__(self, *, looks: int, pictures: bool, configuration: Callable[[str], str]) -> None:
        self._most = looks
        self._pictures = pictures
        self._configuration = configuration
        self._looks: dict[str, deque[ObservedState]] = {}

    def note(
        self, watch: Watch, outcome: Outcome, event: StateChanged | None, frame: BgrImage | None
    ) -> Explanation | None:
        """Remember one look; return the explanation of the event that it gave, if it gave one.

        Args:
            watch: That looked.
            outcome: Of the look.
            event: Of the change in it; None if it changed nothing.
            frame: The whole picture, (H, W, 3) uint8 BGR; None to keep the grey thumbnail alone.
        """
        looks = self._looks.setdefault(watch.name, deque(maxlen=self._most))
        looks.append(ObservedState(outcome.observation, outcome.state, outcome.thresholds))
        if event is None:
            return None
        picture = thumbnail = None
        if self._pictures:
            thumbnail = _png(outcome.probe.thumbnail)
            picture = None if frame is None else _jpeg(watch.region.pixels_of(frame))
        decider = watch.decider
        reasons = decider if isinstance(decider, Reasoning) else None
        return Explanation(
            event=event,
            cause=outcome.observation,
            settings=reasons.settings if reasons else None,
            standing=reasons.standing if reasons else None,
            drifts=learned(reasons.snapshot().drifts) if reasons else (),
            looks=tuple(summarise_observation(look, outcome.observation) for look in looks),
            gallery=watch.gallery.digest,
            configuration=self._configuration(watch.name),
            edge_sim=present_version(),
            picture=picture,
            thumbnail=thumbnail,
        )


def _png(thumbnail: GrayImage) -> bytes:
    return cv2.imencode(".png", thumbnail)[1].tobytes()


def _jpeg(pixels: BgrImage) -> bytes:
    height, width = pixels.shape[:2]
    shrink = min(1.0, PICTURE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if shrink < 1.0 else pixels
    return encode_jpeg(small.astype("uint8"), 88)
