"""Turning points: at which sensitivity the deciding look would have said something else."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_sim.deciding import AdaptiveDecider, Memory, Standing
from edge_sim.domain import State
from edge_sim.explaining.records import Explanation

_STEPS = 100


@dataclass(frozen=True, slots=True)
class Turn:
    """The nearest sensitivity at which the deciding look would have voted otherwise.

    Args:
        sensitivity: 0 to 1, in steps of 0.01.
        vote: What the look would have said there; None if it would have waited for the light.
    """

    sensitivity: float
    vote: State | None


def turns_of(explanation: Explanation) -> tuple[Turn | None, Turn | None]:
    """Return the nearest turn below the sensitivity in force and the nearest one above.

    The real decider is asked again at every hundredth, with the levels as they had adapted. None
    where no sensitivity on that side changes anything, or only the event is known.
    """
    if explanation.settings is None:
        return None, None
    present = explanation.settings.sensitivity
    said = _vote(standing_at(explanation, present))
    below = above = None
    for step in range(_STEPS + 1):
        sensitivity = step / _STEPS
        vote = _vote(standing_at(explanation, sensitivity))
        if vote == said:
            continue
        if sensitivity < present:
            below = Turn(sensitivity, vote)
        elif above is None and sensitivity > present:
            above = Turn(sensitivity, vote)
    return below, above


def evidence_turn(explanation: Explanation, after: str) -> float | None:
    """Return the sensitivity below which the evidence for `after` would not have sufficed.

    None if none of 0 to 1 is so low, if votes alone decided, or if it is not known.
    """
    standing = explanation.standing
    if explanation.settings is None or standing is None or after not in standing.evidence:
        return None
    evidence = standing.evidence[after]
    if evidence < standing.evidence_needed:
        return None
    short = [
        step / _STEPS
        for step in range(_STEPS + 1)
        if standing_at(explanation, step / _STEPS).evidence_needed > evidence
    ]
    present = explanation.settings.sensitivity
    return max((value for value in short if value < present), default=None)


def standing_at(explanation: Explanation, sensitivity: float) -> Standing:
    """Return where a decider would stand after the deciding look alone, at another sensitivity.

    Raises:
        ValueError: The explanation has no settings.
    """
    if explanation.settings is None:
        raise ValueError("the settings of the decider are not known")
    event = explanation.event
    drifts = {(item.state, item.condition): item.drift for item in explanation.drifts}
    decider = AdaptiveDecider.following(replace(explanation.settings, sensitivity=sensitivity))
    decider.restore(Memory(event.before, event.before_reason, drifts))
    decider.observe(explanation.cause)
    return decider.standing


def _vote(standing: Standing) -> State | None:
    return standing.votes[-1].state if standing.votes else None
