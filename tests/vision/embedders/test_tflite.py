"""Inputs and outputs of a model, number by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.core.images import squash
from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_file import read_model_file
from edge_sim.vision.embedders.runtime import Runtime, choose_runtime
from edge_sim.vision.embedders.tflite import TfliteEmbedder, open_tflite
from tests.models import open_unverified
from tests.vision.embedders.tiny_models import grid_model, one_operator_model

WriteModel = Callable[..., Path]


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    def write(data: bytes, card: dict[str, Any] | None = None) -> Path:
        path = tmp_path / "m.tflite"
        path.write_bytes(data)
        if card is not None:
            basis = {
                "schema": 1,
                "name": "test",
                "file": "m.tflite",
                "sha256": sha256(data).hexdigest(),
                "license": "Apache-2.0",
                "input": {"size": 16, "dtype": "uint8"},
                "outputs": {"global": {"name": "global"}, "spatial": {"name": "spatial"}},
            }
            path.with_suffix(".json").write_text(json.dumps({**basis, **card}))
        return path

    return write


def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def cell_means(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means over the 4x4 pixels of each of 4x4 cells, RGB."""
    means: NDArray[np.float64] = pixels[:, :, ::-1].reshape(4, 4, 4, 4, 3).mean(axis=(1, 3))
    return means


def test_a_model_that_is_wider_than_high_sees_the_same_in_a_squashed_picture(
    write_model: WriteModel,
) -> None:
    embedder = open_unverified(write_model(grid_model(wide=2)))
    assert embedder.input_px == 32
    whole = np.random.default_rng(4).integers(0, 256, (301, 555, 3), dtype=np.uint8)
    squashed = embedder.embed(squash(whole, 32))
    np.testing.assert_array_equal(embedder.embed(whole).vector, squashed.vector)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_every_input_type_sees_rgb_scaled_to_one(write_model: WriteModel, dtype: str) -> None:
    embedding = open_unverified(write_model(grid_model(dtype))).embed(picture())
    # Half a quantization step, and half a grey level between the zero points 127.5 and 128.
    wanted = cell_means(picture()) / 127.5 - 1.0
    assert embedding.spatial is not None
    np.testing.assert_allclose(embedding.spatial, wanted, atol=1.01 / 127.5)
    flat = embedding.spatial.ravel()
    np.testing.assert_allclose(embedding.vector, flat / np.linalg.norm(flat), atol=1e-6)


def test_a_float_model_is_exact(write_model: WriteModel) -> None:
    spatial = open_unverified(write_model(grid_model("float32"))).embed(picture()).spatial
    assert spatial is not None
    np.testing.assert_allclose(spatial, cell_means(picture()) / 127.5 - 1.0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_mean_and_std_of_the_card_are_applied(write_model: WriteModel, dtype: str) -> None:
    mean, std = [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]
    quantization = {"uint8": (0.02, 110), "int8": (0.02, -18), "float32": None}[dtype]
    card = {
        "input": {"size": 16, "dtype": dtype},
        "preprocessing": {"mean": mean, "std": std},
    }
    path = write_model(grid_model(dtype, quantization=quantization), card)
    spatial = open_unverified(path).embed(picture()).spatial
    assert spatial is not None
    np.testing.assert_allclose(spatial, (cell_means(picture()) - mean) / std, atol=0.021)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_a_bgr_card_leaves_the_order_as_it_is(write_model: WriteModel, dtype: str) -> None:
    card = {"input": {"size": 16, "dtype": dtype, "order": "BGR"}}
    spatial = open_unverified(write_model(grid_model(dtype), card)).embed(picture()).spatial
    assert spatial is not None
    wanted = cell_means(picture())[:, :, ::-1] / 127.5 - 1.0
    np.testing.assert_allclose(spatial, wanted, atol=1.01 / 127.5)


def test_a_picture_is_squashed_as_everywhere(write_model: WriteModel) -> None:
    large = np.random.default_rng(5).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    embedder = open_unverified(write_model(grid_model("float32")))
    np.testing.assert_array_equal(
        embedder.embed(large).vector, embedder.embed(squash(large, 16)).vector
    )


def test_one_output_is_the_vector_and_there_are_no_cells(write_model: WriteModel) -> None:
    path = write_model(grid_model("float32", outputs=(2,)))
    embedding = open_unverified(path).embed(picture())
    assert embedding.spatial is None
    assert embedding.vector.shape == (48,)


def test_one_output_of_cells_gives_their_mean_as_the_vector(write_model: WriteModel) -> None:
    embedder = open_unverified(write_model(grid_model("float32", outputs=(1,))))
    embedding = embedder.embed(picture())
    mean = cell_means(picture()).mean(axis=(0, 1)) / 127.5 - 1.0
    np.testing.assert_allclose(embedding.vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert embedding.spatial is not None
    assert embedder.dimension == 3


def test_outputs_are_told_apart_in_either_order(write_model: WriteModel) -> None:
    one = open_unverified(write_model(grid_model("float32", outputs=(1, 2)))).embed(picture())
    two = open_unverified(write_model(grid_model("float32", outputs=(2, 1)))).embed(picture())
    np.testing.assert_array_equal(one.vector, two.vector)


@pytest.mark.parametrize("wanted", [{"name": "global"}, {"index": 1}, {"name": "?", "index": 1}])
def test_a_card_picks_an_output_by_name_or_position(
    write_model: WriteModel, wanted: dict[str, Any]
) -> None:
    card = {"outputs": {"global": wanted}}
    embedder = open_tflite(write_model(grid_model(outputs=(1, 2)), card))
    assert embedder.plan.vector.name == "global"
    assert embedder.plan.spatial is None


def test_the_model_id_is_name_hash_and_version(write_model: WriteModel) -> None:
    data = grid_model()
    wanted = f"m@{sha256(data).hexdigest()[:12]}/p2"
    assert open_unverified(write_model(data)).model_id == wanted
    assert open_unverified(write_model(data, {})).model_id == wanted


def test_a_card_that_changes_the_embedding_changes_the_model_id(write_model: WriteModel) -> None:
    data = grid_model()
    plain = open_unverified(write_model(data)).model_id
    bgr = open_unverified(
        write_model(data, {"input": {"size": 16, "dtype": "uint8", "order": "BGR"}})
    )
    assert bgr.model_id.startswith(f"{plain}.")


def test_zero_cannot_be_normalised(write_model: WriteModel) -> None:
    embedder = open_unverified(write_model(grid_model("uint8", outputs=(2,))))
    with pytest.raises(ModelError, match=r"m\.tflite: the model gives zero"):
        embedder.embed(np.full((4, 4, 3), 128, np.uint8))


class Answering:
    """An interpreter that answers one number everywhere, or fails."""

    def __init__(self, answer: float, *, fails: bool = False) -> None:
        self._answer = answer
        self._fails = fails

    def tensor(self, index: int) -> Callable[[], NDArray[np.float32]]:
        return lambda: np.zeros((1, 16, 16, 3), np.float32)

    def get_tensor(self, index: int) -> NDArray[np.float32]:
        shape = (1, 4, 4, 3) if index == 1 else (1, 48)
        return np.full(shape, self._answer, np.float32)

    def invoke(self) -> None:
        if self._fails:
            raise RuntimeError("node 3 failed\nand more lines")


def answering(path: Path, interpreter: Answering) -> TfliteEmbedder:
    runtime = Runtime("test", "0", "test", build=lambda **_: interpreter)
    return TfliteEmbedder(read_model_file(path), None, runtime=runtime, interpreter=interpreter)


@pytest.mark.parametrize("answer", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(write_model: WriteModel, answer: float) -> None:
    embedder = answering(write_model(grid_model("float32")), Answering(answer))
    with pytest.raises(ModelError, match="NaN or infinity"):
        embedder.embed(picture())


def test_a_run_that_fails_is_one_line(write_model: WriteModel) -> None:
    embedder = answering(write_model(grid_model("float32")), Answering(1.0, fails=True))
    with pytest.raises(ModelError, match=r"m\.tflite: the model fails \(node 3 failed\)$"):
        embedder.embed(picture())


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["grey", "BGRA", "float", "empty"],
)
def test_what_is_not_bgr_is_refused(write_model: WriteModel, pixels: NDArray[Any]) -> None:
    embedder = open_unverified(write_model(grid_model()))
    with pytest.raises(ValueError, match="pixels must be uint8"):
        embedder.embed(pixels)


def test_a_custom_operator_is_named(write_model: WriteModel) -> None:
    path = write_model(one_operator_model(custom_name="Sparkle"))
    with pytest.raises(ModelError, match=r"cannot load the model .*it needs Sparkle") as caught:
        open_unverified(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(write_model: WriteModel, threads: int) -> None:
    with pytest.raises(ModelError, match="threads must be 1 or more"):
        open_unverified(write_model(grid_model()), threads=threads)


def test_two_threads_give_what_one_gives(write_model: WriteModel) -> None:
    path = write_model(grid_model())
    np.testing.assert_array_equal(
        open_unverified(path, threads=2).embed(picture()).vector,
        open_unverified(path).embed(picture()).vector,
    )


def test_an_embedder_says_what_it_runs_on(write_model: WriteModel) -> None:
    embedder = open_tflite(write_model(grid_model()))
    assert embedder.runtime.name == choose_runtime().name
    assert embedder.card is None
    assert embedder.dimension == 48


def test_nan_in_the_cells_alone_is_refused(write_model: WriteModel) -> None:
    class BadCells(Answering):
        def get_tensor(self, index: int) -> NDArray[np.float32]:
            stored = super().get_tensor(index)
            return stored * np.float32(np.nan) if index == 1 else stored

    embedder = answering(write_model(grid_model("float32")), BadCells(1.0))
    with pytest.raises(ModelError, match="spatial output holds NaN"):
        embedder.embed(picture())


def test_an_output_that_is_never_computed_is_one_line(write_model: WriteModel) -> None:
    class NoOutput(Answering):
        def get_tensor(self, index: int) -> NDArray[np.float32]:
            raise ValueError("Tensor data is null. Run allocate_tensors() first")

    embedder = answering(write_model(grid_model("float32")), NoOutput(1.0))
    with pytest.raises(ModelError, match=r"m\.tflite: no output \(Tensor data is null"):
        embedder.embed(picture())


def test_a_card_makes_a_model_usable_that_is_ambiguous_without(write_model: WriteModel) -> None:
    data = grid_model(outputs=(2, 1, 2))
    with pytest.raises(ModelError, match="which of 3 outputs"):
        open_unverified(write_model(data))
    card = {"outputs": {"global": {"index": 0}, "spatial": {"index": 1}}}
    embedder = open_unverified(write_model(data, card))
    assert embedder.embed(picture()).vector.shape == (48,)
    assert "/p2." in embedder.model_id
