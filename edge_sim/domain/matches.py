"""How like the references a probe is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """How like one reference a probe is.

    Args:
        cosine: Of the global embeddings, -1 to 1.
        ssim: Structural similarity of the thumbnails, -1 to 1; None where it was not computed.
        combined: The documented fusion, 0 to 1; what thresholds are compared with.
    """

    cosine: float
    ssim: float | None
    combined: float


@dataclass(frozen=True, slots=True)
class StateScore:
    """The best reference of one state, and how probable the state is.

    Args:
        state: Name of the state.
        reference_id: Its reference most like the probe.
        score: Of that reference.
        probability: Of the state among those in the gallery, 0 to 1; they sum to 1.
    """

    state: str
    reference_id: str
    score: Score
    probability: float


@dataclass(frozen=True, slots=True)
class Match:
    """Every state of the gallery for one probe, the most probable first.

    Raises:
        ValueError: There is no state.
    """

    states: tuple[StateScore, ...]

    def __post_init__(self) -> None:
        if not self.states:
            raise ValueError("a match needs at least one state")

    @property
    def best(self) -> StateScore:
        """The most probable state."""
        return self.states[0]

    @property
    def runner_up(self) -> StateScore | None:
        """The second most probable state; None in a gallery of one state."""
        return self.states[1] if len(self.states) > 1 else None

    @property
    def margin(self) -> float:
        """Probability of the best state less that of the runner-up, 0 to 1; 1 if there is none."""
        if self.runner_up is None:
            return 1.0
        return self.best.probability - self.runner_up.probability


@dataclass(frozen=True, slots=True)
class Threshold:
    """Levels of `Score.combined` in force for one state: `0 <= leave <= enter <= 1`.

    A state is entered at or above `enter` and left below `leave`.
    """

    enter: float
    leave: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.leave <= self.enter <= 1.0:
            raise ValueError(
                f"a threshold needs 0 <= leave <= enter <= 1, "
                f"got enter {self.enter}, leave {self.leave}"
            )

    def rounded(self) -> Threshold:
        """Return it with four decimals, as events carry it."""
        return Threshold(round(self.enter, 4), round(self.leave, 4))
