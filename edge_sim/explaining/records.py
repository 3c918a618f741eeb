"""What is kept of an event, so that it can be explained without the video."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from edge_sim.config import Config
from edge_sim.deciding import DecisionState, LearnedDrift, Settings
from edge_sim.domain import (
    Match,
    Observation,
    Score,
    State,
    StateScore,
    Threshold,
    UnknownReason,
)
from edge_sim.events import StateChanged, unix_time_s
from edge_sim.score_log import fault_of
from edge_sim.version import __version__

SCHEMA = 1
_DIGEST_BYTES = 8


class SeenLook(msgspec.Struct, frozen=True, omit_defaults=True):
    """One look around the event.

    Args:
        at_s: Seconds of frame time after the event; negative before it.
        unix_time_s: Of the frame.
        state: What the watch said from then on, with the `reason` of `unknown`.
        scores: `Score.combined` per state, 0 to 1; empty if the gallery is.
        levels: In force, per state.
        margin: Lead of the best state in probability, 0 to 1; null without a match.
        luma: Mean grey level, 0 to 255.
        condition: Light regime.
        impediment: Why the look could not be decided on; null if it could.
        decided: Whether this is the look that gave the event.
    """

    at_s: float
    unix_time_s: float
    state: str
    scores: dict[str, float]
    levels: dict[str, Threshold]
    margin: float | None
    luma: float
    condition: str
    reason: str | None = None
    impediment: str | None = None
    decided: bool = False


class Explanation(msgspec.Struct, frozen=True, tag="explanation", tag_field="type"):
    """An event with all that decided it.

    Args:
        event: As it was sent.
        cause: The look that decided, in full precision where it was kept.
        settings: What the decider went by; null if only the event is known.
        standing: Votes and evidence at the moment; null if only the event is known.
        drifts: How far the levels had adapted.
        looks: Around the event, the oldest first; those after it only from a score log.
        gallery: Digest of the references; empty if unknown.
        configuration: Digest of the sections that decide: model, score and watch; empty if unknown.
        edge_sim: Version that decided; empty if unknown.
        picture: JPEG of the region in colour; null unless pictures are kept.
        thumbnail: PNG of the (96, 96) grey picture that structural similarity saw; null likewise.
    """

    event: StateChanged
    cause: Observation
    settings: Settings | None = None
    standing: DecisionState | None = None
    drifts: tuple[LearnedDrift, ...] = ()
    looks: tuple[SeenLook, ...] = ()
    gallery: str = ""
    configuration: str = ""
    edge_sim: str = ""
    picture: bytes | None = None
    thumbnail: bytes | None = None
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, eq=False)
class ObservedState:
    """An observation, the state of the watch after it, and the thresholds in force."""

    observation: Observation
    state: State
    thresholds: Mapping[str, Threshold]


def seen_look(observed: ObservedState, cause: Observation) -> SeenLook:
    """Return one look as it is kept, its time counted from the look that decided, `cause`."""
    observation, said, thresholds = observed.observation, observed.state, observed.thresholds
    match = observation.match
    return SeenLook(
        at_s=round(observation.captured_at_s - cause.captured_at_s, 3),
        unix_time_s=round(observation.unix_time_s, 3),
        state=said.name,
        reason=said.reason.value if said.reason else None,
        scores={} if match is None else {s.state: round(s.score.combined, 4) for s in match.states},
        levels={state: level.rounded() for state, level in thresholds.items()},
        margin=None if match is None else round(match.margin, 4),
        luma=round(observation.quality.luma, 1),
        condition=observation.condition,
        impediment=observation.impediment.value if observation.impediment else None,
        decided=observation is cause,
    )


def from_event(event: StateChanged) -> Explanation:
    """Return what an event alone tells of itself; its numbers are rounded as they were sent."""
    states = tuple(
        StateScore(
            item.state,
            item.reference_id,
            Score(item.cosine, item.ssim, item.combined),
            item.probability,
        )
        for item in event.matches
    )
    reason = None if event.reason is None else UnknownReason(event.reason)
    impediment = reason if reason in _IMPEDIMENTS else None
    cause = Observation(
        captured_at_s=event.captured_at_s,
        unix_time_s=unix_time_s(event.at),
        frame_index=event.frame,
        match=Match(states) if states else None,
        condition=event.condition,
        impediment=impediment,
        quality=event.quality,
    )
    return checked(Explanation(event, cause))


def checked(explanation: Explanation) -> Explanation:
    """Return an explanation that was read, if everything in it can have happened.

    Raises:
        ValueError: It cannot; the file was changed by something else.
    """
    event = explanation.event
    unix_time_s(event.at)
    said = [(event.after, event.reason)]
    said += [] if event.before is None else [(event.before, event.before_reason)]
    said += [(look.state, look.reason) for look in explanation.looks]
    for name, reason in said:
        State(name, None if reason is None else UnknownReason(reason))
    for look in explanation.looks:
        if look.impediment is not None:
            UnknownReason(look.impediment)
    if explanation.settings is not None:
        fault = fault_of(explanation.cause, explanation.settings.levels)
        if fault:
            raise ValueError(fault)
    return explanation


def configuration_digest(config: Config, watch: str) -> str:
    """Return 16 hexadecimal digits that depend on all that a configuration says of a decision."""
    decides = (config.model, config.score, config.watches.get(watch))
    return hashlib.blake2b(msgspec.json.encode(decides), digest_size=_DIGEST_BYTES).hexdigest()


def present_version() -> str:
    """Return the version of edge_sim that decides here."""
    return __version__


_IMPEDIMENTS = frozenset(UnknownReason) - {
    UnknownReason.STARTING,
    UnknownReason.NO_REFERENCES,
    UnknownReason.NOVEL,
    UnknownReason.AMBIGUOUS,
    UnknownReason.UNTAUGHT_LIGHT,
    UnknownReason.STALE,
}
