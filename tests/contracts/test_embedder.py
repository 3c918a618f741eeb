"""Promises of every embedder."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.core.images import squash
from edge_sim.core.protocols import Embedder
from edge_sim.vision.embedders import DEFAULT, KINDS
from tests.models import open_unverified
from tests.vision.embedders.tiny_models import grid_model

FILES: dict[str, tuple[bytes, str]] = {
    "uint8": (grid_model("uint8"), "RGB"),
    "int8": (grid_model("int8"), "RGB"),
    "float32": (grid_model("float32"), "RGB"),
    "bgr": (grid_model("float32"), "BGR"),
    "classifier": (grid_model("uint8", outputs=(2,)), "RGB"),
    "map": (grid_model("float32", outputs=(1,)), "RGB"),
}


@pytest.fixture(scope="session", params=sorted(KINDS) + sorted(FILES))
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param in KINDS:
        return str(request.param)
    data, order = FILES[request.param]
    path: Path = tmp_path_factory.mktemp("model") / f"{request.param}.tflite"
    path.write_bytes(data)
    if order != "RGB":
        card = {
            "schema": 1,
            "name": "test",
            "file": path.name,
            "sha256": sha256(data).hexdigest(),
            "license": "Apache-2.0",
            "input": {"size": 16, "dtype": "float32", "order": order},
            "outputs": {"global": {"index": 0}, "spatial": {"index": 1}},
        }
        path.with_suffix(".json").write_text(json.dumps(card))
    return str(path)


@pytest.fixture(scope="session")
def embedder(spec: str) -> Embedder:
    return open_unverified(spec)


def picture(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with structure, colour and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [96 + 60 * np.sin((rows * a + columns * b) / 9.0) for a, b in ((1, 0), (0, 1), (1, 1))]
    noise = rng.normal(0.0, 8.0, (height, width, 3))
    return np.clip(np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)


def test_the_vector_is_float32_of_the_stated_dimension_and_unit_length(embedder: Embedder) -> None:
    vector = embedder.embed(picture()).vector
    assert vector.shape == (embedder.dimension,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_cells_are_finite_float32_on_a_square_grid(embedder: Embedder) -> None:
    spatial = embedder.embed(picture()).spatial
    if spatial is not None:
        assert spatial.dtype == np.float32
        assert spatial.shape[0] == spatial.shape[1] > 1
        assert np.isfinite(spatial).all()


def test_the_same_picture_gives_the_same_embedding(embedder: Embedder) -> None:
    first = embedder.embed(picture())
    embedder.embed(picture(seed=1))
    again = embedder.embed(picture())
    np.testing.assert_array_equal(first.vector, again.vector)
    np.testing.assert_array_equal(_cells(first.spatial), _cells(again.spatial))


def test_two_embedders_of_one_spec_are_the_same(embedder: Embedder, spec: str) -> None:
    other = open_unverified(spec)
    assert other.model_id == embedder.model_id
    np.testing.assert_array_equal(other.embed(picture()).vector, embedder.embed(picture()).vector)


def test_an_embedding_carries_the_model_id(embedder: Embedder) -> None:
    assert embedder.embed(picture()).model_id == embedder.model_id


def test_the_model_id_says_name_file_and_preprocessing(embedder: Embedder) -> None:
    name, _, rest = embedder.model_id.partition("@")
    file, _, preprocessing = rest.partition("/")
    assert name
    assert file
    assert preprocessing.startswith("p2")


def test_an_embedding_outlives_the_next_call_and_the_callers_buffer(embedder: Embedder) -> None:
    pixels = picture()
    embedding = embedder.embed(pixels)
    vector, cells = embedding.vector.copy(), _cells(embedding.spatial).copy()
    pixels[:] = 200
    embedder.embed(pixels)
    np.testing.assert_array_equal(embedding.vector, vector)
    np.testing.assert_array_equal(_cells(embedding.spatial), cells)


def test_the_picture_is_not_written_to(embedder: Embedder) -> None:
    pixels = picture()
    pixels.setflags(write=False)
    before = pixels.copy()
    embedder.embed(pixels)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    "view",
    [
        lambda pixels: pixels[5:40, 7:50],
        lambda pixels: pixels[::-1, ::-1],
        lambda pixels: pixels[::2, ::3],
        lambda pixels: pixels[:, :, ::-1],
        lambda pixels: np.asfortranarray(pixels),
    ],
    ids=["crop", "rotated", "strided", "channels reversed", "column-major"],
)
def test_a_view_embeds_like_its_copy(embedder: Embedder, view: Any) -> None:
    seen: NDArray[np.uint8] = view(picture())
    np.testing.assert_array_equal(
        embedder.embed(seen).vector, embedder.embed(np.ascontiguousarray(seen)).vector
    )


@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 9))
def test_any_small_size_can_be_embedded(
    embedder: Embedder, height: int, width: int, seed: int
) -> None:
    assert embedder.embed(picture(height, width, seed)).vector.shape == (embedder.dimension,)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (1080, 1920), (5000, 3000)])
def test_any_other_size_can_be_embedded(embedder: Embedder, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 90, np.uint8)
    pixels[: shape[0] // 2] = 30
    assert embedder.embed(pixels).vector.shape == (embedder.dimension,)


@pytest.mark.parametrize("level", [0, 60, 255])
def test_a_flat_grey_picture_can_be_embedded(embedder: Embedder, level: int) -> None:
    vector = embedder.embed(np.full((40, 40, 3), level, np.uint8)).vector
    assert np.isfinite(vector).all()


def test_red_and_blue_differ(embedder: Embedder) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[:, :, 2] = picture()[:, :, 0]
    blue = np.ascontiguousarray(red[:, :, ::-1])
    assert float(embedder.embed(red).vector @ embedder.embed(blue).vector) < 0.99


def test_a_little_noise_changes_little_and_another_picture_more(embedder: Embedder) -> None:
    vector = embedder.embed(picture()).vector
    noisy = embedder.embed(picture(seed=1)).vector
    other = embedder.embed(255 - picture()).vector
    assert vector @ noisy > vector @ other
    assert vector @ noisy > 0.9


def test_the_default_is_among_the_kinds() -> None:
    assert DEFAULT in KINDS


def _cells(spatial: NDArray[np.float32] | None) -> NDArray[np.float32]:
    return np.zeros((0, 0, 0), np.float32) if spatial is None else spatial


def test_a_picture_squashed_before_embeds_the_same(embedder: Embedder) -> None:
    whole = picture(960, 1280)
    before = embedder.embed(squash(whole, embedder.input_px))
    np.testing.assert_array_equal(embedder.embed(whole).vector, before.vector)
