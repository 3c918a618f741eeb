"""A camera that gives a frame once the last one was processed, and fails in every way it can."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from soaking.pictures import STATES, VARIANTS, Pixels, image_grid

MEAN_STAY = 300
"""Frames in a state."""
CALM = 400
"""Frames at the end without trouble or change: then the reported state can be checked."""
_PATIENCE_S = 0.5
_DAY_S = 86_400.0

_LENGTHS = {
    "dark": 60,
    "bright": 60,
    "covered": 60,
    "moved": 60,
    "dimmed": 200,
    "torn": 1,
    "garbage": 2,
    "resized": 1,
    "frozen": 130,
}
"""Trouble that shows in the picture, and how many frames it lasts."""
_CHANCES = {
    **dict.fromkeys(_LENGTHS, 1.0 / 20_000),
    "frozen": 1.0 / 25_000,
    "lost": 1.0 / 5_000,
    "broken": 1.0 / 20_000,
    "silent": 1.0 / 20_000,
    "clock_jump": 1.0 / 10_000,
    "time_back": 1.0 / 20_000,
}
"""Probability of every trouble to begin with a frame."""
KINDS = frozenset(_CHANCES)
"""Everything that can happen to a camera once it is open."""
_KINDS, _WEIGHTS = tuple(_CHANCES), tuple(_CHANCES.values())
_ANY = sum(_WEIGHTS)


class Camera:
    """The scene and its troubles; `open` gives what a daemon reads.

    Time is data: frames are a second apart, however fast they come.

    Args:
        name: Name of the source.
        seed: Seed of everything random.
        frames: Length in frames.
        wait: Function that waits for a number of seconds.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        frames: int,
        *,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.name = name
        self.troubles: Counter[str] = Counter()
        self.changes = 0
        self.state = STATES[0]
        self._wait = wait or threading.Event().wait
        self._seen = threading.Event()
        self._seen.set()
        self._lock = threading.Lock()
        self._rng = random.Random(seed)
        self._album = image_grid(seed)
        self._frames = frames
        self._index = 0
        self._trouble = ""
        self._until = 0
        self._last: Pixels = self._album["", self.state][0]
        self._day_s = self._back_s = 0.0

    def open(self) -> Session:
        """Return a connection to the camera.

        Raises:
            SourceError: It does not open, every third time.
        """
        if self._rng.random() < 0.3:
            self.troubles["open_failed"] += 1
            raise SourceError(f"{self.name}: did not open")
        return Session(self)

    def looked(self) -> None:
        """Note that the last frame was processed, or its loss noticed."""
        self._seen.set()

    def next_frame(self) -> Frame | None:
        """Return the next frame once the last was processed; None at the end.

        Raises:
            SourceError: One of the troubles.
        """
        # A frame may have been dropped instead of processed: never wait for long.
        self._seen.wait(_PATIENCE_S)
        with self._lock:
            self._seen.clear()
            if self._index >= self._frames:
                return None
            index = self._index
            self._index += 1
            if index < self._frames - CALM:
                self._live(index)
            else:
                self._trouble = ""
            return self._frame(index)

    def _live(self, index: int) -> None:
        """Let things happen: another state, or trouble."""
        rng = self._rng
        if index >= self._until:
            self._trouble = ""
        if rng.random() < 1.0 / MEAN_STAY:
            self.state = rng.choice([item for item in STATES if item != self.state])
            self.changes += 1
        if rng.random() >= _ANY:
            return
        kind = rng.choices(_KINDS, _WEIGHTS)[0]
        self.troubles[kind] += 1
        if kind in _LENGTHS:
            self._trouble, self._until = kind, index + _LENGTHS[kind]
        elif kind == "lost":
            raise SourceError(f"{self.name}: no frame for 20 s")
        elif kind == "broken":
            raise ValueError(f"{self.name}: a driver with a bug")
        elif kind == "silent":
            self._wait(_PATIENCE_S)
        elif kind == "time_back":
            self._back_s += 30.0
        else:
            self._day_s = rng.choice([-_DAY_S, 0.0, _DAY_S])

    def _frame(self, index: int) -> Frame:
        if self._trouble != "frozen":
            self._last = self._album[self._trouble, self.state][index % VARIANTS]
        at_s = index - self._back_s
        return Frame(self._last, at_s, 1.7e9 + index + self._day_s, index, self.name)


class Session:
    """A connection to a camera, a `FrameSource`; after `close` it gives nothing."""

    def __init__(self, camera: Camera) -> None:
        self.name = camera.name
        self._camera = camera
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next frame; as `Camera.next_frame`."""
        if self._closed:
            raise SourceError(f"{self.name}: closed")
        return self._camera.next_frame()

    def close(self) -> None:
        """End it; safe to call twice."""
        self._closed = True
