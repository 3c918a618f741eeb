"""Adaptive decider: from observations to state changes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_sim.core.types import (
    UNKNOWN,
    Doubt,
    Match,
    Observation,
    State,
    StateChange,
    Threshold,
    UnknownReason,
)
from edge_sim.decision.lights import is_level_taught, is_taught, share_light
from edge_sim.decision.novelty import RecentNovelty
from edge_sim.decision.rules import NO_RULES, Rules
from edge_sim.decision.thresholds import (
    DecisionState,
    Drift,
    Level,
    Memory,
    Settings,
    Vote,
    agree,
    levels_of,
    strictness,
    votes_needed,
)
from edge_sim.gallery.gallery import Gallery

_MOST_PER_OBSERVATION = 3.0
"""One observation weighs at most e^3 = 20 to 1, however sure it is of itself."""
_SLACK = 0.5
"""Taken from every observation, so that a long row of doubtful ones (62 to 38) proves nothing."""
_NEVER_CERTAIN = 0.01


class CusumTest:
    """Page's cumulative sum (Biometrika 41, 1954) of the log odds of each other state.

    Every observation adds the logarithm of how much more probable a state is than the one last
    said, less a slack; a sum never falls below zero. Three clear observations give 7.5.
    Observations that are hardly better than a coin take many more than three, which counting alone
    would not notice.

    Args:
        needed: Sum from which a change is believed.
    """

    def __init__(self, needed: float) -> None:
        self.needed = needed
        self._sums: dict[str, float] = {}

    @property
    def sums(self) -> dict[str, float]:
        """Sum of each state so far, 0 and up; empty right after a change."""
        return dict(self._sums)

    def weigh(self, match: Match, last: str) -> None:
        """Add what one observation says against the state `last`; nothing if it is not in
        numbers."""
        odds = {item.state: item.probability + _NEVER_CERTAIN for item in match.states}
        if not all(math.isfinite(probability) for probability in odds.values()):
            return
        before = odds.get(last, _NEVER_CERTAIN)
        for state, probability in odds.items():
            step = math.log(probability / before)
            step = min(max(step, -_MOST_PER_OBSERVATION), _MOST_PER_OBSERVATION) - _SLACK
            self._sums[state] = max(self._sums.get(state, 0.0) + step, 0.0)

    def forget(self) -> None:
        """Forget all observations."""
        self._sums.clear()


_SEEING = frozenset({UnknownReason.NOVEL, UnknownReason.AMBIGUOUS})
"""Reasons of `unknown` with which the thing itself was seen, though not understood."""


class DwellTimer:
    """Last reported state, the time it was entered, and whether it was observed all along.

    While the picture was dark, covered or another view, or nothing was observed, anything may
    have happened: then no change is implausible.
    """

    def __init__(self) -> None:
        self._state: str | None = None
        self._since_s: float | None = None
        self._seen = False

    def observe(self, observation: Observation) -> None:
        """Take an observation in, before it decides anything."""
        match = observation.match
        if match is not None and observation.impediment is None and match.best.state == self._state:
            self._seen = True

    def say(self, said: State, at_s: float | None) -> None:
        """Note what is said from now on; `at_s` is None where that began before."""
        if said.name == UNKNOWN:
            self._seen = self._seen and said.reason in _SEEING
        elif said.name != self._state:
            self._state, self._since_s, self._seen = said.name, at_s, at_s is not None

    def lose_view(self) -> None:
        """Note that nothing was seen for a while; how long it lasted is not known either."""
        self._seen = False
        self._since_s = None

    def doubts_about(self, after: str, at_s: float, rules: Rules) -> tuple[Doubt, ...]:
        """Return what `rules` have against a change to `after` now."""
        if self._state is None or after in (self._state, UNKNOWN) or not self._seen:
            return ()
        found = []
        if not rules.allows(self._state, after):
            found.append(Doubt.NOT_ALLOWED)
        if self._since_s is not None and rules.is_too_short(self._state, at_s - self._since_s):
            found.append(Doubt.TOO_SHORT)
        return tuple(found)


_EVIDENCE_PER_VOTE = 0.8
"""Evidence that a change of state needs, for each vote it needs: three observations at 79 %.
Eleven clips and sets played in order: votes alone invent 0.5 changes per clip, 0.8 leaves 0.2 and
the best mean F1, 1.33 leaves 0.1 and misses more; 0.5 to 1 changes the mean F1 by less than
0.003."""
_AGAINST_RULES = 2.0
"""Factor on the evidence needed for a change against the rules, with all votes: rules may be
wrong."""
_SURE = 0.9
"""Probability from which an observation teaches the level of its state."""
_PAUSE_INTERVALS = 20.0
"""Observations further apart than this many usual intervals do not confirm each other."""
_USUAL_CONDITION = "day"
_OVERRULED = frozenset(
    {
        UnknownReason.CAMERA_MOVED,
        UnknownReason.NOVEL,
        UnknownReason.OVEREXPOSED,
        UnknownReason.BLURRED,
    }
)
"""Impediments that a familiar picture refutes. A flat or black one is like any flat picture, a
frozen one was familiar once: those stand."""


_CLEAR_LEAD = 0.1
"""Lead in `combined` over a state that this light was not taught for. By night, with one to five
references of each state in it, 0.95 of right matches lead by 0.08 and more, and 0.95 of wrong ones
by less than 0.1."""
_WITHOUT_TEACHING = frozenset(
    {UnknownReason.NOVEL, UnknownReason.AMBIGUOUS, UnknownReason.UNTAUGHT_LIGHT}
)


class AdaptiveDecider:
    """Decider of the state of a watch, once enough observations agree.

    An observation votes for the most probable state if `combined` reaches its threshold and its
    lead is clear, for the impediment if there is one, else for `unknown: novel` or `unknown:
    ambiguous`. In a light in which a state or its rival has no reference it can be stayed in, but
    is not entered unless the picture is as familiar as the references are: `unknown:
    untaught_light`.
    `matches` votes out of the last `of` change what is said; a change from one state to another
    also needs them to be clear (`CusumTest`). While the light is changing no votes are cast;
    only if that lasts longer than `of` observations, it is said.

    The thresholds start from the leave-one-out scores of the gallery and follow slow drift, per
    state and condition. Only observations that are surely of the state in force, with no change
    pending and `of` observations ago, teach: a change is reported before it could be learned.

    Args:
        left_out: `Scorer.leave_one_out()` of the gallery.
        gallery: The references.
        sensitivity: 0 to 1; 0.5 is the calibrated point, higher reports weaker changes.
        matches: Votes that it takes.
        of: Votes that count; at least `matches`.
        rules: A change against them needs all votes and twice the evidence, and is marked.

    Raises:
        ValueError: `sensitivity`, `matches` or `of` are out of range.
    """

    def __init__(
        self,
        left_out: Sequence[Match | None],
        gallery: Gallery,
        *,
        sensitivity: float = 0.5,
        matches: int = 3,
        of: int = 5,
        rules: Rules = NO_RULES,
    ) -> None:
        levels = levels_of(gallery, left_out)
        self._settings = Settings(levels, sensitivity, matches, of, rules=rules)
        self._stay = DwellTimer()
        self._said: State | None = None
        self._last_state: str | None = None
        self._evidence = CusumTest(_EVIDENCE_PER_VOTE * matches * strictness(sensitivity))
        self._standing = DecisionState()
        self._votes: deque[Vote] = deque(maxlen=of)
        self._lessons: deque[tuple[str, str, float]] = deque()
        self._drifts: dict[tuple[str, str], Drift] = {}
        self._novelty = RecentNovelty()
        self._condition = _USUAL_CONDITION
        self._lighting_count = 0
        self._last_s: float | None = None
        self._interval_s: float | None = None
        self._thresholds = self._settings.thresholds(self._drifts, self._condition)

    @classmethod
    def following(cls, settings: Settings) -> AdaptiveDecider:
        """Return a decider that goes by `settings` and needs no gallery: to decide again."""
        decider = cls(
            (),
            Gallery(),
            sensitivity=settings.sensitivity,
            matches=settings.matches,
            of=settings.of,
        )
        decider._settings = settings
        decider._thresholds = settings.thresholds({}, _USUAL_CONDITION)
        return decider

    @property
    def settings(self) -> Settings:
        """Settings in force."""
        return self._settings

    @property
    def standing(self) -> DecisionState:
        """State of the decision at the last observation, before it decided anything."""
        return self._standing

    @property
    def state(self) -> State:
        """State reported now; `unknown: starting` until the first decision."""
        return self._said or State(UNKNOWN, UnknownReason.STARTING)

    @property
    def levels(self) -> Mapping[str, Level]:
        """Levels of the scores of each state, learned from the gallery."""
        return dict(self._settings.levels)

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Levels in force in the condition of the last observation, per state."""
        return self._thresholds

    @property
    def pending(self) -> bool:
        """Return whether a change is being confirmed, so that looking again sooner would help."""
        return bool(self._votes) and not agree(self._votes[-1].state, self._said)

    def observe(self, observation: Observation) -> StateChange | None:
        """Return the change that `observation` completes, if it does."""
        self._follow_time(observation.captured_at_s)
        if observation.condition != self._condition:
            self._condition = observation.condition
            self._thresholds = self._settings.thresholds(self._drifts, self._condition)
        if self._waits_for_light(observation):
            self._standing = replace(self._standing, waited=True)
            return None
        self._follow_novelty(observation)
        self._weigh(observation)
        self._stay.observe(observation)
        vote = self._vote(observation)
        self._votes.append(vote)
        self._standing = self._stand(observation)
        change = self._decided(vote, observation)
        self._learn(vote, observation, changed=change is not None)
        return change

    def resume(self, state: State) -> None:
        """Say `state` without a change; a state that the gallery does not have is ignored."""
        if state.reason is UnknownReason.STARTING:
            return  # nothing was said yet
        if state.name == UNKNOWN or state.name in self._settings.levels:
            self._say(state)
            self._forget_votes()

    def snapshot(self) -> Memory:
        """Return what was learned, for `restore` after a restart."""
        said = self._said
        reason = said.reason.value if said is not None and said.reason is not None else None
        return Memory(None if said is None else said.name, reason, dict(self._drifts))

    def restore(self, memory: Memory) -> None:
        """Take over what an earlier decider of this watch learned; unknown states are ignored."""
        known = self._settings.levels
        self._drifts = {key: drift for key, drift in memory.drifts.items() if key[0] in known}
        self._thresholds = self._settings.thresholds(self._drifts, self._condition)
        if memory.state is not None:
            reason = None if memory.reason is None else UnknownReason(memory.reason)
            self.resume(State(memory.state, reason))

    def _waits_for_light(self, observation: Observation) -> bool:
        if observation.impediment is not UnknownReason.LIGHTING:
            self._lighting_count = 0
            return False
        self._lighting_count += 1
        return self._lighting_count <= (self._votes.maxlen or 0)

    def _vote(self, observation: Observation) -> Vote:
        match = observation.match
        if observation.impediment is not None and not self._is_overruled(observation):
            return Vote(State(UNKNOWN, observation.impediment), 0.0)
        if match is None:
            return Vote(State(UNKNOWN, UnknownReason.NO_REFERENCES), 0.0)
        best = match.best
        level = self._thresholds[best.state]
        stays = self._stays(match)
        # Asked this way round, so that a score that is no number is unlike, not familiar.
        if not best.score.combined >= (level.leave if stays else level.enter):
            return Vote(State(UNKNOWN, UnknownReason.NOVEL), 0.0)
        # What the scorer clearly takes for another state has changed: let it show first.
        moves = self._last_state not in (None, best.state) and best.probability >= _SURE
        if self._novelty.is_novel(strictness(self._settings.sensitivity), at_once=moves):
            return Vote(State(UNKNOWN, UnknownReason.NOVEL), 0.0, is_partial=True)
        if not match.margin >= self._settings.margin_needed(stays=stays):
            return Vote(State(UNKNOWN, UnknownReason.AMBIGUOUS), 0.0)
        if best.state != self._last_state and self._untaught(match, observation):
            return Vote(State(UNKNOWN, UnknownReason.UNTAUGHT_LIGHT), 0.0)
        return Vote(State(best.state), best.probability)

    def _follow_novelty(self, observation: Observation) -> None:
        match = observation.match
        if match is None or observation.impediment not in {None, *_OVERRULED}:
            self._novelty.forget()
            return
        novel = self._settings.levels[match.best.state].novel
        if novel is None or match.best.score.novelty is None:
            self._novelty.forget()
        else:
            self._novelty.follow(novel.excess(match.best.score.novelty))

    def recall_novelty(self, excesses: Sequence[float]) -> None:
        """Continue after observations with these excesses."""
        self._novelty.resume(excesses)

    def _untaught(self, match: Match, observation: Observation) -> tuple[str, ...]:
        """Return the states for want of whose references in this light the match proves nothing.

        None where the picture is as like the best state as its references are. A light in which
        only one of two states was taught speaks for that one, whatever the picture shows; so does
        one in which the other was only taught much brighter or darker, unless the picture is
        clearly more familiar as well.
        """
        levels, best, rival = self._settings.levels, match.best, match.runner_up
        if best.score.combined >= levels[best.state].centre:
            return ()
        light, luma, own = observation.condition, observation.quality.luma, levels[best.state]
        missing = () if is_taught(own.lights, light, luma) else (best.state,)
        if rival is None or not share_light(own.lights, levels[rival.state].lights):
            return missing  # the light itself tells them apart: day and night, a lamp on and off
        others = levels[rival.state].lights
        lead = best.score.combined - rival.score.combined
        is_weak = lead < _CLEAR_LEAD and not is_level_taught(others, light, luma)
        if is_weak or not is_taught(others, light, luma):
            return (*missing, rival.state)
        return missing

    def _lacking(self, vote: Vote, observation: Observation) -> tuple[str, ...]:
        """Return the states without a reference in this light that a vote for unknown is due to."""
        match = observation.match
        if match is None or vote.state.reason not in _WITHOUT_TEACHING:
            return ()
        light, luma = observation.condition, observation.quality.luma
        levels = self._settings.levels
        found = [name for name in levels if not is_taught(levels[name].lights, light, luma)]
        if vote.state.reason is not UnknownReason.UNTAUGHT_LIGHT:
            return tuple(found) if match.best.state in found else ()
        return tuple(found) or self._untaught(match, observation)

    def _is_overruled(self, observation: Observation) -> bool:
        """Return whether the impediment is none: the picture is as familiar as they come.

        Where no fixed background is in the region everything in it may change at once, and what
        is too bright or not sharp may still show its state as clearly as the references do.
        """
        match = observation.match
        if observation.impediment not in _OVERRULED or match is None:
            return False
        state = match.best.state
        usual = (self._thresholds[state].leave + self._settings.levels[state].centre) / 2.0
        return match.best.score.combined >= usual

    def _decided(self, vote: Vote, observation: Observation) -> StateChange | None:
        if agree(vote.state, self._said):
            return None
        agreeing = [item for item in self._votes if agree(item.state, vote.state)]
        doubts = self._standing.doubts
        needed = votes_needed(self._settings, self._standing)
        after = vote.state
        if len(agreeing) < needed or not self._is_believed(after.name):
            return None
        confidence = sum(item.probability for item in agreeing) / len(agreeing)
        lacking = self._lacking(vote, observation)
        change = StateChange(
            self._said, after, observation, self._thresholds, confidence, doubts, lacking
        )
        self._say(after, observation.captured_at_s)
        self._lessons.clear()
        return change

    def _say(self, state: State, at_s: float | None = None) -> None:
        self._said = state
        self._stay.say(state, at_s)
        if state.name != UNKNOWN:
            self._last_state = state.name
            self._evidence.forget()

    def _weigh(self, observation: Observation) -> None:
        if self._last_state is None or observation.match is None:
            return
        if observation.impediment is not None and not self._is_overruled(observation):
            return
        self._evidence.weigh(observation.match, self._last_state)

    def _is_believed(self, state: str) -> bool:
        if state == UNKNOWN or self._last_state in (None, state):
            return True
        return self._evidence.sums.get(state, 0.0) >= self._standing.evidence_needed

    def _learn(self, vote: Vote, observation: Observation, *, changed: bool) -> None:
        if changed or self.pending:
            self._lessons.clear()
            return
        match = observation.match
        if match is None or vote.state.name == UNKNOWN or vote.probability < _SURE:
            return
        self._lessons.append((vote.state.name, observation.condition, match.best.score.combined))
        if len(self._lessons) <= (self._votes.maxlen or 0):
            return
        state, condition, combined = self._lessons.popleft()
        key = (state, condition)
        residual = combined - self._settings.levels[state].centre
        self._drifts[key] = self._drifts.get(key, Drift()).after(residual)
        self._thresholds = self._settings.thresholds(self._drifts, self._condition)

    def _follow_time(self, now_s: float) -> None:
        if self._last_s is not None:
            step_s = now_s - self._last_s
            usual_s = self._interval_s
            if step_s < 0.0 or (usual_s is not None and step_s > _PAUSE_INTERVALS * usual_s > 0.0):
                self._forget_votes()
            elif step_s > 0.0:
                self._interval_s = step_s if usual_s is None else usual_s + 0.1 * (step_s - usual_s)
        self._last_s = now_s

    def _forget_votes(self) -> None:
        self._votes.clear()
        self._lessons.clear()
        self._novelty.forget()
        self._evidence.forget()
        self._stay.lose_view()

    def _stand(self, observation: Observation) -> DecisionState:
        match = observation.match
        wanted, rules = self._votes[-1].state.name, self._settings.rules
        doubts = self._stay.doubts_about(wanted, observation.captured_at_s, rules)
        return DecisionState(
            votes=tuple(self._votes),
            evidence=self._evidence.sums,
            evidence_needed=self._evidence.needed * (_AGAINST_RULES if doubts else 1.0),
            margin_needed=0.0
            if match is None
            else self._settings.margin_needed(stays=self._stays(match)),
            doubts=doubts,
            at_border=wanted not in (UNKNOWN, self._last_state)
            and any(vote.state.reason is UnknownReason.UNTAUGHT_LIGHT for vote in self._votes),
            novelty=self._novelty.excesses,
        )

    def _stays(self, match: Match) -> bool:
        return self._said is not None and match.best.state == self._said.name
