"""A classifier becomes an embedder whose answers are those of the layers inside it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_file import read_model_file
from edge_sim.vision.embedders.model_import import embedder_bytes, is_classifier
from tests.models import open_unverified
from tests.vision.embedders.flatbuffer_writer import Node, Nodes, Scalar, serialise
from tests.vision.embedders.tiny_models import (
    AVERAGE_POOL_2D,
    classifier_model,
    grid_model,
    needs_litert,
    one_operator_model,
)


def cut(source: Path, out: Path) -> Path:
    out.write_bytes(embedder_bytes(read_model_file(source)))
    return out


def picture(side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    path = tmp_path / "classifier.tflite"
    path.write_bytes(classifier_model())
    return path


def test_the_classifier_itself_runs(classifier: Path) -> None:
    assert open_unverified(classifier).dimension == 5


@needs_litert
def test_the_cut_answers_cells_and_their_mean(classifier: Path, tmp_path: Path) -> None:
    embedder = open_unverified(cut(classifier, tmp_path / "cut.tflite"))
    embedding = embedder.embed(picture(16))
    cells = picture(16)[:, :, ::-1].reshape(4, 4, 4, 4, 3).mean(axis=(1, 3)) / 127.5 - 1.0
    assert embedding.spatial is not None
    np.testing.assert_allclose(embedding.spatial, cells, atol=1e-5)
    mean = cells.mean(axis=(0, 1))
    np.testing.assert_allclose(embedding.vector, mean / np.linalg.norm(mean), atol=1e-5)


@needs_litert
def test_an_open_batch_is_closed(classifier: Path, tmp_path: Path) -> None:
    source = tmp_path / "open.tflite"
    source.write_bytes(classifier_model(open_batch=True))
    model = read_model_file(cut(source, tmp_path / "cut.tflite"))
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [
        (1, 16, 16, 3),
        (1, 1, 1, 3),
        (1, 4, 4, 3),
    ]
    one = open_unverified(model.path).embed(picture(16))
    other = open_unverified(cut(classifier, tmp_path / "closed.tflite")).embed(picture(16))
    np.testing.assert_array_equal(one.vector, other.vector)


@needs_litert
def test_what_is_cut_off_is_gone_from_the_file(classifier: Path, tmp_path: Path) -> None:
    model = read_model_file(cut(classifier, tmp_path / "cut.tflite"))
    assert model.operators == {AVERAGE_POOL_2D: 2}
    assert [output.name for output in model.outputs] == ["global", "spatial"]
    assert len(model.data) < len(classifier.read_bytes())
    assert b"kernel" not in model.data


@pytest.mark.parametrize(
    "data",
    [grid_model(), grid_model(outputs=(2,)), one_operator_model()],
    ids=["two outputs", "no layer", "one pooling"],
)
def test_what_is_no_classifier_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"m\.tflite: not a classifier"):
        embedder_bytes(read_model_file(path))


@needs_litert
@pytest.mark.parametrize(
    ("name", "embedding", "cells"),
    [
        ("v3-small_224_1.0_uint8", "v3-small_uint8_embedding", "v3-small_uint8_map"),
        ("tf2_mobilenet_v2_1.0_224_ptq", "mobilenet_v2_embedding", "mobilenet_v2_map"),
    ],
)
def test_known_classifiers_are_cut_as_by_hand(
    real_data: Path, tmp_path: Path, name: str, embedding: str, cells: str
) -> None:
    folder = real_data.parent / "models"
    if not (folder / f"{name}.tflite").is_file():
        pytest.skip(f"no {name}.tflite at {folder}")
    found = open_unverified(cut(folder / f"{name}.tflite", tmp_path / "cut.tflite"))
    answer = found.embed(picture(224))
    vector = open_unverified(folder / f"{embedding}.tflite").embed(picture(224)).vector
    spatial = open_unverified(folder / f"{cells}.tflite").embed(picture(224)).spatial
    assert answer.spatial is not None
    assert spatial is not None
    np.testing.assert_array_equal(answer.vector, vector)
    np.testing.assert_array_equal(answer.spatial, spatial)


def test_a_model_of_several_graphs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    graphs = Nodes([Node({}), Node({})])
    model = Node({0: Scalar("I", 3), 1: Nodes([]), 2: graphs, 4: Nodes([Node({})])})
    path.write_bytes(serialise(model, b"TFL3"))
    with pytest.raises(ModelError, match="branches or loops"):
        embedder_bytes(read_model_file(path))


def test_without_the_tools_of_litert_the_way_out_is_named(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.tools", None)
    model = read_model_file(classifier)
    with pytest.raises(ModelError, match="import the model on a PC with ai-edge-litert"):
        embedder_bytes(model)
    assert is_classifier(model)
