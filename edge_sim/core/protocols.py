"""Protocols: the interfaces between the parts. Any object with these members fits.

Pictures are (H, W, 3) uint8 arrays in OpenCV's BGR order, vectors float32, times seconds, regions
fractions of the frame. Unless a docstring says otherwise, an object is used from one thread at a
time: a live source is read in a thread of its own and may block there, everything else runs in the
thread that runs the loop; `close` may come from another thread than `read`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.events import Event, EventDraft
from edge_sim.core.ranking import Neighbours
from edge_sim.core.types import (
    BgrImage,
    Embedding,
    FloatVector,
    Frame,
    Match,
    Observation,
    Probe,
    SceneReading,
    State,
    StateChange,
    Threshold,
)


class FrameSource(Protocol):
    """Source of frames: a camera, stream or recording. `register_source` adds one of your own.

    Each frame carries a fresh (H, W, 3) uint8 BGR array that is not changed afterwards; `index`
    grows, `captured_at_s` never decreases, `source` is the name of the source.
    """

    @property
    def name(self) -> str:
        """Name for events and logs, without passwords."""

    def read(self) -> Frame | None:
        """Return the next frame; None when the stream has ended, and on every call after that.

        A live source may block, but not for ever: after its time-out it raises.

        Raises:
            SourceError: The source is lost, or was closed. A later call may succeed.
        """

    def close(self) -> None:
        """Release the device. Safe to call twice."""


class GrabbingSource(FrameSource, Protocol):
    """Live source that can take a frame without converting it; the methods are optional.

    With them, frames between two observations of the watches cost no conversion. They are called
    instead of `read`, from the same thread.
    """

    def grab(self) -> float | None:
        """Take the next frame, waiting for it, and return its `captured_at_s`; None at the end.

        Raises:
            SourceError: As `read`.
        """

    def retrieve(self) -> Frame:
        """Return the frame of the last `grab`; called at most once for each.

        Raises:
            SourceError: As `read`.
        """


class Embedder(Protocol):
    """Turns the pixels of a region into an embedding. One thread per embedder."""

    @property
    def model_id(self) -> str:
        """Identity of the model and its preprocessing; embeddings of two ids are not compared."""

    @property
    def dimension(self) -> int:
        """Length of the global vector."""

    @property
    def input_px(self) -> int:
        """Side of the square that pictures are squashed to, pixels.

        A picture already squashed to this size gives the same embedding.
        """

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of (H, W, 3) uint8 BGR pixels of any size from 1x1 up.

        Raises:
            PictureError: They are something else, such as a path.
            ModelError: The output of the model cannot be normalised.
        """


class DualEncoder(Protocol):
    """Embeds pictures and texts into one space, for search in words. One thread per encoder.

    A part that is not used need not be in memory: an index needs the pictures, a search the texts.
    """

    @property
    def model_id(self) -> str:
        """Identity of the model and its preprocessing; vectors of two ids are not compared."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""

    @property
    def input_px(self) -> int:
        """Side of the square that pictures are brought to, pixels; larger ones gain nothing."""

    def embed_picture(self, pixels: BgrImage) -> FloatVector:
        """Return the (D,) float32 unit vector of (H, W, 3) uint8 BGR pixels of any size.

        Raises:
            PictureError: They are something else, such as a path.
            ModelError: The model cannot be used, or its output cannot be normalised.
        """

    def embed_text(self, text: str) -> FloatVector:
        """Return the (D,) float32 unit vector of a text; what is too long is cut off.

        Raises:
            ModelError: The model cannot be used, or its output cannot be normalised.
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
            k: Number of rows, at least 1.
            among: (N,) bool, the rows that may be found; an answer never holds another, and holds
                k of them if there are k.
            least: The least similar first, instead of the most similar.

        Raises:
            SearchError: The query is not valid.
        """


class Scorer(Protocol):
    """Compares probes with one gallery; made anew when the gallery changes."""

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:
        """Return the states of the gallery for `probe`, the most probable first.

        Args:
            probe: Region of one frame.
            condition: Light regime as the monitor of the watch reports it; None for a picture
                without a past, which is judged by its own quality.

        Returns:
            None if the gallery is empty.

        Raises:
            ModelError: The probe was made with another model than the references.
        """

    def leave_one_out(self) -> tuple[Match | None, ...]:
        """Return, per reference in gallery order, its match against all the others.

        None where the reference is the only one, or was not matched.
        """


class Decider(Protocol):
    """Turns observations into state changes. Time comes from the observations."""

    @property
    def state(self) -> State:
        """Current state."""

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """State -> levels in force."""

    @property
    def pending(self) -> bool:
        """True while a change is being confirmed, so that an earlier observation would help."""

    def observe(self, observation: Observation) -> StateChange | None:
        """Return the change that `observation` completes; None if it completes none."""

    def resume(self, state: State) -> None:
        """Set `state` without a change: after a restart, or when the gallery was replaced.

        A state that the gallery no longer has is ignored.
        """


class Monitor(Protocol):
    """Monitor of light and camera, one for each watch."""

    def inspect(self, probe: Probe) -> SceneReading:
        """Return condition and impediment of one frame; called once per frame, in time order."""


class Follower(Protocol):
    """Follower of observations and states, one for each watch; kept when the gallery changes.

    `register_follower` makes one of your own available to the configuration.
    """

    def follow(
        self, observation: Observation, state: State, change: StateChange | None, /
    ) -> Sequence[EventDraft]:
        """Return the events of one observation; called once for each, in time order.

        Args:
            observation: Match, light and quality of the region; times in seconds.
            state: State of the watch from now on.
            change: Change that the observation completed; None if it did not.

        An exception from here ends the run: report what can go wrong as an event.
        """


class EventSink(Protocol):
    """Receiver of events. `register_sink` adds one of your own.

    In a program of your own and in `edge-sim run`, `emit` is called in the thread of the loop, so
    a slow sink delays the next frame; the daemon gives each sink a thread of its own, keeps the
    event on disk and delivers it again after an error.
    """

    @property
    def name(self) -> str:
        """Name for logs and the outbox: one line, without secrets, the same after a restart."""

    def emit(self, event: Event) -> None:
        """Deliver one event; return when the receiver has it.

        Raises:
            SinkError: It was not delivered, or the sink was closed; the caller goes on with the
                other sinks. `EventRejectedError` if it never will be.
        """

    def close(self) -> None:
        """Flush and release resources. Safe to call twice."""
