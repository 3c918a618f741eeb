"""Counting a run: frames, events, and how long each watch said what."""

from __future__ import annotations

from collections import Counter, defaultdict

from edge_sim.domain import UNKNOWN, State
from edge_sim.events import StateChanged
from edge_sim.loop import Step


class Tally:
    """Adds up the steps of a run."""

    def __init__(self) -> None:
        self.frames = 0
        self.events = 0
        self.changes: Counter[str] = Counter()
        self.looks: defaultdict[str, Counter[State]] = defaultdict(Counter)

    def add(self, step: Step) -> None:
        """Count one step; a step without a frame counts its events only."""
        self.frames += step.frame is not None
        self.events += len(step.events)
        for event in step.events:
            if isinstance(event, StateChanged):
                self.changes[event.watch] += 1
        for outcome in step.outcomes:
            self.looks[outcome.watch][outcome.state] += 1

    def shares(self, watch: str) -> dict[str, float]:
        """Return the share of looks in each state, `unknown` with its reason, 0 to 1 each."""
        counts = self.looks[watch]
        total = sum(counts.values())
        return {_label(state): count / total for state, count in counts.most_common()}

    def text(self) -> str:
        """Return one line per watch for people."""
        lines = [f"{self.frames} frames, {self.events} events"]
        for watch in self.looks:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in self.shares(watch).items())
            lines.append(f"  {watch}: {self.changes[watch]} changes; {shares}")
        return "\n".join(lines)


def _label(state: State) -> str:
    return f"{UNKNOWN} ({state.reason.value})" if state.reason else state.name
