"""Readiness of a watch: how sure it will be, what its references cover, and what to add next."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge_sim.analysis.audit import ANY, Advice, Audit, CoverageCell, PairFinding, Share, audit
from edge_sim.core.types import Roi
from edge_sim.decision.scorer import MOST_LEFT_OUT, GalleryScorer
from edge_sim.decision.thresholds import ENOUGH_REFERENCES
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.records import moved_region
from edge_sim.runtime.config import WatchConfig

SURE = 0.97
"""Estimated accuracy of a pair of states from which it counts as sure."""
FAIR = 0.9
"""Estimated accuracy of a pair of states from which it counts as fair; below it is weak."""
ENOUGH = 10
"""Judged pictures of a pair from which its accuracy can count as sure: all of them right then prove
72 %, by Wilson's interval."""


class PairReadiness(msgspec.Struct, frozen=True):
    """Two states, and how often their pictures would be told apart; 0 to 1, 95 % interval.

    `level` is `sure`, `fair`, `weak` or `unknown`; `text` says the same in a sentence.
    """

    a: str
    b: str
    accuracy: float | None
    low: float | None
    high: float | None
    pictures: int
    level: str
    text: str


class Coverage(msgspec.Struct, frozen=True):
    """References of each state (rows) in each light (columns)."""

    states: tuple[str, ...]
    lights: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class Readiness(msgspec.Struct, frozen=True):
    """Readiness of a watch; `next` is a sentence, that of the next step."""

    watch: str
    revision: int
    references: int
    pairs: tuple[PairReadiness, ...]
    coverage: Coverage
    next: str
    next_step: Advice
    ready: bool
    region_moved: str | None = None


def audited(watch: str, gallery: Gallery) -> Audit:
    """Return the audit of a gallery, each reference judged by the others."""
    scorer = GalleryScorer(gallery, most_left_out=MOST_LEFT_OUT)
    return audit(gallery, scorer.leave_one_out(), watch=watch)


def readiness_of(name: str, watch: WatchConfig, gallery: Gallery, found: Audit) -> Readiness:
    """Return the readiness of a watch.

    Args:
        name: Name of the watch.
        watch: Section of the watch.
        gallery: Its references.
        found: Audit of the gallery.
    """
    states = tuple(dict.fromkeys((*watch.states, *gallery.states)))
    missing = [state for state in states if state not in gallery.states]
    pairs = [_pair(pair) for pair in found.pairs if pair.condition == ANY]
    known = {(pair.a, pair.b) for pair in pairs}
    for at, first in enumerate(states):
        pairs += [
            _untold(first, second)
            for second in states[at + 1 :]
            if (first, second) not in known and (second, first) not in known
        ]
    step = _step(states, missing, gallery, found.next_step)
    return Readiness(
        watch=name,
        revision=gallery.revision,
        references=len(gallery),
        pairs=tuple(pairs),
        coverage=_coverage(states, found.cells),
        next=step.text,
        next_step=step,
        ready=_is_ready(states, missing, gallery, pairs),
        region_moved=moved_region(gallery.references, Roi(*watch.roi)),
    )


def _is_ready(
    states: Sequence[str],
    missing: Sequence[str],
    gallery: Gallery,
    pairs: Sequence[PairReadiness],
) -> bool:
    if missing or not len(gallery):
        return False
    if len(states) == 1:  # told apart from everything else, by how much its references vary
        return len(gallery) >= ENOUGH_REFERENCES
    return all(pair.level in ("sure", "fair") for pair in pairs)


def _step(states: Sequence[str], missing: Sequence[str], gallery: Gallery, found: Advice) -> Advice:
    """Return the next step: what the audit does not know of first."""
    if missing and len(gallery):
        text = f"Take a picture of {missing[0]!r}: there is none yet."
        return Advice("missing", text, missing[0])
    single = [state for state in gallery.states if len(gallery.of_state(state)) == 1]
    if single and len(states) > 1:
        text = (
            f"Take another picture of {single[0]!r} once it is seen a little differently: later, "
            "in other light, or moved. With one, its accuracy cannot be estimated."
        )
        return Advice("second", text, single[0])
    return found


def _pair(found: PairFinding) -> PairReadiness:
    share = found.accuracy
    if share is None:
        return _untold(found.first, found.second)
    is_sure = share.value >= SURE and share.number >= ENOUGH
    level = "sure" if is_sure else "fair" if share.value >= FAIR else "weak"
    return PairReadiness(
        found.first,
        found.second,
        round(share.value, 4),
        round(share.low, 4),
        round(share.high, 4),
        share.number,
        level,
        _words(found, share, level),
    )


def _words(found: PairFinding, share: Share, level: str) -> str:
    right = round(share.value * share.number)
    always = right == share.number
    manner = {
        "sure": "always" if always else "nearly always",
        "fair": "so far always" if always else "mostly",
        "weak": "often not",
    }[level]
    return (
        f"{found.first} and {found.second} are {manner} told apart: {right} of {share.number} "
        f"different pictures, which proves {share.low:.0%} at least"
    )


def _untold(first: str, second: str) -> PairReadiness:
    text = f"{first} and {second}: not known yet; each needs two different pictures at least"
    return PairReadiness(first, second, None, None, None, 0, "unknown", text)


def _coverage(states: Sequence[str], cells: Sequence[CoverageCell]) -> Coverage:
    lights = tuple(dict.fromkeys(cell.condition for cell in cells))
    counts = {(cell.state, cell.condition): cell.references for cell in cells}
    rows = tuple(tuple(counts.get((state, light), 0) for light in lights) for state in states)
    return Coverage(tuple(states), lights, rows)
