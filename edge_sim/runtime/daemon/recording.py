"""Recorders of the daemon: explanations, score log, uncertain frames and pictures of events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from edge_sim.core.events import StateChanged
from edge_sim.core.images import encode_jpeg
from edge_sim.core.types import Frame, UnknownReason
from edge_sim.decision.pipeline import Outcome, Watch
from edge_sim.errors import DataError
from edge_sim.gallery.enrolment import as_stored
from edge_sim.io.sinks.capabilities import EventAttachment
from edge_sim.runtime.assembly import Device
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.outputs import EventDispatcher
from edge_sim.runtime.daemon.teaching import Teacher, explanations_path
from edge_sim.runtime.explanations import ExplanationFile, Recorder, configuration_digest
from edge_sim.runtime.loop import Step
from edge_sim.runtime.review_queue import ReviewFolder
from edge_sim.runtime.score_log import DecisionOrigin, ScoreLog
from edge_sim.runtime.stills import DiverseStills

logger = logging.getLogger(__name__)

CLEAR_MARGIN = 0.4
"""Probability margin at or above which an observation is not queued for review: twice the margin
that the decider requires at the calibrated point."""
_UNIMPAIRED = frozenset({None, UnknownReason.NOVEL, UnknownReason.AMBIGUOUS})
_FAULTS_PER_LINE = 100


class UncertainFrames:
    """Review queue writer: keeps observations whose label would help most, at a limited rate.

    Args:
        config: Configuration with the section `review`; without a path nothing is kept.
    """

    def __init__(self, config: Config) -> None:
        section = config.review
        self._every_s = section.every_s
        self._last_s: dict[str, float] = {}
        self._faults = 0
        self.kept = 0
        """Frames kept since the start."""
        self._folder: ReviewFolder | None = None
        if section.path is not None:
            self._folder = ReviewFolder(config.path(section.path), section)

    def note(self, watches: Mapping[str, Watch], step: Step) -> None:
        """Keep the uncertain observations of one step. A failing disk stops nothing.

        Args:
            watches: Watches by name; at least those of the step.
            step: Step of any source.
        """
        if self._folder is None or step.frame is None:
            return
        for outcome in step.outcomes:
            if not is_uncertain(outcome) or not self._is_due(outcome):
                continue
            pixels = watches[outcome.watch].region.pixels_of(step.frame.pixels)
            try:
                self._folder.keep(outcome, as_stored(pixels))
            except DataError as error:
                if self._faults % _FAULTS_PER_LINE == 0:
                    logger.error("not kept for review: %s (fault %d)", error, self._faults + 1)
                self._faults += 1
                continue
            self._faults = 0
            self.kept += 1

    def _is_due(self, outcome: Outcome) -> bool:
        at_s = outcome.observation.captured_at_s
        last_s = self._last_s.get(outcome.watch)
        # A source that was opened again may count its seconds anew.
        if last_s is not None and 0.0 <= at_s - last_s < self._every_s:
            return False
        self._last_s[outcome.watch] = at_s
        return True


def is_uncertain(outcome: Outcome) -> bool:
    """Return whether an observation of an unimpaired picture is new and its match uncertain.

    Frames that the gate skipped repeat an earlier observation. A covered or dark picture gives no
    useful reference.
    """
    observation = outcome.observation
    match = observation.match
    if not outcome.embedded or match is None or observation.impediment not in _UNIMPAIRED:
        return False
    if outcome.state.reason is UnknownReason.UNTAUGHT_LIGHT:
        return True
    best = match.best
    level = outcome.thresholds.get(best.state)
    known = level is not None and best.score.combined >= level.enter
    return observation.impediment is not None or not known or match.margin < CLEAR_MARGIN


class Records:
    """Writer of explanations of changes of state, and of the score log if one is configured.

    A disk that is full or gone stops nothing: it is logged, and nothing is kept meanwhile.

    Args:
        config: Configuration with device, explanations and score log. With the outbox in memory
            nothing of an event touches the disk, so nothing is kept here either.
        score_log: Whether the configured score log is written.
    """

    def __init__(self, config: Config, *, score_log: bool = True) -> None:
        self._config = config
        self._faults: dict[str, int] = {}
        self._log: ScoreLog | None = None
        section = config.explanations
        self._recorder = Recorder(
            observations=section.observations,
            pictures=section.pictures,
            configuration=partial(configuration_digest, config),
        )
        path = explanations_path(config)
        self._file = None if path is None else ExplanationFile(path, max_mb=section.max_mb)
        is_on_disk = config.outbox.storage == "disk"
        self._keeps_log = score_log and is_on_disk and config.score_log.path is not None
        self._guarded(self._open_log)

    def note(self, watches: Mapping[str, Watch], step: Step) -> None:
        """Record the results of one step; a failing file keeps nothing from the other.

        Args:
            watches: Watches by name; at least those of the step.
            step: Step of any source.
        """
        changes = {item.watch: item for item in step.events if isinstance(item, StateChanged)}
        if step.frame is None:
            for change in changes.values():
                self._guarded(partial(self._note_lost_view, watches[change.watch], change))
            return
        for outcome in step.outcomes:
            watch, event = watches[outcome.watch], changes.get(outcome.watch)
            self._guarded(partial(self._explain, watch, outcome, event, step.frame))
            origin = DecisionOrigin(self._config.device, step.frame.source, watch.decider)
            self._guarded(partial(self._log_scores, outcome, watch.gallery.revision, origin))

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        if self._log is not None:
            self._log.close()

    def _explain(
        self, watch: Watch, outcome: Outcome, event: StateChanged | None, frame: Frame
    ) -> None:
        if self._file is None:
            return
        kept = self._recorder.note(watch, outcome, event, frame.pixels)
        if kept is not None:
            self._file.append(kept)

    def _note_lost_view(self, watch: Watch, event: StateChanged) -> None:
        if self._log is not None:
            self._log.restart(watch.name)
        if self._file is not None:
            self._file.append(self._recorder.explain_lost_view(watch, event))

    def _log_scores(self, outcome: Outcome, revision: int, origin: DecisionOrigin) -> None:
        self._open_log()
        if self._log is not None:
            self._log.note(outcome, revision, origin)

    def _open_log(self) -> None:
        section = self._config.score_log
        if self._log is None and self._keeps_log and section.path is not None:
            path = self._config.path(section.path)
            self._log = ScoreLog(path, every_s=section.every_s, max_mb=section.max_mb)

    def _guarded(self, job: Callable[[], None]) -> None:
        """Run `job`; log the first of many failures in a row."""
        name = getattr(job, "func", job).__name__
        try:
            job()
            self._faults.pop(name, None)
        except DataError as error:
            faults = self._faults[name] = self._faults.get(name, 0) + 1
            if faults % _FAULTS_PER_LINE == 1:
                logger.error("not recorded: %s (fault %d)", error, faults)


_JPEG_QUALITY = 85


class Recorders:
    """Recorders of one device: event pictures, explanations, score log and uncertain frames.

    Args:
        config: Present configuration.
        now: Seconds since 1970 UTC.
    """

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        self.teacher = Teacher(now)
        self.stills = DiverseStills(config)
        self._config = config
        self._uncertain = UncertainFrames(config)
        self._records = Records(config)

    def note(self, device: Device, source: str, step: Step) -> None:
        """Record one step."""
        watches = device.watches
        self.teacher.note(device, source, step)
        self._records.note(watches, step)
        self._uncertain.note(watches, step)
        self.stills.note(watches, step)

    def use(self, config: Config) -> None:
        """Continue with another configuration."""
        self._records.close()
        self._records = Records(config)
        self.stills.use(config)
        if config.review != self._config.review:
            self._uncertain = UncertainFrames(config)
        self._config = config

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        self._records.close()


def attach_to_events(device: Device, step: Step, dispatcher: EventDispatcher) -> None:
    """Give embedding and region of every change to the sinks that send them with its event.

    Private watches send neither.
    """
    with_pictures, with_embeddings = dispatcher.wants_event_pictures, dispatcher.wants_embeddings
    if step.frame is None or not (with_pictures or with_embeddings):
        return
    embeddings = {outcome.watch: outcome.probe.embedding for outcome in step.outcomes}
    for event in step.events:
        if not isinstance(event, StateChanged) or device.config.watches[event.watch].private:
            continue
        jpeg = None
        if with_pictures:
            pixels = device.watches[event.watch].region.pixels_of(step.frame.pixels)
            jpeg = encode_jpeg(as_stored(pixels), _JPEG_QUALITY)
        embedding = embeddings.get(event.watch) if with_embeddings else None
        dispatcher.attach(EventAttachment(event, embedding, jpeg))


def show_pictures(device: Device, step: Step, dispatcher: EventDispatcher) -> None:
    """Send the region of every watch that changed its state to the sinks that show pictures.

    Private watches are left out.
    """
    if step.frame is None or not dispatcher.wants_pictures:
        return
    for event in step.events:
        if isinstance(event, StateChanged) and not device.config.watches[event.watch].private:
            pixels = device.watches[event.watch].region.pixels_of(step.frame.pixels)
            dispatcher.show_picture(event.watch, encode_jpeg(as_stored(pixels), _JPEG_QUALITY))
