"""A model with uint8 outputs gives the same embedding as the original."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.embedders.tflite import TfliteEmbedder
from tests.conftest import REPOSITORY

pytest.importorskip("ai_edge_litert", reason="the tool that edits models comes with ai-edge-litert")
sys.path.insert(0, str(REPOSITORY / "tools"))
with_uint8_outputs = importlib.import_module("bench_peers.uint8_outputs").with_uint8_outputs


def test_uint8_outputs_hold_the_same_embedding(tmp_path: Path) -> None:
    ours = open_embedder("default")
    assert isinstance(ours, TfliteEmbedder)
    made = tmp_path / "made.tflite"
    made.write_bytes(with_uint8_outputs(ours.model))
    theirs = open_embedder(made, verified_only=False)
    assert isinstance(theirs, TfliteEmbedder)
    assert {output.dtype for output in theirs.model.outputs} == {"uint8"}
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    own, other = ours.embed(pixels), theirs.embed(pixels)
    np.testing.assert_array_equal(own.vector, other.vector)
    assert own.spatial is not None
    assert other.spatial is not None
    np.testing.assert_array_equal(own.spatial, other.spatial)
