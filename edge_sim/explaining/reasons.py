"""The sentences about the deciding look: what it said, by how much, and what would turn it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from edge_sim.deciding import agree, votes_needed
from edge_sim.domain import UNKNOWN, Match, State, StateScore, UnknownReason
from edge_sim.explaining.records import Explanation
from edge_sim.explaining.turning import Counterfactual, evidence_turn, overruling_score, turns_of

_IMPEDED = {
    UnknownReason.DARK: "It was too dark to tell: mean level {luma:.1f} of 255.",
    UnknownReason.OVEREXPOSED: "The picture was blown out: {clipped_bright:.0%} of it white.",
    UnknownReason.BLURRED: "The picture was out of focus: sharpness {sharpness:.1f} at a contrast "
    "of {contrast:.1f}, far below that of the references.",
    UnknownReason.COVERED: "Something is before the lens: contrast {contrast:.1f} at a mean level "
    "of {luma:.1f}.",
    UnknownReason.CAMERA_MOVED: "No part of the picture shows what the references show there: the "
    "camera was moved, or everything in view was.",
    UnknownReason.LIGHTING: "The light kept changing for longer than a decision can wait for it.",
    UnknownReason.FROZEN: "The source repeats the same picture, noise included.",
    UnknownReason.STALE: "No picture came for too long.",
    UnknownReason.NO_REFERENCES: "The gallery of the watch is empty: there is nothing to compare "
    "with.",
}


def why_state_of(explanation: Explanation) -> tuple[str, ...]:
    """Return why the deciding look said what it said."""
    event, match = explanation.event, explanation.cause.match
    reason = None if event.reason is None else UnknownReason(event.reason)
    if reason in _IMPEDED:
        return (_IMPEDED[reason].format(**asdict(event.quality)),)
    if match is None:
        return (f"The picture was not compared with any reference ({event.reason}).",)
    if reason is UnknownReason.NOVEL:
        return (_novel(explanation, match), _nearest(match.best))
    if reason is UnknownReason.UNTAUGHT_LIGHT:
        return (_untaught(explanation, match), _nearest(match.best))
    if reason is UnknownReason.AMBIGUOUS:
        return (_ambiguous(explanation, match), _nearest(match.best))
    return (_lead(explanation, match), _familiar(explanation, match.best), _nearest(match.best))


def what_if_of(explanation: Explanation) -> tuple[str, ...]:
    """Return what would have changed the decision, with how far away that was."""
    return tuple(_what_if(explanation))


def impeded(explanation: Explanation) -> bool:
    """Whether the deciding look was impeded and still named a state."""
    return explanation.cause.impediment is not None and explanation.event.after != UNKNOWN


def _what_if(explanation: Explanation) -> Iterator[str]:
    event, match = explanation.event, explanation.cause.match
    reason = event.reason
    impediment = explanation.cause.impediment
    if match is None or (impediment is not None and reason == impediment.value):
        yield from _without_impediment(explanation)
        return
    best = match.best
    level = _level(explanation, best.state)
    if level is not None:
        yield _to_the_level(best, level)
    if reason != UnknownReason.NOVEL.value:
        yield from _to_the_margin(explanation, match)
    yield from _to_the_votes(explanation)
    yield from _sensitivity(explanation)


def _without_impediment(explanation: Explanation) -> Iterator[str]:
    match, score = explanation.cause.match, overruling_score(explanation)
    if match is None or score is None:
        yield "No threshold: the scores of this look were not asked. It ends with the impediment."
        return
    best = match.best
    away = score - best.score.combined
    yield (
        f"The score of {best.state} {away:.3f} higher ({score:.2f} or more): so familiar a picture "
        f"would have refuted the impediment."
    )
    yield "Else no threshold: the scores were not asked. It ends with the impediment."


def _novel(explanation: Explanation, match: Match) -> str:
    best, level = match.best, _level(explanation, match.best.state)
    start = f"No state explains the picture: the most probable one, {best.state}, scores"
    if level is None:
        return f"{start} {best.score.combined:.3f} only."
    word, value = level
    short = value - best.score.combined
    return f"{start} {best.score.combined:.3f}, {short:.3f} below its {word} level of {value:.3f}."


def _untaught(explanation: Explanation, match: Match) -> str:
    state, light = match.best.state, explanation.cause.condition
    return (
        f"It is most like {state}, which has no reference in this light ({light}): in a light that "
        f"was not taught a state is not entered. One confirmed picture of it in this light will do."
    )


def _ambiguous(explanation: Explanation, match: Match) -> str:
    second = match.runner_up
    rest = f" and {second.state} {second.probability:.3f}" if second else ""
    text = (
        f"Two states fit about equally well: {match.best.state} with probability "
        f"{match.best.probability:.3f}{rest}"
    )
    if explanation.standing is None:
        return f"{text}."
    needed = explanation.standing.margin_needed
    return f"{text}, a lead of {match.margin:.3f} where {needed:.3f} is needed."


def _lead(explanation: Explanation, match: Match) -> str:
    best, second = match.best, match.runner_up
    text = f"The picture is most like {best.state}: probability {best.probability:.3f}"
    if second is None:
        return f"{text}; the gallery knows no other state."
    text += f", {match.margin:.3f} ahead of the runner-up {second.state}"
    if explanation.standing is None:
        return f"{text}."
    return f"{text}; a lead of {explanation.standing.margin_needed:.3f} was needed."


def _familiar(explanation: Explanation, best: StateScore) -> str:
    level = _level(explanation, best.state)
    if level is None:
        return f"Its score for {best.state} is {best.score.combined:.3f}."
    word, value = level
    above = best.score.combined - value
    return (
        f"It is familiar: its score for {best.state} is {best.score.combined:.3f}, {above:.3f} "
        f"above the {word} level of {value:.3f}."
    )


def _nearest(best: StateScore) -> str:
    score = best.score
    ssim = "" if score.ssim is None else f", structural similarity {score.ssim:.3f}"
    return (
        f"The reference of {best.state} most like it is {best.reference_id}: cosine "
        f"{score.cosine:.3f}{ssim}."
    )


def _level(explanation: Explanation, state: str) -> tuple[str, float] | None:
    """Return which level of a state the look had to reach, and where it lay."""
    levels = explanation.event.thresholds.get(state)
    if levels is None:
        return None
    stays = explanation.event.before == state
    return ("leave", levels.leave) if stays else ("enter", levels.enter)


def _to_the_level(best: StateScore, level: tuple[str, float]) -> str:
    word, value = level
    away = best.score.combined - value
    if away < 0.0:
        return (
            f"The score of {best.state} {-away:.3f} higher (its {word} level is {value:.3f}): the "
            f"picture would have counted as familiar."
        )
    return (
        f"The score of {best.state} more than {away:.3f} lower (below its {word} level of "
        f"{value:.3f}): this look would have said unknown (novel)."
    )


def _to_the_margin(explanation: Explanation, match: Match) -> Iterator[str]:
    standing = explanation.standing
    if standing is None or match.runner_up is None:
        return
    away = match.margin - standing.margin_needed
    if away >= 0.0:
        yield (
            f"A lead more than {away:.3f} smaller (below {standing.margin_needed:.3f}): this look "
            f"would have said unknown (ambiguous)."
        )
    else:
        yield (
            f"A lead {-away:.3f} larger ({standing.margin_needed:.3f} or more): this look would "
            f"have said {match.best.state}."
        )


def _to_the_votes(explanation: Explanation) -> Iterator[str]:
    standing, settings, event = explanation.standing, explanation.settings, explanation.event
    if standing is None or settings is None:
        return
    after = standing.votes[-1].state if standing.votes else None
    agreeing = sum(agree(vote.state, after) for vote in standing.votes)
    if agreeing == votes_needed(settings, standing):
        yield (
            f"One of these {agreeing} looks saying otherwise: the change would have come later or "
            f"not at all."
        )
    evidence = standing.evidence.get(event.after, 0.0)
    if event.after != UNKNOWN and evidence >= standing.evidence_needed > 0.0:
        over = evidence - standing.evidence_needed
        yield f"Evidence more than {over:.2f} smaller: more looks would have been waited for."


def _sensitivity(explanation: Explanation) -> Iterator[str]:
    settings = explanation.settings
    if settings is None:
        return
    below, above = turns_of(explanation)
    present = f"({settings.sensitivity:.2f} was in force)"
    if below is None and above is None:
        yield f"No sensitivity from 0 to 1 would have turned this look {present}."
    if below is not None:
        yield f"A sensitivity of {_turn_text(below)} or lower {present}."
    if above is not None:
        yield f"A sensitivity of {_turn_text(above)} or higher {present}."
    short = evidence_turn(explanation, explanation.event.after)
    if short is not None:
        yield f"At a sensitivity of {short:.2f} or lower the evidence would not have sufficed yet."


def _turn_text(turn: Counterfactual) -> str:
    says = "it would have waited" if turn.vote is None else f"it would have said {_text(turn.vote)}"
    return f"{turn.sensitivity:.2f}, where {says},"


def _text(state: State) -> str:
    return f"{state.name} ({state.reason.value})" if state.reason else state.name
