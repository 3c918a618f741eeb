"""Envelope: a fault smaller than a cell is found, and what varies among the references is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import GrayImage
from edge_sim.decision.envelope import ENOUGH, fit_envelope, plane_of


def product(seed: int, *, moving: bool = False, fault: bool = False) -> GrayImage:
    """A drawn product of 96 x 96 pixels with noise; its right half may bear a moving texture."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:96, 0:96]
    levels = 120.0 + 40.0 * (rows // 24 % 2) + rng.normal(0.0, 3.0, (96, 96))
    if moving:
        phase = rng.uniform(0.0, 12.0)
        levels += np.where(columns > 48, 50.0 * np.sin((columns + phase) / 2.0), 0.0)
    if fault:
        levels[40:46, 10:16] -= 60.0
    return np.asarray(np.clip(levels, 0.0, 255.0), np.uint8)


def test_a_fault_smaller_than_a_cell_lies_outside_and_a_new_good_product_does_not() -> None:
    envelope = fit_envelope(np.stack([plane_of(product(seed)) for seed in range(20)]))
    good = envelope.of(np.stack([plane_of(product(seed)) for seed in range(100, 140)]))
    bad = envelope.of(np.stack([plane_of(product(seed, fault=True)) for seed in range(200, 220)]))
    assert bad.min() > good.max()
    assert abs(float(np.median(good)) - float(np.median(envelope.left_out))) < 0.3


def test_a_texture_that_moves_is_not_outside_and_a_fault_beside_it_still_is() -> None:
    known = np.stack([plane_of(product(seed, moving=True)) for seed in range(20)])
    envelope = fit_envelope(known)
    new = [plane_of(product(seed, moving=True)) for seed in range(100, 140)]
    faulty = [plane_of(product(seed, moving=True, fault=True)) for seed in range(200, 220)]
    good = envelope.of(np.stack(new))
    assert np.quantile(good, 0.9) < envelope.left_out.max() + 0.2
    assert np.median(envelope.of(np.stack(faulty))) > np.quantile(good, 0.9)


@given(st.integers(-60, 60), st.integers(0, 5))
def test_a_picture_brighter_or_darker_as_a_whole_has_the_same_plane(shift: int, seed: int) -> None:
    picture = np.asarray(product(seed), np.int16)
    other = np.asarray(np.clip(picture + shift, 0, 255), np.uint8)
    if other.min() == 0 or other.max() == 255:
        return
    assert np.allclose(plane_of(np.asarray(picture, np.uint8)), plane_of(other), atol=1.5)


def test_more_references_make_an_envelope_worth_more() -> None:
    planes = np.stack([plane_of(product(seed)) for seed in range(40)])
    worths = [fit_envelope(planes[:number]).worth for number in (ENOUGH, 10, 20, 40)]
    assert worths == sorted(worths)
    assert 0.0 < worths[0] < 0.2 < worths[-1] < 0.6


def test_equal_references_are_no_fault() -> None:
    planes = np.repeat(plane_of(product(1))[None], 8, axis=0)
    assert np.isfinite(fit_envelope(planes).left_out).all()
