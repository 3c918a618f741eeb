"""Options of sources of every kind."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from edge_sim.core.backoff import BACKOFF_S, HELD_S
from edge_sim.core.options import INTERNAL, Count, Options, PositiveSeconds, Seconds
from edge_sim.errors import ConfigError

MAX_UNIX_S = 1e10
ROTATIONS = (0, 90, 180, 270)
DECODERS = ("opencv", "pyav")


class SourceOptions(Options, frozen=True, kw_only=True):
    """Requested settings and limits of one source.

    Args:
        name: Name in events and logs; without one the uri with passwords masked.
        width: Width requested from a camera, pixels; None leaves the choice to the camera.
        height: Height requested from a camera, pixels.
        fps: Frame rate requested from a camera; assumed for pictures and files that carry no times
            (default 1 for pictures, 25 for a file). A synthetic scene takes it from its uri.
        rotate: Degrees clockwise: 0, 90, 180 or 270.
        open_timeout_s: Longest time that opening a live source may take.
        read_timeout_s: Longest time that `read()` of a live source waits for a frame, or, of a
            network camera whose key frames are far apart, for data.
        reconnect_s: Pauses before each new attempt to open a lost live source, the last one
            repeated for ever.
        held_s: Seconds that frames must have come for these pauses to start anew.
        frozen_timeout_s: Seconds of the same picture, noise included, that count as a loss of a
            live source; None never does.
        warm_up_s: Seconds after each opening of a live source in which all-black frames are
            skipped: many cameras send some before their first picture. 0 keeps them.
        warm_up_frames: Frames skipped after each opening of a live source, while the camera's
            exposure settles.
        verify: Whether the certificate of an encrypted network camera must be trusted.
        ca_file: Certificates to trust instead of those of the system, PEM.
        poll_s: Seconds between two requests for the picture of a camera that gives single pictures
            at its address.
        decoder: Library that decodes a stream or video file: `opencv`, or `pyav`, which converts
            the regions of the watches only.
        key_frames_only: Whether only key frames are decoded, which `pyav` can; for watches that
            observe less often than the camera sends one.
        loop: Whether a file or folder starts again at its end; time and index go on.
        start_unix_s: Clock time of the first frame of a recording without clock times, seconds
            since 1970 UTC.
        real_time: Whether a synthetic scene plays in real time and for ever, unless its uri says.
        threaded: Whether a live source is read in a thread of its own, which opens it again after
            a loss; False reads its device in the caller's thread.

    Raises:
        ConfigError: A value outside its range.
    """

    width: Count | None = None
    height: Count | None = None
    fps: Annotated[float, msgspec.Meta(gt=0)] | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    open_timeout_s: PositiveSeconds = 10.0
    read_timeout_s: PositiveSeconds = 20.0
    frozen_timeout_s: PositiveSeconds | None = None
    warm_up_s: Seconds = 2.0
    decoder: Literal["opencv", "pyav"] = "opencv"
    key_frames_only: bool = False
    verify: bool = True
    ca_file: str | None = None
    name: Annotated[str, INTERNAL] = ""
    reconnect_s: Annotated[tuple[float, ...], INTERNAL] = BACKOFF_S
    held_s: Annotated[float, INTERNAL] = HELD_S
    warm_up_frames: Annotated[int, INTERNAL] = 0
    poll_s: Annotated[float, INTERNAL] = 1.0
    loop: Annotated[bool, INTERNAL] = False
    start_unix_s: Annotated[float, INTERNAL] = 0.0
    real_time: Annotated[bool, INTERNAL] = False
    threaded: Annotated[bool, INTERNAL] = True

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise ConfigError(f"decoder must be opencv or pyav, got {self.decoder!r}")
        if self.key_frames_only and self.decoder != "pyav":
            raise ConfigError("key_frames_only needs decoder: pyav; OpenCV decodes every frame")
        if self.rotate not in ROTATIONS:
            raise ConfigError(f"rotate must be one of 0, 90, 180, 270 degrees, got {self.rotate}")
        for key in (
            "width",
            "height",
            "fps",
            "open_timeout_s",
            "read_timeout_s",
            "frozen_timeout_s",
        ):
            value = getattr(self, key)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{key} must be above 0, got {value}")
        for key in ("warm_up_s", "poll_s"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{key} must be 0 or more, got {value}")
        if self.warm_up_frames < 0:
            raise ConfigError(f"warm_up_frames must be 0 or more, got {self.warm_up_frames}")
        if not abs(self.start_unix_s) < MAX_UNIX_S:  # also catches NaN
            raise ConfigError(
                f"start_unix_s must be seconds before the year 2286, got {self.start_unix_s}"
            )
        pauses = self.reconnect_s
        if not pauses or not all(math.isfinite(pause) and pause >= 0 for pause in pauses):
            raise ConfigError(f"reconnect_s needs one or more pauses of 0 s or more, got {pauses}")
