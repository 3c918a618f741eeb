"""Counterfactuals: other sensitivities and scores at which an event would have been different."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_sim.core.types import Observation, State
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.thresholds import DecisionState, Memory, Settings, drifts_of
from edge_sim.runtime.explanations import Explanation

_STEPS = 100


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The nearest sensitivity at which the deciding observation would have voted otherwise.

    Args:
        sensitivity: 0 to 1, in steps of 0.01.
        vote: Vote there; None if the decider would have waited for the light.
    """

    sensitivity: float
    vote: State | None


def counterfactuals_of(
    explanation: Explanation,
) -> tuple[Counterfactual | None, Counterfactual | None]:
    """Return the nearest counterfactual below the sensitivity in force and the nearest one above.

    The decider itself is run again at every hundredth, with the levels as they had adapted. None
    where no sensitivity on that side changes the vote, or only the event is known.
    """
    if explanation.settings is None:
        return None, None
    present = explanation.settings.sensitivity
    present_vote = _vote(state_at(explanation, present))
    below = above = None
    for step in range(_STEPS + 1):
        sensitivity = step / _STEPS
        vote = _vote(state_at(explanation, sensitivity))
        if vote == present_vote:
            continue
        if sensitivity < present:
            below = Counterfactual(sensitivity, vote)
        elif above is None and sensitivity > present:
            above = Counterfactual(sensitivity, vote)
    return below, above


def sum_counterfactual(explanation: Explanation, after: str) -> float | None:
    """Return the sensitivity below which the evidence for `after` would not have sufficed.

    None if no value from 0 to 1 is so low, if votes alone decided, or if it is not known.
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
        if state_at(explanation, step / _STEPS).evidence_needed > evidence
    ]
    present = explanation.settings.sensitivity
    return max((value for value in short if value < present), default=None)


def overruling_score(explanation: Explanation) -> float | None:
    """Return the least score of the best state that would have overruled the impediment.

    In steps of 0.01, 0 to 1. None where no score overrules the impediment, where there was none,
    or where it is not known.
    """
    cause, settings = explanation.cause, explanation.settings
    if settings is None or cause.match is None or cause.impediment is None:
        return None
    best = cause.match.best
    for step in range(_STEPS + 1):
        score = replace(best.score, combined=step / _STEPS)
        states = (replace(best, score=score), *cause.match.states[1:])
        observation = replace(cause, match=replace(cause.match, states=states))
        vote = _vote(_state_after(observation, explanation, settings))
        if vote is not None and vote.reason is not cause.impediment:
            return step / _STEPS
    return None


def state_at(explanation: Explanation, sensitivity: float) -> DecisionState:
    """Return the state of a decider after the deciding observation, at another sensitivity.

    Raises:
        ValueError: The explanation has no settings.
    """
    if explanation.settings is None:
        raise ValueError("the settings of the decider are not known")
    settings = replace(explanation.settings, sensitivity=sensitivity)
    return _state_after(explanation.cause, explanation, settings)


def _state_after(
    observation: Observation, explanation: Explanation, settings: Settings
) -> DecisionState:
    event = explanation.event
    drifts = drifts_of(explanation.drifts)
    decider = AdaptiveDecider.following(settings)
    decider.restore(Memory(event.before, event.before_reason, drifts))
    if explanation.standing is not None and observation.match is not None:
        decider.recall_novelty(explanation.standing.novelty[:-1])
    decider.observe(observation)
    return decider.standing


def _vote(standing: DecisionState) -> State | None:
    return standing.votes[-1].state if standing.votes else None
