"""Corrections: enrol a frame that a person labels, and name the events that it would change."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_sim.core.events import StateChanged, unix_time_s
from edge_sim.core.images import decode
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import Frame, Observation, Probe, Roi
from edge_sim.decision.pipeline import Watch
from edge_sim.errors import AgainstEvidenceError, CommandError, DataError
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, as_stored, encoded_crop, enrol
from edge_sim.gallery.enrolment_checks import Refusal
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.records import REGION, region_text
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sinks.capabilities import Teach
from edge_sim.runtime import assembly
from edge_sim.runtime.assembly import Device
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.runtime.explanations import find_explanation
from edge_sim.runtime.fitting import LOCKED_S
from edge_sim.runtime.loop import Step
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.light import condition_of
from edge_sim.vision.probe import make_probe


def explanations_path(config: Config) -> Path | None:
    """Return the path of the explanations; None if none are kept."""
    section = config.explanations
    if section.path is None or config.outbox.storage != "disk":
        return None
    return config.path(section.path)


def picture_of_event(config: Config, command: Teach) -> EnrolmentCandidate:
    """Return the picture of the region at the event that `command` names.

    Pictures are kept only with `explanations.pictures`, at most 256 pixels wide, as JPEG.

    Raises:
        CommandError: There is no such event of this watch, or no picture of it.
    """
    wanted = command.event_id or ""
    path = explanations_path(config)
    if path is None:
        raise CommandError(
            f"no picture of the event {wanted} is kept: explanations.path is null, or the outbox "
            "is in memory; teach the present picture"
        )
    try:
        kept = find_explanation([path], wanted)
    except DataError as error:
        raise CommandError(f"no picture of the event {wanted} is kept: {error}") from error
    event = kept.event
    if event.watch != command.watch:
        raise CommandError(f"the event {event.id} belongs to {event.watch}, not to {command.watch}")
    if kept.picture is None:
        raise CommandError(
            f"the event {event.id} at {event.at} is known, but no picture of it was kept; set "
            "explanations.pictures: true for the next one, or teach the present picture"
        )
    try:
        pixels = decode(kept.picture)
    except ValueError as error:
        raise CommandError(f"the picture of the event {event.id} is damaged: {error}") from error
    return EnrolmentCandidate(f"event {event.id}", pixels, unix_time_s(event.at))


SURE = 0.95
"""Probability of another state from which on a correction is against the evidence."""
KEPT_PER_WATCH = 8
"""Pictures of the last events that are held in memory; older ones may be in the explanations."""
KEPT_BYTES = 16_000_000
"""Most bytes of these pictures, all watches together: the oldest are dropped first."""
_MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Flip:
    """Recent event that would give another state with the new reference."""

    event_id: str
    before: str
    after: str
    unix_time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sure verdict of the gallery that a picture shows another state than a person says.

    Args:
        state: State that the gallery sees.
        probability: Its probability, 0 to 1.
    """

    state: str
    probability: float

    def __str__(self) -> str:
        return f"the gallery is sure that this is {self.state} ({self.probability:.2f})"


@dataclass(frozen=True, slots=True)
class Lesson:
    """Result of a correction.

    Args:
        watch: Name of the watch.
        state: State of the picture.
        reference_id: Id of the new reference.
        revision: Revision of the gallery; `edge-sim gallery undo` reverts it.
        overruled: Reason against the picture; None if there was none.
        flips: Recent events that would give another state now.
        against_evidence: Verdict of the gallery that the correction contradicts; None if there is
            none.
    """

    watch: str
    state: str
    reference_id: str
    revision: int
    overruled: str | None
    flips: tuple[Flip, ...]
    against_evidence: Evidence | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _EventPicture:
    event_id: str
    encoded: bytes
    probe: Probe
    observation: Observation
    unix_time_s: float


class Teacher:
    """Last pictures of every watch, and their enrolment on request.

    Args:
        now: Seconds since 1970 UTC, for the time of enrolment.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._frames: dict[str, Frame] = {}
        self._pictures: dict[str, deque[_EventPicture]] = {}
        self._order: deque[tuple[str, str]] = deque(maxlen=_MOST_KEPT)

    def note(self, device: Device, source: str, step: Step) -> None:
        """Keep the frame, and the picture of every change of state."""
        if step.frame is None:
            return
        self._frames[source] = step.frame
        ids = {event.watch: event.id for event in step.events if isinstance(event, StateChanged)}
        for outcome in step.outcomes:
            if outcome.watch not in ids:
                continue
            region = device.watches[outcome.watch].region
            stored = as_stored(region.pixels_of(step.frame.pixels))
            picture = _EventPicture(
                ids[outcome.watch],
                encoded_crop(stored),
                outcome.probe,
                outcome.observation,
                step.frame.unix_time_s,
            )
            self._keep(outcome.watch, picture)

    def frame(self, source: str) -> Frame | None:
        """Return the newest frame of a source; None before the first. Safe in any thread."""
        return self._frames.get(source)

    def event_picture(self, event_id: str) -> tuple[str, bytes] | None:
        """Return watch and encoded picture of a recent event; None if it is not kept here.

        Safe in any thread: copies are made at once.
        """
        for watch, pictures in list(self._pictures.items()):
            for picture in tuple(pictures):
                if picture.event_id == event_id:
                    return watch, picture.encoded
        return None

    def _keep(self, watch: str, picture: _EventPicture) -> None:
        kept = self._pictures.setdefault(watch, deque(maxlen=KEPT_PER_WATCH))
        kept.append(picture)
        self._order.append((watch, picture.event_id))
        size = sum(len(item.encoded) for each in self._pictures.values() for item in each)
        while size > KEPT_BYTES and len(self._order) > 1:
            name, event_id = self._order.popleft()
            oldest = self._pictures[name]
            if oldest and oldest[0].event_id == event_id:
                size -= len(oldest.popleft().encoded)

    def teach(self, device: Device, command: Teach) -> Lesson:
        """Add the picture to the gallery file.

        Raises:
            CommandError: There is no such watch, state or picture, or the picture is rejected.
            GalleryError: The gallery cannot be written.
        """
        watch = _watch_of(device, command)
        candidate = self._candidate(device, watch, command)
        lesson = teach_picture(device.config, device.embedder, command, candidate, self._now)
        if not self._pictures.get(watch.name):
            return lesson  # no event that could be decided again: no frame waits for a fit
        with assembly.open_gallery(device.config) as store:
            gallery = store.gallery(watch.name, model_id=device.embedder.model_id)
        return replace(lesson, flips=self.flips(device.config, watch.name, gallery))

    def recent_pictures(self, watch: str) -> int:
        """Return how many pictures of recent events of a watch are kept. Safe in any thread."""
        return len(self._pictures.get(watch, ()))

    def flips(self, config: Config, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        """Return the recent events of a watch that would give another state with a gallery.

        Safe in any thread. Events from before the watch was reloaded count too.

        Args:
            config: Configuration in force.
            watch: Name of the watch.
            gallery: References to decide with.
        """
        pictures = tuple(self._pictures.get(watch, ()))
        if not pictures:
            return ()
        scorer = stages_of(config, config.watches[watch]).scorer(gallery)
        flips = []
        for picture in pictures:
            observation = picture.observation
            match = scorer.best_match(picture.probe, observation.condition)
            before = "" if observation.match is None else observation.match.best.state
            after = "" if match is None else match.best.state
            if before != after:
                flips.append(Flip(picture.event_id, before, after, picture.unix_time_s))
        return tuple(flips)

    def _candidate(self, device: Device, watch: Watch, command: Teach) -> EnrolmentCandidate:
        if command.event_id is not None:
            for picture in self._pictures.get(watch.name, ()):
                if picture.event_id == command.event_id:
                    name = f"event {picture.event_id}"
                    return EnrolmentCandidate(name, decode(picture.encoded), picture.unix_time_s)
            return picture_of_event(device.config, command)
        source = next(
            name for name, runner in device.runners.items() if watch in runner.pipeline.watches
        )
        frame = self._frames.get(source)
        if frame is None:
            raise CommandError(f"source {source} has given no frame yet")
        name = f"{source}#{frame.index}"
        return EnrolmentCandidate(name, watch.region.pixels_of(frame.pixels), frame.unix_time_s)


def teach_picture(
    config: Config,
    embedder: Embedder,
    command: Teach,
    candidate: EnrolmentCandidate,
    now: Callable[[], float],
) -> Lesson:
    """Add the picture of a region to the gallery of `config`.

    A correction overrules a similarity to another state: that is its purpose. A picture that is
    dark, covered or blurred, or shows nothing new, is rejected. The reference of a correction
    against sure evidence is marked with it.

    Raises:
        AgainstEvidenceError: The gallery is sure of another state, and `command` is not forced.
        CommandError: The picture is rejected.
        GalleryError: The gallery cannot be written, or a name is invalid.
    """
    states = config.watches[command.watch].states
    if states and command.state not in states:
        raise CommandError(
            f"watch {command.watch} has no state {command.state!r}{nearest(command.state, states)}"
        )
    roi = Roi(*config.watches[command.watch].roi)
    metadata = {"taught": "yes", REGION: region_text(roi)}
    evidence = evidence_against(config, embedder, command, candidate)
    if evidence is not None:
        if not command.force:
            raise AgainstEvidenceError(f"{evidence}, not {command.state}")
        metadata["against_evidence"] = f"{evidence.state} {evidence.probability:.2f}"
    plan = EnrolmentPlan(command.watch, command.state, metadata=metadata)
    with GalleryStore.open(config.path(config.gallery.path), timeout_s=LOCKED_S) as store:
        report = enrol(store, embedder, [candidate], plan=plan, now=now)
        if report.rejected and report.rejected[0].refusal is Refusal.CONFLICT:
            report = enrol(store, embedder, [candidate], plan=replace(plan, force=True), now=now)
    if report.revision is None:
        rejected = report.rejected[0]
        raise CommandError(
            f"not taught, the picture is {rejected.refusal.value}: {rejected.detail}"
        )
    accepted = report.accepted[0]
    return Lesson(
        watch=command.watch,
        state=command.state,
        reference_id=accepted.reference_id or "",
        revision=report.revision,
        overruled=None if accepted.overruled is None else accepted.overruled.value,
        flips=(),
        against_evidence=evidence,
    )


def evidence_against(
    config: Config, embedder: Embedder, command: Teach, candidate: EnrolmentCandidate
) -> Evidence | None:
    """Return the sure verdict of the gallery that a picture shows another state; else None.

    Sure is a probability of 0.95 and above in a light in which both states have references. A state
    that has no reference yet is contradicted by nothing.

    Raises:
        GalleryError: The gallery cannot be read.
    """
    with assembly.open_gallery(config) as store:
        gallery = store.gallery(command.watch, model_id=embedder.model_id)
    if command.state not in gallery.states or candidate.pixels is None:
        return None
    probe = make_probe(embedder, as_stored(candidate.pixels))
    match = stages_of(config, config.watches[command.watch]).scorer(gallery).best_match(probe)
    if match is None or match.best.state == command.state:
        return None
    best = match.best
    known = {(item.state, item.condition) for item in gallery.references}
    light = condition_of(probe.quality)
    is_taught = {(command.state, light), (best.state, light)} <= known
    if not is_taught or best.probability < SURE:
        return None
    return Evidence(best.state, round(best.probability, 4))


def _watch_of(device: Device, command: Teach) -> Watch:
    watch = device.watches.get(command.watch)
    if watch is None:
        hint = nearest(command.watch, device.watches)
        raise CommandError(f"there is no watch {command.watch!r}{hint}")
    return watch
