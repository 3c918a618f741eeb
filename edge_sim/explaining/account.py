"""The account of an event in plain words: why this state, why then, what would have changed it."""

from __future__ import annotations

from collections import Counter

import msgspec

from edge_sim.deciding import DecisionState, Settings, agree, votes_needed
from edge_sim.domain import UNKNOWN, State, UnknownReason
from edge_sim.explaining.reasons import impeded, what_if_of, why_state_of
from edge_sim.explaining.records import Explanation


class StateRow(msgspec.Struct, frozen=True):
    """One state at the deciding look.

    Args:
        state: Name of the state.
        reference: Id of its reference most like the picture.
        cosine: Of the global embeddings, -1 to 1.
        ssim: Structural similarity of the thumbnails, -1 to 1; null where it was not computed.
        score: What levels are compared with, 0 to 1.
        enter: Level in force at which the state is entered; null if it was not kept.
        leave: Level in force below which the state is left; null if it was not kept.
        probability: Among the states of the gallery, 0 to 1.
        evidence: Sum that spoke for it against the state last said; null if it was not kept.
    """

    state: str
    reference: str
    cosine: float
    ssim: float | None
    score: float
    enter: float | None
    leave: float | None
    probability: float
    evidence: float | None


class Account(msgspec.Struct, frozen=True):
    """An event for people: sentences, and one row per state, the most probable first."""

    headline: str
    why_state: tuple[str, ...]
    why_then: tuple[str, ...]
    what_if: tuple[str, ...]
    states: tuple[StateRow, ...]


def account_of(explanation: Explanation) -> Account:
    """Return the account of an explanation; what was not kept is left out, not guessed."""
    event = explanation.event
    before = "start" if event.before is None else said_text(event.before, event.before_reason)
    return Account(
        headline=f"{event.watch}: {before} -> {said_text(event.after, event.reason)}",
        why_state=why_state_of(explanation),
        why_then=_why_then(explanation),
        what_if=what_if_of(explanation),
        states=_rows(explanation),
    )


def said_text(name: str, reason: str | None) -> str:
    """Return what a watch says, `unknown` with its reason in brackets."""
    return f"{name} ({reason})" if reason else name


def origin_text(explanation: Explanation) -> str:
    """Return what decided: model, gallery, configuration and version, in one line."""
    event, settings = explanation.event, explanation.settings
    parts = [f"model {event.model}", f"gallery revision {event.gallery_revision}"]
    if explanation.gallery:
        parts[-1] += f" ({explanation.gallery})"
    if explanation.configuration:
        parts.append(f"configuration {explanation.configuration}")
    if settings is not None:
        parts.append(f"sensitivity {settings.sensitivity:g}")
        parts.append(f"confirm {settings.matches} of {settings.of}")
        known = [item.calibrated for item in settings.levels.values() if item.calibrated]
        parts += sorted({f"levels {item.origin}" for item in known})
    if explanation.edge_sim:
        parts.append(f"edge_sim {explanation.edge_sim}")
    return "Decided with " + ", ".join(parts)


def where_text(explanation: Explanation) -> str:
    """Return where the event is from: frame, source, light and id, in one line."""
    event = explanation.event
    return f"frame {event.frame} of {event.source}, light {event.condition}, event {event.id}"


def _why_then(explanation: Explanation) -> tuple[str, ...]:
    event, standing, settings = explanation.event, explanation.standing, explanation.settings
    if standing is None or settings is None:
        return ("Only the event is known: votes and evidence were not kept with it.",)
    sentences = [_votes_text(standing, settings)]
    if standing.doubts:
        doubts = " and ".join(doubt.value for doubt in standing.doubts)
        sentences.append(
            f"The rules of the watch call this change implausible ({doubts}), so every vote and "
            f"twice the evidence were asked for."
        )
    if event.after == UNKNOWN:
        sentences.append("A change to unknown needs votes only.")
    elif event.before is None:
        sentences.append("It is the first decision of the watch, so votes alone decide.")
    elif not standing.evidence:
        sentences.append("No state was named since the start, so votes alone decide.")
    elif not _returns(explanation):
        sentences.append(
            f"The evidence for {event.after} against the state named last stood at "
            f"{standing.evidence[event.after]:.2f}; {standing.evidence_needed:.2f} was needed."
        )
    else:
        sentences.append("It is the state named last, so votes alone bring it back.")
    if impeded(explanation):
        sentences.append("The picture was impeded, but so familiar that the look counted.")
    return tuple(sentences)


def _returns(explanation: Explanation) -> bool:
    """Whether the watch comes back from `unknown` to the state that its evidence is against."""
    standing, after = explanation.standing, explanation.event.after
    if standing is None:
        return False
    return standing.evidence.get(after, 0.0) < standing.evidence_needed


def _votes_text(standing: DecisionState, settings: Settings) -> str:
    counts = Counter(_state_text(vote.state) for vote in standing.votes)
    said = " and ".join(f"{number} {text}" for text, number in counts.most_common())
    after = standing.votes[-1].state if standing.votes else None
    agreeing = sum(agree(vote.state, after) for vote in standing.votes)
    number = votes_needed(settings, standing)
    needed = f"all {number}" if number == settings.of else f"{number} of {settings.of}"
    alike = ""
    if agreeing > counts[_last(after)]:
        is_untaught = any(
            vote.state.reason is UnknownReason.UNTAUGHT_LIGHT for vote in standing.votes
        )
        also = ", untaught_light" if is_untaught else ""
        alike = f" novel, ambiguous{also} and camera_moved count as one."
    return f"The last {len(standing.votes)} looks said {said}: {needed} had to agree.{alike}"


def _last(state: State | None) -> str:
    return "" if state is None else _state_text(state)


def _state_text(state: State) -> str:
    return said_text(state.name, state.reason.value if state.reason else None)


def _rows(explanation: Explanation) -> tuple[StateRow, ...]:
    match, standing = explanation.cause.match, explanation.standing
    levels = explanation.event.thresholds
    rows = []
    for item in () if match is None else match.states:
        level = levels.get(item.state)
        rows.append(
            StateRow(
                state=item.state,
                reference=item.reference_id,
                cosine=item.score.cosine,
                ssim=item.score.ssim,
                score=item.score.combined,
                enter=None if level is None else level.enter,
                leave=None if level is None else level.leave,
                probability=item.probability,
                evidence=None
                if standing is None
                else round(standing.evidence.get(item.state, 0.0), 2),
            )
        )
    return tuple(rows)
