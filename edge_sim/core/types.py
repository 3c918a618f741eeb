"""Value types: pictures, probes, references, matches, thresholds, states and their changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.errors import PictureError


@dataclass(frozen=True, slots=True)
class Score:
    """Similarity of a probe and one reference.

    Args:
        cosine: Cosine of the global embeddings, -1 to 1.
        ssim: Structural similarity of the thumbnails, -1 to 1; None where it was not computed.
        combined: Score that thresholds are compared with, 0 to 1.
        novelty: Logarithm of the distance from all references of the state, whichever part of the
            picture differs; None where it was not computed: for all but the most probable state.
    """

    cosine: float
    ssim: float | None
    combined: float
    novelty: float | None = None


@dataclass(frozen=True, slots=True)
class StateScore:
    """Best reference of one state, and the probability of the state.

    Args:
        state: Name of the state.
        reference_id: Id of its reference most like the probe.
        score: Score of that reference.
        probability: Probability of the state, 0 to 1; those of a gallery sum to 1.
    """

    state: str
    reference_id: str
    score: Score
    probability: float


@dataclass(frozen=True, slots=True)
class Match:
    """States of the gallery for one probe, the most probable first.

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


UNKNOWN = "unknown"
"""Name of the state that every watch has besides its own."""

_RESERVED_NAMES = frozenset({UNKNOWN, "none"})


def is_reserved(name: str) -> bool:
    """Return whether a name is reserved, in any case of letters.

    A watch in doubt reports `unknown`; other programs write `none` for an absent value.
    """
    return name.casefold() in _RESERVED_NAMES


class UnknownReason(str, Enum):
    """Reason of the state `unknown`."""

    STARTING = "starting"
    """There are fewer observations than a decision needs."""
    NO_REFERENCES = "no_references"
    """The gallery of the watch is empty."""
    DARK = "dark"
    OVEREXPOSED = "overexposed"
    BLURRED = "blurred"
    NO_SIGNAL = "no_signal"
    """The picture is a slate of one saturated colour, as recorders show without a camera."""
    COVERED = "covered"
    """The picture is nearly flat: something is in front of the lens."""
    CAMERA_MOVED = "camera_moved"
    LIGHTING = "lighting"
    """The light is changing; the decision waits until it settles."""
    NOVEL = "novel"
    """Unlike every reference."""
    AMBIGUOUS = "ambiguous"
    """Two states fit about equally well."""
    UNTAUGHT_LIGHT = "untaught_light"
    """Like a state that has no reference in this light, and not the one seen before."""
    FROZEN = "frozen"
    """The source repeats the same picture, noise included."""
    STALE = "stale"
    """No frame arrived for too long."""


BgrImage = NDArray[np.uint8]
"""(H, W, 3) uint8, OpenCV channel order."""
GrayImage = NDArray[np.uint8]
"""(H, W) uint8."""
FloatVector = NDArray[np.float32]
"""(D,) float32."""
FloatMatrix = NDArray[np.float32]
"""(N, D) float32, C-contiguous."""
FloatPlane = NDArray[np.float32]
"""(H, W) float32."""
FloatCells = NDArray[np.float32]
"""(G, G, C) float32: one descriptor per cell of a G x G grid over the region."""

THUMBNAIL_PX = 96
"""Side of the grey thumbnail that structural similarity is computed on."""


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest in fractions of the frame: `0 <= x1 < x2 <= 1`, same for y.

    Raises:
        ValueError: The numbers are not finite, not in order or outside the frame.
    """

    x1: float = 0.0
    y1: float = 0.0
    x2: float = 1.0
    y2: float = 1.0

    def __post_init__(self) -> None:
        corners = (self.x1, self.y1, self.x2, self.y2)
        if not (0.0 <= self.x1 < self.x2 <= 1.0 and 0.0 <= self.y1 < self.y2 <= 1.0):
            raise ValueError(
                f"roi must be [x1, y1, x2, y2] with 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1, "
                f"got {list(corners)}{pixels_hint(corners)}"
            )


def pixels_hint(corners: tuple[float, ...]) -> str:
    """Return a hint for corners that are pixels instead of fractions; empty for others."""
    if not any(1.0 < corner < float("inf") for corner in corners):
        return ""
    return (
        "; these look like pixels: divide x by the width of the frame and y by its height, "
        "as in 320 of 640 = 0.5"
    )


FULL_FRAME = Roi()


def check_picture(pixels: object) -> None:
    """Check that `pixels` are a picture: a numpy array, (H, W, 3) uint8, not empty.

    The order of the colours cannot be checked: it must be BGR, as in OpenCV.

    Raises:
        PictureError: They are not; the message names the conversion.
    """
    if not isinstance(pixels, np.ndarray):
        found, fix = _not_an_array(pixels)
    elif pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        found, fix = f"{pixels.dtype} {pixels.shape}", _conversion_of(pixels)
    elif not pixels.size:
        found, fix = f"an empty picture {pixels.shape}", "the camera gave nothing"
    else:
        return
    raise PictureError(f"pixels must be uint8 (H, W, 3) in the order BGR, got {found}: {fix}")


def _not_an_array(value: object) -> tuple[str, str]:
    """Return the kind of a value that is no array, and the fix."""
    if isinstance(value, str | PathLike):
        return f"the path {str(value)[:80]!r}", "read the file with edge_sim.read_picture"
    if value is None:
        return "None", "the camera gave no picture"
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes", "decode them with cv2.imdecode(numpy.frombuffer(data, 'u1'), 1)"
    if isinstance(value, Frame):
        return "a Frame", "pass its pixels"
    if isinstance(value, tuple):
        return "a tuple", "pass the picture alone; OpenCV's read() gives (ok, picture)"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return kind, "make it an array with numpy.asarray, and RGB to BGR with array[:, :, ::-1]"


def _conversion_of(pixels: NDArray[Any]) -> str:
    """Return the conversion to a picture for an array of another type or shape."""
    if pixels.ndim == 2:
        return "make grey to BGR with cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)"
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return "drop the fourth channel with pixels[:, :, :3]"
    if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
        return "put the channels last with pixels.transpose(1, 2, 0)"
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        if np.issubdtype(pixels.dtype, np.floating):
            return "make 0..1 to bytes with (pixels * 255).round().astype(numpy.uint8)"
        if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
            return (
                "make 16 bits to 8 with (pixels >> 8).astype(numpy.uint8), "
                "10 bits with pixels >> 2, 12 bits with pixels >> 4"
            )
        return "scale it to 0..255 and use pixels.astype(numpy.uint8)"
    return "pass one colour picture"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture with its time.

    Args:
        pixels: (H, W, 3) uint8 BGR. A source hands over a fresh buffer and keeps none.
        captured_at_s: Monotonic seconds; only differences mean anything.
        unix_time_s: Seconds since 1970 UTC at capture; for people and logs, never for durations.
        index: 0-based; a gap means dropped frames.
        source: Name of the source, safe to log.
    """

    pixels: BgrImage
    captured_at_s: float
    unix_time_s: float
    index: int
    source: str

    def __post_init__(self) -> None:
        check_picture(self.pixels)

    def numbered(self, index: int) -> Frame:
        """Return the frame with another number."""
        return replace(self, index=index)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Output of the model for one region.

    Args:
        vector: (D,) float32 of unit length, for the whole region.
        spatial: (G, G, C) float32, not normalised, one descriptor per cell; None if the model has
            none.
        model_id: Identity of the model; embeddings of different ids are never compared.

    Raises:
        ValueError: A wrong shape or dtype, NaN or infinity, or a vector that is not unit length.
    """

    vector: FloatVector
    spatial: FloatCells | None
    model_id: str

    def __post_init__(self) -> None:
        vector = self.vector
        if vector.ndim != 1 or vector.dtype != np.float32:
            raise ValueError(f"vector must be float32 (D,), got {vector.dtype} {vector.shape}")
        norm_squared = float(vector @ vector)
        if not abs(norm_squared - 1.0) < 1e-3:  # also catches NaN
            raise ValueError(f"vector must have unit length, got {norm_squared**0.5:.4f}")
        if self.spatial is not None:
            cells = self.spatial
            if cells.ndim != 3 or cells.dtype != np.float32:
                raise ValueError(
                    f"spatial must be float32 (G, G, C), got {cells.dtype} {cells.shape}"
                )
            flat = cells.ravel()
            # Squares cannot cancel each other; one product is far quicker than a test per number.
            if not math.isfinite(flat @ flat) and not np.isfinite(flat).all():
                raise ValueError("spatial must be finite, got NaN or infinity")


@dataclass(frozen=True, slots=True)
class Quality:
    """Exposure, contrast, sharpness and colour of one region.

    Args:
        luma: Mean grey level, 0 to 255.
        contrast: Standard deviation of the grey level, 0 to 127.5.
        sharpness: Variance of the Laplacian of the thumbnail, grey levels squared.
        chroma: Mean of |Cb - 128| + |Cr - 128|, 0 to 255; below about 3 the picture is grey.
        clipped_dark: Fraction of pixels at grey level 8 or below, 0 to 1.
        clipped_bright: Fraction of pixels at grey level 247 or above, 0 to 1.
    """

    luma: float
    contrast: float
    sharpness: float
    chroma: float
    clipped_dark: float
    clipped_bright: float

    def rounded(self) -> Quality:
        """Return it with two decimals for levels and four for fractions, as events carry it."""
        return Quality(
            luma=round(self.luma, 2),
            contrast=round(self.contrast, 2),
            sharpness=round(self.sharpness, 2),
            chroma=round(self.chroma, 2),
            clipped_dark=round(self.clipped_dark, 4),
            clipped_bright=round(self.clipped_bright, 4),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Features of one region of one frame.

    Args:
        embedding: Embedding of the region.
        thumbnail: (96, 96) uint8 grey, squashed from the region.
        edges: (24, 24) float32, `images.edges_of` the thumbnail.
        quality: Quality of the region.
        captured_at_s: Time of the frame, monotonic seconds.
        unix_time_s: Time of the frame, seconds since 1970 UTC.
        frame_index: Index of the frame.
        repeated: True if the picture equals the one before it, noise included; None where it must
            be found by comparing thumbnails.
        is_slate: True if the picture is a slate of one saturated colour, `images.is_slate`.
    """

    embedding: Embedding
    thumbnail: GrayImage
    edges: FloatPlane
    quality: Quality
    captured_at_s: float
    unix_time_s: float
    frame_index: int
    repeated: bool | None = None
    is_slate: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Enrolled picture of a state.

    Args:
        reference_id: Id, unique in the gallery file.
        state: Name of the state; never `unknown`.
        embedding: Embedding of the picture.
        thumbnail: (96, 96) uint8 grey.
        condition: Light regime at enrolment: `day`, `dusk`, `ir`, `dark`.
        enrolled_at: Time of enrolment, with a time zone.
        metadata: Free `key: value` strings.
    """

    reference_id: str
    state: str
    embedding: Embedding
    thumbnail: GrayImage
    condition: str
    enrolled_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state == UNKNOWN:
            raise ValueError(f"a reference cannot have the state {UNKNOWN!r}")
        if self.enrolled_at.tzinfo is None:
            raise ValueError("enrolled_at must carry a time zone")


@dataclass(frozen=True, slots=True)
class SceneReading:
    """Verdict of the scene monitor on one observation.

    Args:
        condition: Light regime: `day`, `dusk`, `ir` or `dark`.
        impediment: Reason that prevents a decision; None without one.
    """

    condition: str
    impediment: UnknownReason | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Complete input of a decision, from one frame.

    Args:
        captured_at_s: Time of the frame, monotonic seconds.
        unix_time_s: Time of the frame, seconds since 1970 UTC.
        frame_index: Index of the frame.
        match: Match of the probe; None if the gallery is empty.
        condition: Light regime of the frame.
        impediment: Reason that prevents a decision; None without one.
        quality: Quality of the region.
    """

    captured_at_s: float
    unix_time_s: float
    frame_index: int
    match: Match | None
    condition: str
    impediment: UnknownReason | None
    quality: Quality


@dataclass(frozen=True, slots=True)
class State:
    """State of a watch: a name, or `unknown` with the reason.

    Raises:
        ValueError: `unknown` without a reason, or a reason with another state.
    """

    name: str
    reason: UnknownReason | None = None

    def __post_init__(self) -> None:
        if (self.name == UNKNOWN) != (self.reason is not None):
            raise ValueError(f"exactly `unknown` carries a reason, got {self.name}, {self.reason}")


class Doubt(str, Enum):
    """Rule of the watch that makes a change implausible."""

    NOT_ALLOWED = "not_allowed"
    """The configured transitions do not lead from the state before to this one."""
    TOO_SHORT = "too_short"
    """The state before lasted less than its least duration."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """Decision: the state of a watch before and after, and the observation that decided.

    Args:
        before: State until now; None at the first decision.
        after: State from now on.
        cause: Observation that completed the change.
        thresholds: State -> levels in force at that moment.
        confidence: Confidence in `after`, 0 to 1; 0 for `unknown`.
        doubts: Rules of the watch that the change breaks; it needed stronger evidence.
        untaught: States without a reference in the light of the observation, for which the picture
            is unknown; empty where that is not the reason.
        regions: Parts of a novel picture that no reference of the most probable state shows, the
            strongest first: x, y, width and height in fractions of the frame.
    """

    before: State | None
    after: State
    cause: Observation
    thresholds: Mapping[str, Threshold]
    confidence: float
    doubts: tuple[Doubt, ...] = ()
    untaught: tuple[str, ...] = ()
    regions: tuple[tuple[float, float, float, float], ...] = ()
