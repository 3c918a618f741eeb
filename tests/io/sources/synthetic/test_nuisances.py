"""Each nuisance does what its name says, only that, and gets along with every other."""

from __future__ import annotations

from itertools import combinations, pairwise

import cv2
import numpy as np
import pytest

from edge_sim.core.types import BgrImage
from edge_sim.io.sources.synthetic.nuisances import NUISANCES, compose, infrared
from edge_sim.io.sources.synthetic.source import SCENES, render

FRAMES = 90
FPS = 2.0
PASSING = ["hand", "person", "shadow", "light_on", "covered", "exposure"]


@pytest.fixture(scope="module")
def gate() -> BgrImage:
    return render("gate", "closed")


def shown(gate: BgrImage, *names: str, seed: int = 1) -> list[BgrImage]:
    effect = compose(names, seed=seed, frames=FRAMES, fps=FPS)
    return [effect(gate.copy(), index) for index in range(FRAMES)]


def touched(gate: BgrImage, frames: list[BgrImage]) -> list[bool]:
    return [not np.array_equal(frame, gate) for frame in frames]


@pytest.mark.parametrize("name", sorted(NUISANCES))
def test_each_nuisance_shows_in_every_clip_and_keeps_the_format(gate: BgrImage, name: str) -> None:
    frames = shown(gate, name, seed=2)
    assert any(touched(gate, frames))
    assert {(frame.shape, frame.dtype) for frame in frames} == {((480, 640, 3), gate.dtype)}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_leaves_the_start_alone_and_the_picture_as_it_was(
    gate: BgrImage, name: str
) -> None:
    marks = touched(gate, shown(gate, name))
    assert not any(marks[: round(2 * FPS)])
    assert any(before and not after for before, after in pairwise(marks))


def test_a_nuisance_looks_the_same_whatever_else_happens() -> None:
    grey = np.full((480, 640, 3), 128, np.uint8)
    alone = touched(grey, shown(grey, "covered"))
    together = shown(grey, "covered", "hand", "exposure")
    darkened = [frame.mean() < 40 for frame in together]
    assert all(mark for mark, dark in zip(alone, darkened, strict=True) if dark)
    assert sum(darkened) >= sum(alone) - 2


def test_the_order_of_the_names_does_not_matter(gate: BgrImage) -> None:
    one = compose(["noise", "hand", "ir"], seed=3, frames=FRAMES, fps=FPS)
    other = compose(["ir", "noise", "hand"], seed=3, frames=FRAMES, fps=FPS)
    for index in range(0, FRAMES, 15):
        assert np.array_equal(one(gate.copy(), index), other(gate.copy(), index))


@pytest.mark.parametrize("pair", list(combinations(sorted(NUISANCES), 2)), ids="+".join)
def test_every_pair_can_be_shown(gate: BgrImage, pair: tuple[str, str]) -> None:
    effect = compose(pair, seed=7, frames=40, fps=FPS)
    changed = [not np.array_equal(effect(gate.copy(), index), gate) for index in range(0, 40, 6)]
    assert any(changed)


def test_an_unknown_nuisance_is_refused() -> None:
    with pytest.raises(KeyError, match="rain"):
        compose(["noise", "rain"], seed=1, frames=10, fps=5.0)


def test_noise_has_the_stated_strength_no_bias_and_is_new_in_each_frame() -> None:
    grey = np.full((480, 640, 3), 128, np.uint8)
    effect = compose(["noise"], seed=1, frames=FRAMES, fps=FPS)
    first, second = (effect(grey.copy(), index).astype(np.float64) for index in (0, 1))
    assert first.std() == pytest.approx(6.0, abs=0.3)
    assert first.mean() == pytest.approx(128.0, abs=0.1)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_infrared_is_grey_and_keeps_the_states_apart(scene: str) -> None:
    first, second = (infrared(render(scene, state)) for state in SCENES[scene].states)
    assert (first == first[:, :, :1]).all()
    assert float(np.mean(cv2.absdiff(first, second))) > 3


def test_the_night_comes_after_dusk_and_ends(gate: BgrImage) -> None:
    frames = shown(gate, "ir")
    grey = [bool((frame == frame[:, :, :1]).all()) for frame in frames]
    night = [index for index, mark in enumerate(grey) if mark]
    assert night == list(range(night[0], night[-1] + 1))
    assert FRAMES // 4 < night[0] < night[-1] < FRAMES - 1
    assert frames[night[0] - 1].mean() < 0.5 * gate.mean()
    assert np.array_equal(frames[0], gate)


def test_a_covered_lens_is_dark_and_nearly_flat(gate: BgrImage) -> None:
    darkest = min(shown(gate, "covered"), key=lambda frame: float(frame.mean()))
    assert darkest.mean() < 30
    assert cv2.cvtColor(darkest, cv2.COLOR_BGR2GRAY).std() < 4


@pytest.mark.parametrize(("name", "low_px", "high_px"), [("bump", 3, 12), ("bump_large", 60, 260)])
def test_a_knock_moves_the_view_once_and_for_good(
    gate: BgrImage, name: str, low_px: float, high_px: float
) -> None:
    frames = shown(gate, name)
    marks = touched(gate, frames)
    struck = marks.index(True)
    assert FRAMES // 3 < struck < 2 * FRAMES // 3
    assert all(marks[struck:])
    assert np.array_equal(frames[struck + 1], frames[-1])
    assert low_px < _moved_px(name) < high_px


def _moved_px(name: str) -> float:
    """How far the middle of the picture went: a white disc on black is found again."""
    disc = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(disc, (320, 240), 12, (255, 255, 255), -1)
    after = shown(disc, name)[-1][:, :, 0]
    rows, columns = np.nonzero(after == 255)
    return float(np.hypot(columns.mean() - 319.5, rows.mean() - 239.5))


@pytest.mark.parametrize("name", ["hand", "person"])
def test_what_passes_in_front_hides_a_good_part_of_the_middle(gate: BgrImage, name: str) -> None:
    middle = np.s_[120:360, 200:440]
    hidden = [
        float((cv2.absdiff(frame, gate)[middle].max(axis=2) > 20).mean())
        for frame in shown(gate, name)
    ]
    assert max(hidden) > 0.2
    assert np.mean(np.array(hidden) > 0.05) < 0.25


def test_exposure_swings_both_ways_and_settles(gate: BgrImage) -> None:
    means = np.array([frame.mean() for frame in shown(gate, "exposure")]) / gate.mean()
    assert means.max() > 1.2
    assert means.min() < 0.85
    assert np.median(np.abs(means - 1.0)) < 0.1


def test_light_drift_is_slow(gate: BgrImage) -> None:
    means = np.array([frame.mean() for frame in shown(gate, "light_drift")])
    assert means.max() / means.min() > 1.2
    assert np.abs(np.diff(means)).max() < 0.06 * gate.mean()


def test_a_light_switched_on_is_there_at_once_brighter_and_uneven(gate: BgrImage) -> None:
    frames = shown(gate, "light_on")
    switched = touched(gate, frames).index(True)
    gain = frames[switched].astype(np.float64).mean() / gate.mean()
    assert gain > 1.15
    assert np.array_equal(frames[switched], frames[switched + 5])


def test_a_shadow_darkens_a_part_that_moves(gate: BgrImage) -> None:
    frames = shown(gate, "shadow")
    places = []
    for frame in frames:
        darker = frame[::16].mean(axis=(0, 2)) < 0.8 * gate[::16].mean(axis=(0, 2))
        if 0.1 < darker.mean() < 0.9:
            places.append(float(np.flatnonzero(darker).mean()))
        assert (frame <= gate).all()
    assert max(places) - min(places) > 200
