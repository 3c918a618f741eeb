"""Scores: symmetric, bounded, and equal to their oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from edge_sim.core.types import GrayImage
from edge_sim.core.vectors import (
    cosine,
    cosine_to_all,
    euclidean_to_all,
    manhattan_to_all,
    normalised,
    ssim,
    ssim_planes,
    ssim_to_all,
    structure_between,
)

finite = st.floats(-1e6, 1e6, width=32)
vectors = arrays(np.float32, 8, elements=finite)
pictures = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=11, max_side=40))


def oracle_ssim(a: GrayImage, b: GrayImage) -> float:
    oracle = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    return float(
        oracle.structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
    )


def scene(seed: int, side_px: int = 96) -> GrayImage:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 6)).astype(np.float32)
    smooth = np.kron(coarse, np.ones((side_px // 6, side_px // 6), np.float32))
    noise = generator.normal(0.0, 6.0, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("pair", [(1, 1), (1, 2), (3, 4)], ids=str)
def test_ssim_equals_scikit_image(pair: tuple[int, int]) -> None:
    a, b = scene(pair[0]), scene(pair[1])
    assert ssim(a, b) == pytest.approx(oracle_ssim(a, b), abs=1e-4)


@given(data=st.data())
def test_ssim_equals_scikit_image_on_any_picture(data: st.DataObject) -> None:
    a = data.draw(pictures)
    b = data.draw(arrays(np.uint8, a.shape))
    assert ssim(a, b) == pytest.approx(oracle_ssim(a, b), abs=1e-4)


@pytest.mark.parametrize("level", [0, 1, 254, 255])
def test_ssim_of_flat_pictures_equals_scikit_image(level: int) -> None:
    a = np.full((32, 32), level, np.uint8)
    b = np.full((32, 32), 255 - level, np.uint8)
    assert ssim(a, b) == pytest.approx(oracle_ssim(a, b), abs=1e-4)


@given(data=st.data())
def test_ssim_is_symmetric_bounded_and_one_with_itself(data: st.DataObject) -> None:
    a = data.draw(pictures)
    b = data.draw(arrays(np.uint8, a.shape))
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-6)
    assert -1.0001 <= ssim(a, b) <= 1.0001
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-6)


def test_structure_ignores_a_change_of_light_that_ssim_sees() -> None:
    a = (scene(5) // 2).astype(np.uint8)
    brighter = (a + 80).astype(np.uint8)
    planes, brighter_planes = ssim_planes(a), ssim_planes(brighter)
    assert structure_between(planes, brighter_planes) == pytest.approx(1.0, abs=1e-3)
    assert ssim(a, brighter) < 0.95


@pytest.mark.parametrize("shape", [(10, 10), (10, 40), (40, 10)], ids=str)
def test_ssim_refuses_pictures_below_its_window(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="11x11"):
        ssim(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def test_ssim_refuses_two_shapes() -> None:
    with pytest.raises(ValueError, match="one shape"):
        ssim(np.zeros((20, 20), np.uint8), np.zeros((20, 21), np.uint8))


@given(a=vectors, b=vectors)
def test_cosine_is_symmetric_and_bounded(a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    assert cosine(a, b) == pytest.approx(cosine(b, a), abs=1e-6)
    assert -1.0 <= cosine(a, b) <= 1.0


@given(a=vectors)
def test_normalised_rows_have_unit_length_or_stay_zero(a: NDArray[np.float32]) -> None:
    length = float(np.linalg.norm(normalised(a)))
    assert length == pytest.approx(1.0 if a.any() else 0.0, abs=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_normalised_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        normalised(np.array([1.0, bad], np.float32))


@given(a=arrays(np.float32, 8, elements=st.floats(-1, 1, width=32)), seed=st.integers(0, 99))
def test_on_unit_vectors_cosine_and_euclidean_rank_alike(a: NDArray[np.float32], seed: int) -> None:
    rows = normalised(np.random.default_rng(seed).normal(size=(20, 8)))
    probe = normalised(a + np.float32(0.1))
    cosines = cosine_to_all(probe, rows)
    distances = euclidean_to_all(probe, rows)
    np.testing.assert_allclose(distances**2, 2.0 - 2.0 * cosines, atol=1e-5)


def test_manhattan_is_the_sum_of_absolute_differences() -> None:
    rows = np.array([[0, 0, 0], [1, -2, 3]], np.float32)
    distances = manhattan_to_all(np.array([1, 1, 1], np.float32), rows)
    np.testing.assert_array_equal(distances, [3, 5])


def test_one_against_many_equals_one_against_one() -> None:
    pictures = [scene(seed) for seed in range(4)]
    planes = [ssim_planes(picture) for picture in pictures]
    expected = [ssim(pictures[0], other) for other in pictures]
    np.testing.assert_allclose(ssim_to_all(planes[0], planes), expected, atol=1e-6)
