"""Account of an event in sentences: why this state, why then, and what would have changed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from edge_sim.analysis.what_if import (
    Counterfactual,
    counterfactuals_of,
    overruling_score,
    sum_counterfactual,
)
from edge_sim.core.types import UNKNOWN, Match, State, StateScore, UnknownReason
from edge_sim.decision.lights import is_taught
from edge_sim.decision.novelty import strengths
from edge_sim.decision.thresholds import (
    DecisionState,
    Settings,
    agree,
    strictness,
    votes_needed,
)
from edge_sim.runtime.explanations import Explanation
from edge_sim.vision.light import light_words

_IMPEDED = {
    UnknownReason.DARK: "It was too dark to tell: mean level {luma:.1f} of 255.",
    UnknownReason.OVEREXPOSED: "The picture was blown out: {clipped_bright:.0%} of it white.",
    UnknownReason.NO_SIGNAL: "The source showed a slate of one colour instead of a picture: the "
    "camera gave it no signal.",
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
    """Return the reasons of the deciding observation."""
    event, match = explanation.event, explanation.cause.match
    reason = None if event.reason is None else UnknownReason(event.reason)
    if reason in _IMPEDED:
        return (_IMPEDED[reason].format(**asdict(event.quality)),)
    if match is None:
        return (f"The picture was not compared with any reference ({event.reason}).",)
    if reason is UnknownReason.NOVEL:
        novel = _novel(explanation, match), *_where(explanation), *_in_new_light(explanation)
        return (*novel, _nearest(match.best))
    if reason is UnknownReason.UNTAUGHT_LIGHT:
        return (_untaught(explanation, match), _nearest(match.best))
    if reason is UnknownReason.AMBIGUOUS:
        return (_ambiguous(explanation, match), *_in_new_light(explanation), _nearest(match.best))
    return (_lead(explanation, match), _familiar(explanation, match.best), _nearest(match.best))


def what_if_of(explanation: Explanation) -> tuple[str, ...]:
    """Return the changes that would have changed the decision."""
    return tuple(_what_if(explanation))


def impeded(explanation: Explanation) -> bool:
    """Return whether the deciding observation was impeded and still named a state."""
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
    is_novel = reason == UnknownReason.NOVEL.value
    # A lower score would have changed nothing where a part is novel.
    if level is not None and not (is_novel and best.score.combined >= level[1]):
        yield _to_the_level(best, level)
    if not is_novel:
        yield from _to_the_margin(explanation, match)
    yield from _to_the_votes(explanation)
    yield from _sensitivity(explanation)


def _without_impediment(explanation: Explanation) -> Iterator[str]:
    match, score = explanation.cause.match, overruling_score(explanation)
    if match is None or score is None:
        yield "No threshold: scores were not used here. It ends with the impediment."
        return
    best = match.best
    away = score - best.score.combined
    yield (
        f"The score of {best.state} {away:.3f} higher ({score:.2f} or more): so familiar a picture "
        f"would have overruled the impediment."
    )
    yield "Else no threshold: scores were not used. It ends with the impediment."


def _where(explanation: Explanation) -> tuple[str, ...]:
    """Return the sentence that names the parts that no reference shows; none if none are known."""
    regions, match = explanation.event.regions, explanation.cause.match
    if not regions or match is None:
        return ()
    boxes = [
        f"{width:.0%} x {height:.0%} at {x + width / 2:.0%} from the left and "
        f"{y + height / 2:.0%} from the top"
        for x, y, width, height in regions
    ]
    parts = "this part" if len(boxes) == 1 else "these parts"
    return (f"No reference of {match.best.state} shows {parts} of the frame: {'; '.join(boxes)}.",)


def _in_new_light(explanation: Explanation) -> tuple[str, ...]:
    """Return the sentence about a light without references, which may be the whole reason."""
    names = explanation.event.untaught
    if not names:
        return ()
    light = light_words(explanation.cause.condition)
    return (f"There is no reference of {_listed(names)} {light}. {_one_picture(names)}",)


def _novel(explanation: Explanation, match: Match) -> str:
    best, level = match.best, _level(explanation, match.best.state)
    start = f"No state explains the picture: the most probable one, {best.state}, scores"
    if level is None:
        return f"{start} {best.score.combined:.3f} only."
    word, value = level
    short = value - best.score.combined
    if short <= 0.0:
        return _too_novel(explanation, best)
    return f"{start} {best.score.combined:.3f}, {short:.3f} below its {word} level of {value:.3f}."


def _too_novel(explanation: Explanation, best: StateScore) -> str:
    start = f"A part of the picture is like no reference of {best.state}, the most probable state"
    if explanation.standing is None or not explanation.standing.novelty:
        return f"{start}."
    allowed = 1.0 if explanation.settings is None else strictness(explanation.settings.sensitivity)
    alone, together = strengths(explanation.standing.novelty, allowed)
    subject = "this observation" if alone >= together else "over the last observations it"
    return (
        f"{start}: {subject} lies {max(alone, together):.2f} margins above the usual of them, "
        f"where {allowed:.2f} is allowed."
    )


def _untaught(explanation: Explanation, match: Match) -> str:
    light = light_words(explanation.cause.condition)
    names = explanation.event.untaught or (match.best.state,)
    start = f"It is most like {match.best.state}, but"
    if _taught_otherwise(explanation, names):
        return (
            f"{start} {_listed(names)} was taught {light} only much brighter or darker, and the "
            f"picture is hardly more like the one than the other. {_one_picture(names)}"
        )
    return (
        f"{start} there is no reference of {_listed(names)} {light}, and a light in which a state "
        f"or its rival was never taught proves nothing. {_one_picture(names)}"
    )


def _taught_otherwise(explanation: Explanation, names: Sequence[str]) -> bool:
    """Return whether each of these states has references in the light, of another brightness."""
    settings, cause = explanation.settings, explanation.cause
    if settings is None:
        return False
    known = [settings.levels[name].lights for name in names if name in settings.levels]
    light, luma = cause.condition, cause.quality.luma
    return bool(known) and all(lights and is_taught(lights, light, luma) for lights in known)


def _one_picture(names: Sequence[str]) -> str:
    each = "it" if len(names) == 1 else "each"
    return f"One confirmed picture of {each} in this light will do."


def _listed(names: Sequence[str]) -> str:
    """Return names as in `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


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
    """Return name and value of the level that a state had to reach."""
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
            f"picture would have been familiar."
        )
    return (
        f"The score of {best.state} more than {away:.3f} lower (below its {word} level of "
        f"{value:.3f}): this observation would have been unknown (novel)."
    )


def _to_the_margin(explanation: Explanation, match: Match) -> Iterator[str]:
    standing = explanation.standing
    if standing is None or match.runner_up is None:
        return
    away = match.margin - standing.margin_needed
    if away >= 0.0:
        yield (
            f"A lead more than {away:.3f} smaller (below {standing.margin_needed:.3f}): this "
            f"observation would have been unknown (ambiguous)."
        )
    else:
        yield (
            f"A lead {-away:.3f} larger ({standing.margin_needed:.3f} or more): this observation "
            f"would have been {match.best.state}."
        )


def _to_the_votes(explanation: Explanation) -> Iterator[str]:
    standing, settings, event = explanation.standing, explanation.settings, explanation.event
    if standing is None or settings is None:
        return
    after = standing.votes[-1].state if standing.votes else None
    agreeing = sum(agree(vote.state, after) for vote in standing.votes)
    if agreeing == votes_needed(settings, standing):
        yield (
            f"One of these {agreeing} observations different: the change would have come later or "
            f"not at all."
        )
    evidence = standing.evidence.get(event.after, 0.0)
    if event.after != UNKNOWN and evidence >= standing.evidence_needed > 0.0:
        over = evidence - standing.evidence_needed
        yield f"Evidence more than {over:.2f} smaller: more observations would have been needed."


def _sensitivity(explanation: Explanation) -> Iterator[str]:
    settings = explanation.settings
    if settings is None:
        return
    below, above = counterfactuals_of(explanation)
    present = f"({settings.sensitivity:.2f} was in force)"
    if below is None and above is None:
        yield f"No sensitivity from 0 to 1 would have changed this observation {present}."
    if below is not None:
        yield f"A sensitivity of {_counterfactual_text(below)} or lower {present}."
    if above is not None:
        yield f"A sensitivity of {_counterfactual_text(above)} or higher {present}."
    short = sum_counterfactual(explanation, explanation.event.after)
    if short is not None:
        yield f"At a sensitivity of {short:.2f} or lower the evidence would not have sufficed yet."


def _counterfactual_text(counterfactual: Counterfactual) -> str:
    vote = counterfactual.vote
    result = "the decider would have waited" if vote is None else f"it would be {_text_of(vote)}"
    return f"{counterfactual.sensitivity:.2f}, where {result},"


class StateRow(msgspec.Struct, frozen=True):
    """One state at the deciding observation.

    Args:
        state: Name of the state.
        reference: Id of its most similar reference.
        cosine: Cosine of the global embeddings, -1 to 1.
        ssim: Structural similarity of the thumbnails, -1 to 1; null where it was not computed.
        score: Score that levels are compared with, 0 to 1.
        enter: Level in force at which the state is entered; null if it was not kept.
        leave: Level in force below which the state is left; null if it was not kept.
        probability: Probability among the states of the gallery, 0 to 1.
        evidence: Sum for it against the state reported last; null if it was not kept.
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
    """Sentences about an event, and one row per state, the most probable first."""

    headline: str
    why_state: tuple[str, ...]
    why_then: tuple[str, ...]
    what_if: tuple[str, ...]
    states: tuple[StateRow, ...]


def account_of(explanation: Explanation) -> Account:
    """Return the account of an explanation, without what was not kept."""
    event = explanation.event
    before = "start" if event.before is None else state_text(event.before, event.before_reason)
    return Account(
        headline=f"{event.watch}: {before} -> {state_text(event.after, event.reason)}",
        why_state=why_state_of(explanation),
        why_then=_why_then(explanation),
        what_if=what_if_of(explanation),
        states=_rows(explanation),
    )


def as_builtins(explanation: Explanation, account: Account) -> dict[str, Any]:
    """Return an explanation and its account as plain values, without its pictures."""
    facts = msgspec.to_builtins(explanation)
    for name in ("picture", "thumbnail", "type"):
        facts.pop(name)
    return {**facts, "account": msgspec.to_builtins(account)}


def state_text(name: str, reason: str | None) -> str:
    """Return a state, `unknown` with its reason in brackets."""
    return f"{name} ({reason})" if reason else name


def origin_text(explanation: Explanation) -> str:
    """Return model, gallery, configuration and version of the decision, in one line."""
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
    """Return frame, source, light and id of the event, in one line."""
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
            f"twice the evidence were needed."
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
        sentences.append("The picture was impeded, but so familiar that the observation counted.")
    return tuple(sentences)


def _returns(explanation: Explanation) -> bool:
    """Return whether the watch returns from `unknown` to the state that its evidence is against."""
    standing, after = explanation.standing, explanation.event.after
    if standing is None:
        return False
    return standing.evidence.get(after, 0.0) < standing.evidence_needed


def _votes_text(standing: DecisionState, settings: Settings) -> str:
    counts = Counter(_text_of(vote.state) for vote in standing.votes)
    counted = " and ".join(f"{number} {text}" for text, number in counts.most_common())
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
    number_of = len(standing.votes)
    return f"The last {number_of} observations were {counted}: {needed} had to agree.{alike}"


def _last(state: State | None) -> str:
    return "" if state is None else _text_of(state)


def _text_of(state: State) -> str:
    return state_text(state.name, state.reason.value if state.reason else None)


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
