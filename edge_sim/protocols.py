"""The seams, on one page. Anything with these members fits; nothing has to inherit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import (
    BgrImage,
    Embedding,
    FloatVector,
    Frame,
    Match,
    Notice,
    Observation,
    Probe,
    SceneReading,
    State,
    StateChange,
    Threshold,
)
from edge_sim.events import Event
from edge_sim.ranking import Neighbours


class FrameSource(Protocol):
    """Where frames come from."""

    @property
    def name(self) -> str:
        """Safe to log: passwords are masked."""

    def read(self) -> Frame | None:
        """Return the next frame; None when the stream has ended.

        Raises:
            SourceError: The source is lost, or was closed. A later call may succeed.
        """

    def close(self) -> None:
        """Give the device back. Safe to call twice."""


class Embedder(Protocol):
    """Turns the pixels of a region into an embedding."""

    @property
    def model_id(self) -> str:
        """Name, start of the file's sha256 and preprocessing version."""

    @property
    def dimension(self) -> int:
        """Length of the global vector."""

    @property
    def input_px(self) -> int:
        """Side of the square that pictures are squashed to.

        A picture squashed to this before gives the same embedding.
        """

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of (H, W, 3) uint8 BGR pixels of any size from 1x1 up.

        Raises:
            ModelError: The model gives something that cannot be normalised.
        """


class Index(Protocol):
    """Finds rows by vector. Rows are numbered from 0 in the order they were put in."""

    @property
    def kind(self) -> str:
        """Name of the kind, as in `edge-sim index info`."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def search(
        self,
        vector: FloatVector,
        k: int,
        *,
        among: NDArray[np.bool_] | None = None,
        least: bool = False,
    ) -> Neighbours:
        """Return the best k rows, fewer if there are not as many.

        Args:
            vector: (D,) float32.
            k: At least 1.
            among: (N,) bool, the rows that may be found; an answer never holds another, and holds
                k of them if there are k.
            least: The least similar first, instead of the most similar.

        Raises:
            SearchError: A question that makes no sense.
        """


class Scorer(Protocol):
    """Compares probes with one gallery; made anew when the gallery changes."""

    def best_match(self, probe: Probe) -> Match | None:
        """Return the states of the gallery for `probe`, the most probable first.

        None if the gallery is empty.

        Raises:
            ModelError: The probe was made with another model than the references.
        """

    def leave_one_out(self) -> tuple[Match | None, ...]:
        """Return, per reference in gallery order, its match against all the others.

        None where the reference is the only one.
        """


class Decider(Protocol):
    """Turns observations into state changes. Time comes from the observations."""

    @property
    def state(self) -> State:
        """What is said now."""

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Levels in force now, per state."""

    @property
    def pending(self) -> bool:
        """Whether a change is being confirmed, so that looking again sooner would help."""

    def observe(self, observation: Observation) -> StateChange | None:
        """Return the change that `observation` completes, if it does."""

    def resume(self, state: State) -> None:
        """Say `state` without a change: after a restart, or when the gallery was replaced.

        A state that the gallery no longer has is ignored.
        """


class Monitor(Protocol):
    """Watches over light and camera, one for each watch."""

    def inspect(self, probe: Probe) -> SceneReading:
        """Return condition and impediment of this look; called once per look, in time order."""


class Follower(Protocol):
    """Watches over what a watch sees and says; it stays when the gallery changes."""

    def follow(
        self, look: Observation, said: State, change: StateChange | None
    ) -> Sequence[Notice]:
        """Return what there is to tell after a look; called once per look, in time order.

        Args:
            look: What was seen.
            said: What the watch says from now on.
            change: That the look completed; None if it did not.
        """


class EventSink(Protocol):
    """Where events go."""

    @property
    def name(self) -> str:
        """Safe to log."""

    def emit(self, event: Event) -> None:
        """Deliver one event.

        Raises:
            SinkError: It was not delivered; the caller goes on with the other sinks.
        """

    def close(self) -> None:
        """Flush and give resources back. Safe to call twice."""
