"""Records: what is written down of decisions, for people who ask later."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from edge_sim.config import Config
from edge_sim.errors import DataError
from edge_sim.events import StateChanged
from edge_sim.explaining import ExplanationFile, Recorder, configuration_digest
from edge_sim.loop import Step
from edge_sim.pipeline import Watch
from edge_sim.score_log import Deciding, ScoreLog

logger = logging.getLogger(__name__)

_FAULTS_PER_LINE = 100


class Records:
    """Keeps an explanation of every change of state, and the score log if one is configured.

    A disk that is full or gone stops nothing: it is logged, and what came meanwhile is not kept.

    Args:
        config: Its device, explanations and score log. With the outbox in memory nothing of an
            event touches the disk, so nothing is kept here either.
        score_log: Whether to keep the one that is configured.
    """

    def __init__(self, config: Config, *, score_log: bool = True) -> None:
        self._config = config
        self._faults = 0
        self._log: ScoreLog | None = None
        section = config.explanations
        self._recorder = Recorder(
            looks=section.looks,
            pictures=section.pictures,
            configuration=partial(configuration_digest, config),
        )
        path = explanations_path(config)
        self._file = None if path is None else ExplanationFile(path, max_mb=section.max_mb)
        if score_log and config.outbox.storage == "disk" and config.score_log.path is not None:
            try:
                self._log = ScoreLog(
                    config.path(config.score_log.path),
                    every_s=config.score_log.every_s,
                    max_mb=config.score_log.max_mb,
                )
            except DataError as error:
                logger.error("no score log is kept: %s", error)

    def note(self, watches: Mapping[str, Watch], step: Step) -> None:
        """Write down what one step gave.

        Args:
            watches: By name; at least those of the step.
            step: Of any source.
        """
        try:
            self._note(watches, step)
            self._faults = 0
        except DataError as error:
            if self._faults % _FAULTS_PER_LINE == 0:
                logger.error("not written down: %s (fault %d)", error, self._faults + 1)
            self._faults += 1

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        if self._log is not None:
            self._log.close()

    def _note(self, watches: Mapping[str, Watch], step: Step) -> None:
        if step.frame is None:
            return
        changes = {item.watch: item for item in step.events if isinstance(item, StateChanged)}
        for outcome in step.outcomes:
            watch = watches[outcome.watch]
            if self._file is not None:
                event = changes.get(outcome.watch)
                kept = self._recorder.note(watch, outcome, event, step.frame.pixels)
                if kept is not None:
                    self._file.append(kept)
            if self._log is not None:
                deciding = Deciding(self._config.device, step.frame.source, watch.decider)
                self._log.note(outcome, watch.gallery.revision, deciding)


def explanations_path(config: Config) -> Path | None:
    """Return where explanations are kept; None if they are not."""
    section = config.explanations
    if section.path is None or config.outbox.storage != "disk":
        return None
    return config.path(section.path)
