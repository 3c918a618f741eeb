"""Looks that a watch is unsure of, kept in the review folder for a person to name."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from edge_sim.config import Config
from edge_sim.domain import UnknownReason
from edge_sim.enrolment import as_stored
from edge_sim.errors import DataError
from edge_sim.loop import Step
from edge_sim.pipeline import Outcome, Watch
from edge_sim.review_folder import ReviewBounds, ReviewFolder

logger = logging.getLogger(__name__)

CLEAR_LEAD = 0.4
"""Lead over the runner-up, in probability, from which a look needs nobody's word: twice what the
decider asks for at the calibrated point."""
_SOUND = frozenset({None, UnknownReason.NOVEL, UnknownReason.AMBIGUOUS})
_FAULTS_PER_LINE = 100
_MEGABYTE = 1_000_000


class Doubts:
    """Keeps looks that a person's word would help most, few and far between.

    Args:
        config: Its review section; without a path nothing is kept.
    """

    def __init__(self, config: Config) -> None:
        section = config.review
        self._every_s = section.every_s
        self._last_s: dict[str, float] = {}
        self._faults = 0
        self.kept = 0
        """Looks, since the start."""
        self._folder: ReviewFolder | None = None
        if section.path is not None:
            bounds = ReviewBounds(section.max_frames, int(section.max_mb * _MEGABYTE))
            self._folder = ReviewFolder(config.path(section.path), bounds)

    def note(self, watches: Mapping[str, Watch], step: Step) -> None:
        """Keep what one step leaves open. A disk that takes nothing stops nothing.

        Args:
            watches: By name; at least those of the step.
            step: Of any source.
        """
        if self._folder is None or step.frame is None:
            return
        for outcome in step.outcomes:
            if not is_doubtful(outcome) or not self._is_due(outcome):
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


def is_doubtful(outcome: Outcome) -> bool:
    """Return whether a look shows something new, in a picture that is sound, and not clearly.

    What the gate passed over is what was seen before. A covered or dark picture teaches nothing.
    """
    seen = outcome.observation
    if not outcome.embedded or seen.match is None or seen.impediment not in _SOUND:
        return False
    best = seen.match.best
    level = outcome.thresholds.get(best.state)
    known = level is not None and best.score.combined >= level.enter
    return seen.impediment is not None or not known or seen.match.margin < CLEAR_LEAD
