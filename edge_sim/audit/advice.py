"""The next picture to take: one concrete sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sim.audit.findings import Contradiction, CoverageCell, Suspect
from edge_sim.domain import Reference

LIGHTS = {
    "day": "by day",
    "dusk": "at dusk or in dim light",
    "ir": "at night in infrared light",
    "dark": "in the dark",
}
_UNSURE = 0.6
"""Probability of its own state below which a left-out reference says that a look is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class AuditFacts:
    """What advice is given on.

    Args:
        watch: Its name.
        cells: Every state in every light that any of them has.
        suspects: References whose label is doubted.
        contradictions: Pictures that are in the gallery under two states.
        weakest: The reference that the others are least sure of, the state that it is taken for
            instead, and the probability of its own; None if none can be judged.
        loneliest: The reference farthest from its fellows; None if none has any.
    """

    watch: str
    cells: Sequence[CoverageCell]
    suspects: Sequence[Suspect]
    contradictions: Sequence[Contradiction]
    weakest: tuple[Reference, str, float] | None
    loneliest: Reference | None


def next_picture(facts: AuditFacts) -> str:
    """Return which picture would help most, in one sentence.

    In this order: states to tell apart at all; pictures under two states and labels that may be
    wrong, since they spoil what follows; a second picture of each state; lights that other states
    have and this one lacks; too few looks; the look that is told apart least; the look farthest
    from all others.
    """
    counts: dict[str, int] = {}
    for cell in facts.cells:
        counts[cell.state] = counts.get(cell.state, 0) + cell.references
    if len(counts) < 2:
        known = f", besides {next(iter(counts))!r}" if counts else ""
        return (
            f"Take pictures of two states of {facts.watch!r} at least{known}: "
            f"with fewer there is nothing to tell apart."
        )
    if facts.contradictions:
        return _decide(facts.contradictions[0])
    if facts.suspects:
        return _relabel(facts.suspects[0])
    state = min(counts, key=lambda name: counts[name])
    if counts[state] < 2:
        return f"Take a second picture of {state!r}: with one, nobody can say how sure it is."
    return _thin_cell(facts.cells) or _weak_look(facts)


def light_words(condition: str) -> str:
    """Return a light regime as people say it."""
    return LIGHTS.get(condition, f"in the light {condition!r}")


def _decide(found: Contradiction) -> str:
    return (
        f"Remove {found.id} or {found.same_as} before you take another picture: they show the same "
        f"picture as {found.state!r} and as {found.other_state!r}, and one of them is wrong."
    )


def _relabel(suspect: Suspect) -> str:
    return (
        f"Look at {suspect.id} before you take another picture: it is {suspect.state!r} in the "
        f"gallery but looks like {suspect.looks_like!r} (nearest {suspect.nearest}); relabel or "
        f"remove it if it is."
    )


def _thin_cell(cells: Sequence[CoverageCell]) -> str | None:
    """Return advice on the emptiest cell in a light that another state has references in."""
    thin = [cell for cell in cells if not cell.enough]
    if not thin:
        return None
    # A light that a state has never been seen in first; of those the most usual light.
    usual: dict[str, int] = {}
    for cell in cells:
        usual[cell.condition] = usual.get(cell.condition, 0) + cell.references
    cell = min(thin, key=lambda item: (item.looks > 0, item.looks, -usual[item.condition]))
    where = light_words(cell.condition)
    if not cell.references:
        others = max(
            (item for item in cells if item.condition == cell.condition and item.references),
            key=lambda item: item.references,
        )
        return (
            f"Take a picture of {cell.state!r} {where}: there is none, while {others.state!r} "
            f"has {others.references}."
        )
    looks = "one look" if cell.looks == 1 else f"{cell.looks} different looks"
    return (
        f"Take another picture of {cell.state!r} {where}, different from what is there: it has "
        f"{looks} of the five that make its level known."
    )


def _weak_look(facts: AuditFacts) -> str:
    if facts.weakest is not None and facts.weakest[2] < _UNSURE:
        reference, rival, own = facts.weakest
        return (
            f"Take another picture of {reference.state!r} {light_words(reference.condition)} that "
            f"looks like {reference.reference_id}: without that one it would be taken for "
            f"{rival!r} (probability of {reference.state!r} {own:.2f})."
        )
    if facts.loneliest is not None:
        reference = facts.loneliest
        return (
            f"Nothing is missing; the most useful would be another picture of {reference.state!r} "
            f"{light_words(reference.condition)} like {reference.reference_id}, which has no "
            f"other near it."
        )
    return "Nothing is missing."
