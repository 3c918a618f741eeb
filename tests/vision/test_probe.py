"""Features of a frame are computed once, and only on demand."""

from __future__ import annotations

import numpy as np

from edge_sim.core.types import BgrImage, Embedding, Frame, Roi
from edge_sim.vision.probe import FrameFeatures, Mask, Region, make_probe
from tests.builders import BrightnessEmbedder


class CountingEmbedder(BrightnessEmbedder):
    def __init__(self) -> None:
        self.calls = 0

    def embed(self, pixels: BgrImage) -> Embedding:
        self.calls += 1
        return super().embed(pixels)


def frame(seed: int = 0) -> Frame:
    pixels = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    return Frame(pixels, 0.0, 0.0, 0, "fake")


def left_half() -> Mask:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :4] = 255
    return Mask(mask)


def test_watches_on_the_same_region_share_one_embedding() -> None:
    embedder = CountingEmbedder()
    frame_features = FrameFeatures(frame(), embedder)
    a, b = (frame_features.of(Region(Roi(0.1, 0.1, 0.9, 0.9))) for _ in range(2))
    assert a.embedding is b.embedding
    assert a.readings[0] is b.readings[0]
    assert embedder.calls == 1


def test_a_coarse_image_embeds_nothing() -> None:
    embedder = CountingEmbedder()
    assert FrameFeatures(frame(), embedder).of(Region()).coarse_image.size
    assert embedder.calls == 0


def test_regions_of_other_place_or_mask_are_seen_apart() -> None:
    frame_features = FrameFeatures(frame(), BrightnessEmbedder())
    regions = [Region(), Region(Roi(0.0, 0.0, 0.5, 1.0)), Region(mask=left_half())]
    assert len({id(frame_features.of(region)) for region in regions}) == 3


def test_a_features_shows_what_enrolment_sees() -> None:
    region = Region(Roi(0.2, 0.0, 0.7, 0.9), left_half())
    features = FrameFeatures(frame(), BrightnessEmbedder()).of(region)
    probe = make_probe(BrightnessEmbedder(), region.pixels_of(frame().pixels))
    np.testing.assert_array_equal(features.readings[0], probe.thumbnail)
    np.testing.assert_array_equal(features.embedding.vector, probe.embedding.vector)
    assert features.readings[1] == probe.quality


def test_the_glimpse_of_a_masked_region_does_not_see_what_the_mask_hides() -> None:
    region = Region(mask=left_half())
    other = frame()
    other.pixels[:, 160:] = 255 - other.pixels[:, 160:]
    seen = [
        FrameFeatures(item, BrightnessEmbedder()).of(region).coarse_image
        for item in (frame(), other)
    ]
    np.testing.assert_array_equal(seen[0], seen[1])
    other.pixels[:, :160] = 0
    assert (FrameFeatures(other, BrightnessEmbedder()).of(region).coarse_image != seen[0]).any()
