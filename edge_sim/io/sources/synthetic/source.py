"""The drawn scenes: their names, states and how long they take to change.

Which state a scene is in at each frame: a seeded row of stays and short transitions.

Reads `bowl?seed=3&frames=600&nuisances=noise,shadow`.

Plays a synthetic clip, and gives its true states.

Pictures to enrol for a synthetic scene: like the played ones, never the same.
"""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import BgrImage, Frame, Roi
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.capture import upright
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.synthetic.bowl import draw_bowl
from edge_sim.io.sources.synthetic.drawing import Pose, to_u8
from edge_sim.io.sources.synthetic.gate import draw_gate
from edge_sim.io.sources.synthetic.lamp import draw_lamp
from edge_sim.io.sources.synthetic.nuisances import (
    NUISANCES,
    Effect,
    compose,
    infrared,
    view_lost_at,
)
from edge_sim.io.sources.synthetic.parking import draw_parking
from edge_sim.io.sources.uri import number, split_settings

TRANSITION = "transition"
"""Truth of a frame in which the scene is moving from one state to the other."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One drawn scene.

    Args:
        states: States at level 0 and at level 1.
        roi: Region of interest.
        transition_s: Duration of a change, seconds.
        draw: Function that returns a fresh (480, 640, 3) picture of a pose.
    """

    states: tuple[str, str]
    roi: Roi
    transition_s: float
    draw: Callable[[Pose], BgrImage]


SCENES: Mapping[str, Scene] = {
    "bowl": Scene(("empty", "food"), Roi(0.24, 0.32, 0.80, 0.90), 3.0, draw_bowl),
    "gate": Scene(("closed", "open"), Roi(0.20, 0.30, 0.80, 0.82), 2.4, draw_gate),
    "lamp": Scene(("off", "on"), Roi(0.52, 0.20, 0.82, 0.60), 0.4, draw_lamp),
    "parking": Scene(("free", "taken"), Roi(0.34, 0.16, 0.67, 0.82), 2.0, draw_parking),
}


def render(scene: str, state: str, variant: int = 0) -> BgrImage:
    """Return a fresh, clean (480, 640, 3) picture of a scene in a state.

    Raises:
        KeyError: There is no such scene.
        ValueError: The scene has no such state.
    """
    drawn = SCENES[scene]
    return drawn.draw(Pose(level=float(drawn.states.index(state)), variant=variant))


VARIANTS = 1000
"""Played frames use variants below this, references those from it on."""


@dataclass(frozen=True, slots=True)
class ScheduledPose:
    """True state of one frame, or `transition`, and the pose to draw."""

    state: str
    pose: Pose


def schedule(
    scene: Scene, *, seed: int, frames: int, fps: float, dwell_s: float
) -> tuple[ScheduledPose, ...]:
    """Return one moment per frame.

    A stay lasts 0.6 to 1.4 times `dwell_s`, at random. No change begins so late that less than
    the shortest stay would follow it: every change of the truth can be confirmed.
    """
    rng = np.random.default_rng([seed, 1])
    moves = max(2, round(scene.transition_s * fps))
    shortest = max(1, round(0.6 * dwell_s * fps))
    longest = max(shortest, round(1.4 * dwell_s * fps))
    level = int(rng.integers(0, 2))
    variant = int(rng.integers(0, VARIANTS))
    moments: list[ScheduledPose] = []
    while True:
        rest = ScheduledPose(scene.states[level], Pose(float(level), variant))
        stay = int(rng.integers(shortest, longest + 1))
        if len(moments) + stay + moves + shortest > frames:
            return tuple(moments + [rest] * (frames - len(moments)))
        level = 1 - level
        # What arrives is what then stays; what leaves is what stood there.
        arriving = int(rng.integers(0, VARIANTS))
        shown = arriving if level == 1 else variant
        moments += [rest] * stay + _passage(shown, moves, rising=level == 1)
        variant = arriving


def _passage(variant: int, moves: int, *, rising: bool) -> list[ScheduledPose]:
    moments = []
    for step in range(moves):
        passage = (step + 1) / (moves + 1)
        done = min(max((passage - 0.2) / 0.6, 0.0), 1.0)
        smooth = done * done * (3.0 - 2.0 * done)
        level = smooth if rising else 1.0 - smooth
        moments.append(ScheduledPose(TRANSITION, Pose(level, variant, passage, rising)))
    return moments


MAX_FRAMES = 10_000_000
_KEYS = ("dwell_s", "fps", "frames", "live", "nuisances", "seed")
_SWITCH = {"0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
_LATE_S = 1.0
"""Delay beyond which a scene in real time goes on from now instead of hurrying."""


@dataclass(frozen=True, slots=True)
class SyntheticSpec:
    """A synthetic clip.

    Args:
        scene: A key of `SCENES`.
        seed: Seed of the schedule and the nuisances, 0 or more.
        frames: Length of the clip.
        fps: Frames per second of scene time.
        dwell_s: Mean stay in a state, seconds.
        nuisances: Keys of `NUISANCES`.
        live: Whether it plays in real time and for ever; None leaves that to who opens it.
    """

    scene: str
    seed: int = 0
    frames: int = 600
    fps: float = 5.0
    dwell_s: float = 20.0
    nuisances: tuple[str, ...] = ()
    live: bool | None = None


def read_spec(uri: str) -> SyntheticSpec:
    """Return the clip that a uri names, with or without `synthetic:` in front.

    Raises:
        ConfigError: An unknown scene, setting or nuisance, or a value out of range.
    """
    scene, settings = split_settings(uri.removeprefix("synthetic:"))
    what = f"synthetic:{scene}"
    _known(scene, SCENES, what=what, kind="scene")
    for key in settings:
        _known(key, _KEYS, what=what, kind="setting")
    nuisances = tuple(name for name in settings.get("nuisances", "").split(",") if name)
    for name in nuisances:
        _known(name, NUISANCES, what=what, kind="nuisance")
    frames = _whole(settings, "frames", 600, what=what)
    if frames == 0:
        raise ConfigError(f"{what}: frames must be 1 or more, got 0")
    return SyntheticSpec(
        scene=scene,
        seed=_whole(settings, "seed", 0, what=what),
        frames=frames,
        fps=number(settings, "fps", 5.0, what=what),
        dwell_s=number(settings, "dwell_s", 20.0, what=what),
        nuisances=nuisances,
        live=_switch(settings, "live", what=what),
    )


def _switch(settings: Mapping[str, str], key: str, *, what: str) -> bool | None:
    text = settings.get(key)
    if text is not None and text.lower() not in _SWITCH:
        raise ConfigError(f"{what}: {key} must be 1 or 0, got {text!r}")
    return None if text is None else _SWITCH[text.lower()]


def _known(name: str, names: Iterable[str], *, what: str, kind: str) -> None:
    known = list(names)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"{what}: no {kind} named {name!r}; {hint}there are {', '.join(sorted(known))}"
        )


def _whole(settings: Mapping[str, str], key: str, default: int, *, what: str) -> int:
    text = settings.get(key, str(default))
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_FRAMES):
        raise ConfigError(f"{what}: {key} must be a whole number up to {MAX_FRAMES}, got {text!r}")
    return int(text)


EPOCH_S = 1_767_268_800.0
"""Clock time of the first frame of every clip: 2026-01-01 12:00 UTC."""


class SyntheticSource:
    """A drawn scene with nuisances; ends after `spec.frames` frames.

    Args:
        spec: The clip.
        name: Name of the source.
        rotate: Degrees clockwise: 0, 90, 180 or 270.
    """

    def __init__(self, spec: SyntheticSpec, name: str, *, rotate: int = 0) -> None:
        self._spec = spec
        self._name = name
        self._rotate = rotate
        self._scene = SCENES[spec.scene]
        self._moments = _moments(spec)
        self._effect = _effect(spec)
        self._index = 0
        self._drawn: tuple[Pose, BgrImage] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """Safe to log."""
        return self._name

    def read(self) -> Frame | None:
        """Return the next frame; None after the last one.

        Raises:
            SourceError: The source was closed.
        """
        if self._closed:
            raise SourceError(f"{self._name}: read after close")
        if self._index >= self._spec.frames:
            return None
        index = self._index
        self._index += 1
        picture = self._effect(self._clean(self._moments[index].pose), index)
        at_s = index / self._spec.fps
        return Frame(upright(picture, self._rotate), at_s, EPOCH_S + at_s, index, self._name)

    def close(self) -> None:
        """Stop playing. Safe to call twice."""
        self._closed = True
        self._drawn = None

    def _clean(self, pose: Pose) -> BgrImage:
        # A scene at rest is drawn once, not in every frame.
        if self._drawn is None or self._drawn[0] != pose:
            self._drawn = (pose, self._scene.draw(pose))
        return self._drawn[1].copy()


class LiveSyntheticSource:
    """A drawn scene as a camera gives it: in real time, and for ever.

    Clip follows clip, each with the next seed. Times are those of the clocks.

    Args:
        spec: The first clip.
        name: Name of the source.
        rotate: Degrees clockwise: 0, 90, 180 or 270.
        clock: Monotonic seconds.
        now: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        spec: SyntheticSpec,
        name: str,
        *,
        rotate: int = 0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spec = spec
        self._name = name
        self._rotate = rotate
        self._clock = clock
        self._now = now
        self._clip = SyntheticSource(spec, name, rotate=rotate)
        self._index = 0
        self._due_s: float | None = None
        self._closed = threading.Event()

    @property
    def name(self) -> str:
        """Safe to log."""
        return self._name

    def read(self) -> Frame | None:
        """Return the next frame when it is due; never None.

        Raises:
            SourceError: The source was closed.
        """
        before_s = self._clock()
        if self._due_s is None or before_s - self._due_s > _LATE_S:
            self._due_s = before_s
        if self._closed.wait(max(self._due_s - before_s, 0.0)):
            raise SourceError(f"{self._name}: read after close")
        self._due_s += 1.0 / self._spec.fps
        drawn = self._clip.read()
        if drawn is None:
            self._spec = replace(self._spec, seed=self._spec.seed + 1)
            self._clip = SyntheticSource(self._spec, self._name, rotate=self._rotate)
            drawn = self._clip.read()
        assert drawn is not None
        frame = Frame(drawn.pixels, self._clock(), self._now(), self._index, self._name)
        self._index += 1
        return frame

    def close(self) -> None:
        """Stop playing, also a read that waits. Safe to call twice."""
        self._closed.set()


def plays_live(place: str, *, real_time: bool) -> bool:
    """Return whether `bowl?...` plays in real time.

    Args:
        place: Scene and settings.
        real_time: Answer where the settings leave it open.

    Raises:
        ConfigError: As `open_synthetic`.
    """
    live = read_spec(place).live
    return real_time if live is None else live


def open_synthetic(place: str, options: SourceOptions) -> SyntheticSource | LiveSyntheticSource:
    """Return the source for `bowl?seed=3...`; `live=1` plays it in real time and for ever.

    Raises:
        ConfigError: An unknown scene, setting or nuisance, or a value out of range.
    """
    name = options.name or f"synthetic:{place}"
    spec = read_spec(place)
    is_live = options.real_time if spec.live is None else spec.live
    kind = LiveSyntheticSource if is_live else SyntheticSource
    return kind(spec, name, rotate=options.rotate)


def scene_truth(uri: str) -> tuple[str, ...]:
    """Return the true state of each frame of a clip; `transition` while the scene moves.

    Raises:
        ConfigError: As `open_source`.
    """
    return tuple(moment.state for moment in _moments(read_spec(uri)))


def scene_effect(uri: str) -> Effect:
    """Return what the nuisances of a clip do to its pictures: (pixels, frame index) -> pixels.

    Raises:
        ConfigError: As `open_source`.
    """
    return _effect(read_spec(uri))


def scene_lost_at(uri: str) -> int | None:
    """Return the frame of a clip from which on its camera is turned away; None if it never is.

    From there on the pictures do not show the scene's state.

    Raises:
        ConfigError: As `open_source`.
    """
    spec = read_spec(uri)
    return view_lost_at(spec.nuisances, seed=spec.seed, frames=spec.frames, fps=spec.fps)


def scene_seed(uri: str) -> int:
    """Return the seed of a clip.

    Raises:
        ConfigError: As `open_source`.
    """
    return read_spec(uri).seed


def scene_states(scene: str) -> tuple[str, ...]:
    """Return the states of a scene, given by name or by uri.

    Raises:
        ConfigError: There is no such scene.
    """
    return SCENES[read_spec(scene).scene].states


def scene_roi(scene: str) -> Roi:
    """Return the region of a scene that is worth watching, given by name or by uri.

    Raises:
        ConfigError: There is no such scene.
    """
    return SCENES[read_spec(scene).scene].roi


def _effect(spec: SyntheticSpec) -> Effect:
    return compose(spec.nuisances, seed=spec.seed, frames=spec.frames, fps=spec.fps)


def _moments(spec: SyntheticSpec) -> tuple[ScheduledPose, ...]:
    return schedule(
        SCENES[spec.scene],
        seed=spec.seed,
        frames=spec.frames,
        fps=spec.fps,
        dwell_s=spec.dwell_s,
    )


_SPACING_S = 600.0
# Steps that spread few values evenly whatever their number: the light of the references of a
# state must not happen to lean to one side, or light would distinguish states.
_GOLDEN = np.array((0.6180339887, 0.7548776662))


def reference_frames(scene: str, state: str, count: int, *, seed: int = 0) -> tuple[Frame, ...]:
    """Return `count` frames of a scene in a state, as a user would take them on different days.

    Each shows another variant (heap, car) in somewhat different light with a little noise. If
    the uri has the nuisance `ir`, every second frame is an infrared one, as enrolled at night.
    Times lie before those of the played clip, ten minutes apart.

    Args:
        scene: Name of the scene, or the uri of a clip.
        state: One of `scene_states(scene)`.
        count: Number of frames.
        seed: Other seeds give other frames.

    Raises:
        ConfigError: There is no such scene or state.
    """
    spec = read_spec(scene)
    states = SCENES[spec.scene].states
    if state not in states:
        raise ConfigError(
            f"synthetic:{spec.scene}: no state named {state!r}; there are {', '.join(states)}"
        )
    rng = np.random.default_rng([seed, states.index(state), 2])
    first_variant = VARIANTS + int(rng.integers(0, VARIANTS))
    light = rng.integers(0, 1 << 16, 2) / (1 << 16)
    frames = []
    for index in range(count):
        clean = render(spec.scene, state, first_variant + index)
        picture = _taken(clean, (light + index * _GOLDEN) % 1.0, rng)
        if "ir" in spec.nuisances and index % 2 == 1:
            picture = infrared(picture)
        at_s = (index - count) * _SPACING_S
        frames.append(Frame(picture, at_s, EPOCH_S + at_s, index, f"synthetic:{spec.scene}"))
    return tuple(frames)


def _taken(picture: BgrImage, light: NDArray[np.float64], rng: np.random.Generator) -> BgrImage:
    """Return the picture in light up to 12 % off, with noise of about 2 grey levels.

    `light` is the place of brightness and colour in their range, two numbers in 0 to 1.
    """
    gain = 0.88 + 0.24 * float(light[0])
    tilt = 0.12 * float(light[1]) - 0.06
    gains = np.array((gain * (1.0 - tilt), gain, gain * (1.0 + tilt)), np.float32)
    grain = rng.integers(-3, 4, picture.shape, dtype=np.int8)
    return to_u8(np.asarray(picture * gains + grain, np.float32))
