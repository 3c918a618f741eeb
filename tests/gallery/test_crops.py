"""A reference is computed from exactly what is kept of its picture."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sim.core.images import decode
from edge_sim.gallery.enrolment import as_stored, encoded_crop, reference_of
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import make_probe
from tests.gallery.pictures import scene


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (120, 160), (640, 640), (900, 1400)], ids=str)
def test_what_is_kept_decodes_to_the_same_pixels(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    stored = as_stored(pixels)
    assert min(stored.shape[:2]) < 512
    np.testing.assert_array_equal(decode(encoded_crop(stored)), stored)


def test_a_region_of_a_usual_camera_is_kept_as_it_is() -> None:
    pixels = scene(1, shape=(480, 640))
    assert as_stored(pixels) is pixels


@pytest.mark.parametrize(
    ("shape", "kept"),
    [((1080, 1920), (270, 480)), ((3000, 4000), (375, 500)), ((400, 5000), (400, 5000))],
    ids=str,
)
def test_a_large_region_is_halved_and_keeps_its_proportions(
    shape: tuple[int, int], kept: tuple[int, int]
) -> None:
    assert as_stored(scene(1, shape=shape)).shape == (*kept, 3)


def test_the_reference_of_a_picture_is_the_probe_of_that_picture() -> None:
    embedder = open_embedder("thumbnail")
    pixels = scene(3)
    reference = reference_of(embedder, pixels, "open-1", "open", 1_700_000_000.0)
    probe = make_probe(embedder, pixels)
    np.testing.assert_array_equal(reference.embedding.vector, probe.embedding.vector)
    np.testing.assert_array_equal(reference.thumbnail, probe.thumbnail)
    assert (reference.reference_id, reference.state, reference.condition) == (
        "open-1",
        "open",
        "day",
    )
    assert reference.enrolled_at.timestamp() == 1_700_000_000


def test_a_reduced_region_hardly_differs_from_the_live_one() -> None:
    embedder = open_embedder("thumbnail")
    pixels = scene(4, shape=(1080, 1920))
    live = make_probe(embedder, pixels).embedding.vector
    kept = make_probe(embedder, as_stored(pixels)).embedding.vector
    assert float(live @ kept) > 0.999
