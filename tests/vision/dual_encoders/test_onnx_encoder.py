"""How pictures and texts are prepared for the models of a dual encoder."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.dual_encoders.files import VisualSettings
from edge_sim.vision.dual_encoders.onnx_encoder import cleaned, prepared, runtime


def settings(mode: str) -> VisualSettings:
    return VisualSettings(
        size=8,
        mean=(0.5, 0.25, 0.0),
        std=(0.5, 0.25, 1.0),
        resize_mode=mode,  # type: ignore[arg-type]
        fill_color=255,
    )


def test_levels_are_red_first_less_the_mean_by_the_deviation() -> None:
    pixels = np.full((8, 8, 3), (51, 102, 204), np.uint8)
    values = prepared(pixels, settings("squash"))
    assert values.shape == (1, 3, 8, 8)
    assert values.dtype == np.float32
    assert values[0, :, 3, 3] == pytest.approx([0.6, 0.6, 0.2], abs=1e-6)


def test_the_middle_the_whole_or_the_whole_with_bars_is_taken() -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :8] = 255  # the left quarter
    light = {mode: prepared(pixels, settings(mode))[0, 2] for mode in ("shortest", "squash")}
    assert light["shortest"].max() == 0.0
    assert light["squash"][:, :2].min() == 1.0
    assert light["squash"][:, 2:].max() == 0.0
    barred = prepared(pixels, settings("longest"))[0, 2]
    assert barred[:2].min() == barred[-2:].min() == 1.0
    assert barred[2:-2, 2:].max() == 0.0


def test_texts_are_cleaned_as_the_model_was_trained() -> None:
    assert cleaned("  A  brown\n dog! ", canonical=False) == "A brown dog!"
    assert cleaned("  A_ brown\n 'Dog'! ", canonical=True) == "a brown dog"


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"edge_sim\[text\]"):
        runtime()
