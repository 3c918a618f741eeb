"""Calibration of novelty from pictures that a watch has seen: a person says which are normal.

References show a state at the moments somebody enrolled it. What a watch sees on its own site shows
how the state varies there. The most novel of these pictures are laid before a person, who says that
all are normal or which are not: `most_novel`, then `calibrated_novelty`, kept in the gallery file
by `edge_sim.gallery.calibrations.keep_calibration`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_sim.analysis.calibration import wilson
from edge_sim.core.events import utc_text
from edge_sim.core.types import Match, Probe
from edge_sim.decision.novelty import NovelLevel, with_calibration
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.decision.thresholds import Level, levels_of
from edge_sim.errors import DataError
from edge_sim.gallery.calibrations import (
    NOVELTY_SCORE,
    KeptCalibration,
    KeptRate,
    KeptThreshold,
)
from edge_sim.gallery.gallery import CalibratedLevel, Gallery
from edge_sim.runtime.score_log import BadLine, Line, ScoreLine

SHOWN = 12
"""Pictures that a person is asked about."""
_KEPT_SHARE = 0.99
"""Part of the normal pictures that lies below the level: one in a hundred may be a fault that the
person did not see."""
_ABOVE = 0.05
_TOWARDS_FAULTS = 0.5


@dataclass(frozen=True, slots=True)
class WatchedPicture:
    """A picture that a watch has seen.

    Args:
        key: File of the picture, or the time of the observation.
        state: Most probable state.
        novelty: Novelty to that state.
    """

    key: str
    state: str
    novelty: float


@dataclass(frozen=True, slots=True)
class NoveltyTrial:
    """Level of the novelty of one state, and what it does to the pictures at hand.

    Args:
        state: Name of the state.
        level: Level in force with it, at sensitivity 0.5.
        threshold: Novelty that the pictures ask for; `level` lies between it and that of the
            references.
        normal: Number of normal pictures.
        kept: Normal pictures that are not too novel.
        faulty: Number of pictures that are not normal.
        found: Of these, the ones that are too novel.
    """

    state: str
    level: NovelLevel
    threshold: float
    normal: int
    kept: int
    faulty: int
    found: int


def levels_for(gallery: Gallery, left_out: Sequence[Match | None]) -> dict[str, Level]:
    """Return the levels of the states of a gallery as its references say, nothing calibrated.

    Args:
        gallery: References of the watch.
        left_out: Matches of `leave_one_out` of their scorer.
    """
    return levels_of(Gallery(gallery.references, revision=gallery.revision), left_out)


def left_out_pictures(gallery: Gallery, left_out: Sequence[Match | None]) -> list[WatchedPicture]:
    """Return the references, each left out of the others; none of states of a single moment.

    The arguments are those of `levels_for`.
    """
    found = []
    for reference, match in zip(gallery.references, left_out, strict=True):
        for item in () if match is None else match.states:
            if item.state == reference.state and item.score.novelty is not None:
                key = reference.reference_id
                found.append(WatchedPicture(key, item.state, item.score.novelty))
    return found


def watched_in_log(
    lines: Iterable[Line | BadLine], watch: str, revision: int
) -> list[WatchedPicture]:
    """Return the observations of a watch in a score log that was written with these references.

    Args:
        lines: Lines of the log.
        watch: Name of the watch.
        revision: Revision of the gallery.

    Raises:
        DataError: There is none; the message says why.
    """
    found: list[WatchedPicture] = []
    summaries = others = 0
    for line in lines:
        if not isinstance(line, ScoreLine) or line.watch != watch:
            continue
        if line.gallery_revision != revision:
            others += 1
            continue
        match = None if line.observation is None else line.observation.match
        if match is None:
            summaries += 1
            continue
        picture = _seen(line.at, match)
        if picture is not None:
            found.append(picture)
    if found:
        return found
    if others:
        raise DataError(
            f"the log has {others} observations of {watch!r} with other references, none with "
            f"revision {revision}: take pictures of a folder instead"
        )
    if summaries:
        raise DataError(
            f"the log has only summaries of {watch!r}: write every observation with "
            "`edge-sim run --score-log FILE --score-every 0`, or take pictures of a folder"
        )
    raise DataError(f"the log has no observation of {watch!r}")


def watched_among(
    probes: Iterable[tuple[str, Probe]], scorer: GalleryScorer
) -> list[WatchedPicture]:
    """Return pictures of the region of a watch as it sees them.

    Args:
        probes: (file, probe) of each picture.
        scorer: Scorer of the references of the watch.

    Raises:
        ModelError: They were embedded with another model than the references.
    """
    found = []
    for key, probe in probes:
        match = scorer.best_match(probe)
        picture = None if match is None else _seen(key, match)
        if picture is not None:
            found.append(picture)
    return found


def most_novel(
    watched: Sequence[WatchedPicture], levels: Mapping[str, Level], number: int = SHOWN
) -> list[tuple[WatchedPicture, float]]:
    """Return the most novel pictures, and how many margins above the usual each lies.

    At most a few of one moment would be shown anyway: they follow each other in the list.
    """
    ranked = [(picture, _excess(picture, levels)) for picture in watched]
    return sorted(ranked, key=lambda pair: -pair[1])[:number]


def calibrated_novelty(
    watched: Sequence[WatchedPicture], faulty: Collection[str], levels: Mapping[str, Level]
) -> list[NoveltyTrial]:
    """Return the level of each state that the pictures ask for.

    It lies just above the normal pictures, and half way to the pictures that are not normal where
    those lie further.

    Args:
        watched: All pictures; normal but for those named in `faulty`.
        faulty: Keys of pictures that are not normal.
        levels: Levels of the states as their references say.

    Raises:
        DataError: There is no normal picture.
    """
    trials = []
    for state in sorted({picture.state for picture in watched}):
        own = [picture for picture in watched if picture.state == state]
        normal = np.array([item.novelty for item in own if item.key not in faulty], np.float64)
        wrong = np.array([item.novelty for item in own if item.key in faulty], np.float64)
        if not len(normal):
            continue
        threshold = float(np.quantile(normal, _KEPT_SHARE)) + _ABOVE
        further = wrong[wrong > threshold]
        if len(further):
            threshold += _TOWARDS_FAULTS * float(further.min() - threshold)
        before = levels[state].novel if state in levels else None
        level = with_calibration(before, CalibratedLevel(threshold, len(normal), ""))
        highest = level.usual + level.margin
        trials.append(
            NoveltyTrial(
                state,
                level,
                threshold,
                len(normal),
                int(np.sum(normal <= highest)),
                len(wrong),
                int(np.sum(wrong > highest)),
            )
        )
    if not trials:
        raise DataError("not one picture is normal: no level can be set from faults alone")
    return trials


def kept_novelty(
    trials: Sequence[NoveltyTrial], gallery: Gallery, watch: str, sample: str, unix_time_s: float
) -> KeptCalibration:
    """Return the calibration as the gallery file keeps it.

    Args:
        trials: Levels to keep.
        gallery: References that they were measured with.
        watch: Name of the watch.
        sample: The pictures, in words.
        unix_time_s: Time of the calibration.
    """
    return KeptCalibration(
        watch=watch,
        score=NOVELTY_SCORE,
        aim="recall",
        value=_KEPT_SHARE,
        at=utc_text(unix_time_s),
        sample=sample,
        model=str(gallery.model_id),
        revision=gallery.revision,
        thresholds=tuple(_kept(trial) for trial in trials),
    )


def _kept(trial: NoveltyTrial) -> KeptThreshold:
    called = trial.kept + trial.faulty - trial.found
    rates = (
        wilson(trial.kept, called),
        wilson(trial.kept, trial.normal),
        wilson(trial.faulty - trial.found, trial.faulty),
    )
    precision, recall, fpr = (KeptRate(rate.value, rate.low, rate.high) for rate in rates)
    return KeptThreshold(
        trial.state, trial.threshold, precision, recall, fpr, trial.normal, trial.faulty
    )


def _seen(key: str | Path, match: Match) -> WatchedPicture | None:
    novelty = match.best.score.novelty
    return None if novelty is None else WatchedPicture(str(key), match.best.state, novelty)


def _excess(picture: WatchedPicture, levels: Mapping[str, Level]) -> float:
    level = levels[picture.state].novel if picture.state in levels else None
    return picture.novelty if level is None else level.excess(picture.novelty)
