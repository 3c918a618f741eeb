"""What followers report, each in one call."""

from __future__ import annotations

from edge_sim.core.events import (
    EventDraft,
    SceneCleared,
    SceneImpaired,
    SceneProblem,
    ScoresDrifted,
    StateOverdue,
    StateOverdueCleared,
    StateTooLong,
    StateTooShort,
    TransitionImplausible,
    draft,
    utc_text,
)


def impaired(problem: SceneProblem, since_s: float, lasted_s: float) -> EventDraft:
    return draft(SceneImpaired, problem=problem, since=utc_text(since_s), lasted_s=lasted_s)


def cleared(problem: SceneProblem, since_s: float, lasted_s: float) -> EventDraft:
    return draft(SceneCleared, problem=problem, since=utc_text(since_s), lasted_s=lasted_s)


def overdue(
    state: str, since_s: float, in_state_s: float, limit_s: float, number: int = 1
) -> EventDraft:
    return draft(
        StateOverdue,
        state=state,
        since=utc_text(since_s),
        in_state_s=in_state_s,
        limit_s=limit_s,
        number=number,
    )


def overdue_cleared(state: str, since_s: float, in_state_s: float) -> EventDraft:
    return draft(StateOverdueCleared, state=state, since=utc_text(since_s), in_state_s=in_state_s)


def too_short(
    state: str, after: str, since_s: float, in_state_s: float, limit_s: float
) -> EventDraft:
    return draft(
        StateTooShort,
        state=state,
        after=after,
        since=utc_text(since_s),
        in_state_s=in_state_s,
        limit_s=limit_s,
    )


def too_long(state: str, since_s: float, in_state_s: float, limit_s: float) -> EventDraft:
    return draft(
        StateTooLong, state=state, since=utc_text(since_s), in_state_s=in_state_s, limit_s=limit_s
    )


def implausible(before: str, after: str) -> EventDraft:
    return draft(TransitionImplausible, before=before, after=after)


def drifted(state: str, condition: str, psi: float, mean: float, action: str) -> EventDraft:
    return draft(
        ScoresDrifted,
        state=state,
        condition=condition,
        psi=psi,
        limit=0.25,
        expected=0.8,
        mean=mean,
        direction="fall",
        observations=120,
        action=action,
    )
