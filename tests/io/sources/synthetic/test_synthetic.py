"""Drawn scenes: their states can be told apart, their truth holds, the same uri is the same."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby, pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.images import crop
from edge_sim.core.types import BgrImage
from edge_sim.errors import ConfigError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.synthetic.drawing import Pose
from edge_sim.io.sources.synthetic.source import (
    SCENES,
    TRANSITION,
    reference_frames,
    render,
    scene_roi,
    scene_states,
    scene_truth,
    schedule,
)

every_scene = pytest.mark.parametrize("scene", sorted(SCENES))


def played(uri: str) -> list[BgrImage]:
    with closing(open_source(uri)) as source:
        return [frame.pixels for frame in iter(source.read, None)]


def difference(a: BgrImage, b: BgrImage) -> float:
    return float(np.mean(cv2.absdiff(a, b)))


@every_scene
def test_a_picture_is_640_by_480_colour_and_textured(scene: str) -> None:
    for state in scene_states(scene):
        picture = render(scene, state)
        assert picture.shape == (480, 640, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 25
        assert cv2.Laplacian(picture, cv2.CV_32F).var() > 50


@every_scene
def test_states_differ_far_more_than_variants_of_a_state_do_in_the_mean(scene: str) -> None:
    roi = scene_roi(scene)
    first, second = scene_states(scene)
    a = [crop(render(scene, first, variant), roi) for variant in range(4)]
    b = [crop(render(scene, second, variant), roi) for variant in range(4)]
    between = np.mean([difference(p, q) for p in a for q in b])
    assert between > 15
    within = np.mean([difference(a[i], a[j]) for i in range(4) for j in range(i)])
    assert between > 3 * within


@every_scene
def test_drawing_gives_a_fresh_picture_each_time(scene: str) -> None:
    state = scene_states(scene)[0]
    kept = render(scene, state)
    render(scene, state)[:] = 0
    assert np.array_equal(render(scene, state), kept)


@every_scene
def test_a_change_is_drawn_in_steps_between_the_two_states(scene: str) -> None:
    drawn = SCENES[scene]
    first, second = (render(scene, state, 1) for state in drawn.states)
    middle = drawn.draw(Pose(0.5, variant=1))
    assert difference(middle, first) > 1
    assert difference(middle, second) > 1


@every_scene
def test_a_change_that_has_hardly_begun_looks_like_the_state_before(scene: str) -> None:
    drawn = SCENES[scene]
    begun = drawn.draw(Pose(0.001, variant=1))
    assert difference(begun, render(scene, drawn.states[0], 1)) < 1


@every_scene
def test_the_same_uri_gives_the_same_bytes(scene: str) -> None:
    uri = f"synthetic:{scene}?seed=5&frames=12&dwell_s=1&nuisances=noise,shadow,hand"
    for once, again in zip(played(uri), played(uri), strict=True):
        assert np.array_equal(once, again)


def test_another_seed_gives_another_clip() -> None:
    assert scene_truth("synthetic:bowl?seed=1") != scene_truth("synthetic:bowl?seed=2")


@every_scene
def test_frames_at_rest_show_the_state_that_the_truth_names(scene: str) -> None:
    uri = f"synthetic:{scene}?seed=2&frames=80&dwell_s=3"
    roi = scene_roi(scene)
    looks = {
        state: [crop(render(scene, state, variant), roi) for variant in range(8)]
        for state in scene_states(scene)
    }
    truth = scene_truth(uri)
    assert len(set(truth)) == 3
    for pixels, state in zip(played(uri), truth, strict=True):
        if state != TRANSITION:
            region = crop(pixels, roi)
            nearest = min(looks, key=lambda s: min(difference(region, p) for p in looks[s]))
            assert nearest == state


@given(
    scene=st.sampled_from(sorted(SCENES)),
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 800),
    fps=st.floats(0.5, 30),
    dwell_s=st.floats(0.5, 60),
)
def test_a_schedule_alternates_and_every_stay_can_be_confirmed(
    scene: str, seed: int, frames: int, fps: float, dwell_s: float
) -> None:
    drawn = SCENES[scene]
    moments = schedule(drawn, seed=seed, frames=frames, fps=fps, dwell_s=dwell_s)
    assert len(moments) == frames
    runs = [(state, len(list(run))) for state, run in groupby(moment.state for moment in moments)]
    assert [state == TRANSITION for state, _ in runs] == [i % 2 == 1 for i in range(len(runs))]
    stays = [state for state, _ in runs[::2]]
    assert all(before != after for before, after in pairwise(stays))
    if len(runs) > 1:
        assert min(length for _, length in runs[::2]) >= round(0.6 * dwell_s * fps)


def test_a_schedule_shows_the_same_heap_while_it_stays() -> None:
    moments = schedule(SCENES["bowl"], seed=1, frames=600, fps=5, dwell_s=10)
    for before, after in pairwise(moments):
        if before.pose.level > 0 and after.pose.level > 0:
            assert before.pose.variant == after.pose.variant


def test_time_is_counted_in_frames_from_a_fixed_moment() -> None:
    with closing(open_source("synthetic:lamp?frames=3&fps=2")) as source:
        frames = [frame for frame in iter(source.read, None)]
    assert [frame.captured_at_s for frame in frames] == [0.0, 0.5, 1.0]
    assert [frame.unix_time_s - 1_767_268_800 for frame in frames] == [0.0, 0.5, 1.0]


def test_a_clip_can_be_turned_and_named() -> None:
    options = SourceOptions(rotate=90, name="bench")
    with closing(open_source("synthetic:lamp?frames=1", options)) as source:
        frame = source.read()
    assert frame is not None
    assert (frame.pixels.shape, frame.source) == ((640, 480, 3), "bench")


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("synthetic:bowel", "no scene named 'bowel'; did you mean 'bowl'"),
        ("synthetic:", "no scene named ''"),
        ("synthetic:bowl?sed=1", "no setting named 'sed'; did you mean 'seed'"),
        ("synthetic:bowl?seed=-1", "seed must be a whole number"),
        ("synthetic:bowl?frames=0", "frames must be 1 or more"),
        ("synthetic:bowl?frames=1e9", "frames must be a whole number"),
        ("synthetic:bowl?fps=0", "fps must be a number above 0"),
        ("synthetic:bowl?fps=fast", "fps must be a number above 0, got 'fast'"),
        ("synthetic:bowl?dwell_s=nan", "dwell_s must be a number above 0"),
        ("synthetic:bowl?nuisances=nois", "no nuisance named 'nois'; did you mean 'noise'"),
    ],
)
def test_a_wrong_uri_is_refused_with_the_nearest_right_word(uri: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(uri)
    assert complaint in str(caught.value)


@every_scene
def test_references_show_their_state_each_differently_and_are_never_played(scene: str) -> None:
    uri = f"synthetic:{scene}?seed=4&frames=60&dwell_s=2"
    seen = {pixels.tobytes() for pixels in played(uri)}
    first, second = scene_states(scene)
    for state, other in ((first, second), (second, first)):
        frames = reference_frames(uri, state, 4)
        assert len({frame.pixels.tobytes() for frame in frames} | seen) == 4 + len(seen)
        for frame in frames:
            mine = difference(frame.pixels, render(scene, state))
            assert mine < difference(frame.pixels, render(scene, other)) + 8
            assert frame.captured_at_s < 0


def test_references_are_the_same_for_the_same_seed_only() -> None:
    once, again, other = (reference_frames("gate", "open", 2, seed=s) for s in (1, 1, 2))
    assert np.array_equal(once[1].pixels, again[1].pixels)
    assert not np.array_equal(once[1].pixels, other[1].pixels)


def test_who_watches_at_night_enrols_every_second_reference_in_infrared() -> None:
    frames = reference_frames("synthetic:gate?nuisances=ir", "open", 4)
    grey = [bool((frame.pixels == frame.pixels[:, :, :1]).all()) for frame in frames]
    assert grey == [False, True, False, True]


def test_a_reference_of_an_unknown_state_is_refused() -> None:
    with pytest.raises(ConfigError, match="no state named 'ajar'; there are closed, open"):
        reference_frames("gate", "ajar", 1)
