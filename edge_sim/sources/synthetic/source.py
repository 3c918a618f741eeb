"""Plays a synthetic clip, and tells its truth."""

from __future__ import annotations

from edge_sim.domain import BgrImage, Frame, Roi
from edge_sim.errors import SourceError
from edge_sim.sources.capture import upright
from edge_sim.sources.options import SourceOptions
from edge_sim.sources.synthetic.nuisances import compose, view_lost_at
from edge_sim.sources.synthetic.nuisances.plan import Effect
from edge_sim.sources.synthetic.pose import Pose
from edge_sim.sources.synthetic.scenes import SCENES
from edge_sim.sources.synthetic.schedule import ScheduledPose, schedule
from edge_sim.sources.synthetic.spec import SyntheticSpec, read_spec

EPOCH_S = 1_767_268_800.0
"""Clock time of the first frame of every clip: 2026-01-01 12:00 UTC."""


class SyntheticSource:
    """A drawn scene with nuisances; ends after `spec.frames` frames.

    Args:
        spec: The clip.
        name: Of the source.
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


def open_synthetic(place: str, options: SourceOptions) -> SyntheticSource:
    """Return the source for `bowl?seed=3...`.

    Raises:
        ConfigError: An unknown scene, setting or nuisance, or a value out of range.
    """
    name = options.name or f"synthetic:{place}"
    return SyntheticSource(read_spec(place), name, rotate=options.rotate)


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
    """Return the frame of a clip from which on its camera looks elsewhere; None if it never does.

    From there on the pictures tell nothing of the scene's state.

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
