"""Reads `bowl?seed=3&frames=600&nuisances=noise,shadow`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_sim.errors import ConfigError
from edge_sim.sources.synthetic.nuisances import NUISANCES
from edge_sim.sources.synthetic.scenes import SCENES
from edge_sim.sources.uri import number, split_settings

MAX_FRAMES = 10_000_000
_KEYS = ("dwell_s", "fps", "frames", "nuisances", "seed")


@dataclass(frozen=True, slots=True)
class SyntheticSpec:
    """A synthetic clip.

    Args:
        scene: A key of `SCENES`.
        seed: Of the schedule and of the nuisances, 0 or more.
        frames: Length of the clip.
        fps: Frames per second of scene time.
        dwell_s: Mean stay in a state, seconds.
        nuisances: Keys of `NUISANCES`.
    """

    scene: str
    seed: int = 0
    frames: int = 600
    fps: float = 5.0
    dwell_s: float = 20.0
    nuisances: tuple[str, ...] = ()


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
    )


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
