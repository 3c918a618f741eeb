"""Promises of every dual encoder."""

from __future__ import annotations

from typing import Any

import make_dual_encoder
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.core.protocols import DualEncoder
from edge_sim.errors import EdgeSimError

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: edge_sim[text]")
pytest.importorskip("tokenizers", reason="tokenizers is not installed: edge_sim[text]")

FORMS: dict[str, dict[str, Any]] = {
    "text": {},
    "masked": {"masked": True},
    "squashed": {"resize_mode": "squash"},
    "with bars": {"resize_mode": "longest"},
}
RED, BLUE = (30, 30, 200), (200, 60, 30)


@pytest.fixture(scope="module", params=sorted(FORMS))
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from edge_sim.vision.dual_encoders.install import import_folder
    from edge_sim.vision.dual_encoders.onnx_encoder import open_dual_encoder

    folder = tmp_path_factory.mktemp("encoder")
    make_dual_encoder.make(folder / "colours", **FORMS[request.param])
    return open_dual_encoder(import_folder(folder / "colours", folder / "models").folder)


def plain(colour: tuple[int, int, int], height: int = 30, width: int = 40) -> Any:
    """Return a picture of one colour, blue first."""
    return np.full((height, width, 3), colour, np.uint8)


def test_a_text_is_nearest_to_the_picture_that_it_describes(encoder: DualEncoder) -> None:
    red, blue = (encoder.embed_picture(plain(colour)) for colour in (RED, BLUE))
    for text, near, far in (("red", red, blue), ("a Blue thing", blue, red)):
        vector = encoder.embed_text(text)
        assert vector @ near > vector @ far + 0.5


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 99))
def test_vectors_are_unit_float32_of_the_dimension(
    encoder: DualEncoder, height: int, width: int, seed: int
) -> None:
    levels = np.random.default_rng(seed).integers(0, 120, (height, width, 3))
    vector = encoder.embed_picture(levels.astype(np.uint8))
    assert vector.dtype == np.float32
    assert vector.shape == (encoder.dimension,)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_equal_questions_have_equal_answers(encoder: DualEncoder) -> None:
    assert np.array_equal(encoder.embed_text("red"), encoder.embed_text("red"))
    assert np.array_equal(encoder.embed_picture(plain(RED)), encoder.embed_picture(plain(RED)))
    assert encoder.model_id == encoder.model_id != ""
    assert encoder.input_px >= 1


def test_a_long_text_is_cut_off(encoder: DualEncoder) -> None:
    first = encoder.embed_text("red " * 8)
    assert np.allclose(encoder.embed_text("red " * 8 + "blue " * 50), first)


@pytest.mark.parametrize("pixels", ["x.jpg", np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_picture_is_rejected(encoder: DualEncoder, pixels: Any) -> None:
    with pytest.raises(EdgeSimError):
        encoder.embed_picture(pixels)


@pytest.mark.parametrize("text", ["", "zebra", "x" * 2000])
def test_a_text_without_a_vector_is_one_line(encoder: DualEncoder, text: str) -> None:
    with pytest.raises(EdgeSimError) as caught:
        encoder.embed_text(text)
    assert "\n" not in str(caught.value)
