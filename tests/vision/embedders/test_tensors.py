"""A model that is no image embedder is refused before it runs, with what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.card import CardInput, CardOutput, CardOutputs, ModelCard
from edge_sim.vision.embedders.model_file import ModelFile, read_model_file
from edge_sim.vision.embedders.tflite import plan_tensors
from tests.vision.embedders.tiny_models import (
    Tensor,
    grid_model,
    model_bytes,
    one_operator_model,
    pooling,
)


def parsed(data: bytes, folder: Path) -> ModelFile:
    path = folder / "m.tflite"
    path.write_bytes(data)
    return read_model_file(path)


def card(**changes: Any) -> ModelCard:
    values: dict[str, Any] = {
        "schema": 1,
        "name": "test",
        "file": "m.tflite",
        "sha256": "0" * 64,
        "license": "Apache-2.0",
        "input": CardInput(size=16, dtype="uint8"),
        "outputs": CardOutputs(vector=CardOutput(name="global")),
        **changes,
    }
    return ModelCard(**values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (one_operator_model(inputs=[(1, 16, 16, 3), (1, 2)]), "2 inputs"),
        (one_operator_model(inputs=[(1, 48)]), r"shape \(1, 48\)"),
        (one_operator_model(inputs=[(1, 16, 16, 1)]), "1 channels"),
        (one_operator_model(inputs=[(1, 3, 16, 16)]), "16 channels last"),
        (one_operator_model(inputs=[(4, 16, 16, 3)]), "no fixed size"),
        (one_operator_model(signature=(1, -1, -1, 3)), "no fixed size"),
        (one_operator_model(dtype="int32"), "the input is int32"),
        (grid_model(outputs=(1, 2, 2)), "which of 3 outputs"),
        (grid_model(outputs=(2, 2)), "which of 2 outputs"),
        (grid_model(quantization=(0.0, 0)), "has no scale"),
    ],
    ids=[
        "two inputs",
        "no picture",
        "grey",
        "channels first",
        "batch of 4",
        "open size",
        "int32",
        "three outputs",
        "two vectors",
        "quantized without a scale",
    ],
)
def test_what_is_no_image_embedder_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=rf"m\.tflite: .*{message}") as caught:
        plan_tensors(parsed(data, tmp_path), None)
    assert "\n" not in str(caught.value)


def test_an_open_batch_is_accepted(tmp_path: Path) -> None:
    model = parsed(one_operator_model(signature=(-1, 16, 16, 3)), tmp_path)
    assert plan_tensors(model, None).picture.shape == (-1, 16, 16, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": CardInput(size=32, dtype="uint8")}, "the card has uint8 32 px"),
        ({"input": CardInput(size=16, dtype="int8")}, "the card has int8 16 px"),
        ({"outputs": CardOutputs(vector=CardOutput(name="x"))}, "is not among the outputs"),
        ({"outputs": CardOutputs(vector=CardOutput(index=7))}, "is not among the outputs"),
        (
            {"outputs": CardOutputs(vector=CardOutput(index=0, shape=(1, 9)))},
            "gives outputs.global the shape",
        ),
        (
            {
                "outputs": CardOutputs(
                    vector=CardOutput(name="global"), spatial=CardOutput(name="global")
                )
            },
            "spatial must be",
        ),
        ({"preprocessing": {"mean": 0, "std": 0}}, "std must be above 0"),
        ({"preprocessing": {"mean": [1, 2], "std": 1}}, "1 or 3 numbers"),
        ({"preprocessing": {"mean": "a", "std": 1}}, "1 or 3 numbers"),
    ],
)
def test_a_card_that_contradicts_the_file_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        plan_tensors(parsed(grid_model(), tmp_path), card(**changes))


def test_a_preprocessing_in_words_changes_nothing(tmp_path: Path) -> None:
    model = parsed(grid_model(), tmp_path)
    words = plan_tensors(model, card(preprocessing="squash, RGB, as it is"))
    assert words == plan_tensors(model, card())


def test_plans_that_differ_have_different_marks(tmp_path: Path) -> None:
    model = parsed(grid_model(), tmp_path)
    plain = plan_tensors(model, card())
    scaled = plan_tensors(model, card(preprocessing={"mean": 1, "std": 2}))
    assert plain.mark == plan_tensors(model, card()).mark
    assert plain.mark != scaled.mark


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Tensor("output", (1, 4, 4, 3), "int32"), "cannot be an embedding"),
        (Tensor("output", (1, 9), "float32", signature=(1, -1)), "no fixed size"),
        (Tensor("output", (), "float32"), "no fixed size"),
        (Tensor("output", (4, 9), "float32"), "not for one picture"),
    ],
    ids=["int32", "open size", "no shape", "batch of 4"],
)
def test_an_output_that_is_no_embedding_is_refused(
    tmp_path: Path, output: Tensor, message: str
) -> None:
    tensors = [Tensor("input", (1, 16, 16, 3), "float32"), output]
    data = model_bytes(tensors, [pooling(0, 1, window=4)], inputs=[0], outputs=[1])
    with pytest.raises(ModelError, match=message):
        plan_tensors(parsed(data, tmp_path), None)


def test_mean_and_std_need_a_scale_on_a_quantized_input(tmp_path: Path) -> None:
    model = parsed(grid_model(quantization=(0.0, 0)), tmp_path)
    with pytest.raises(ModelError, match="the input has no scale"):
        plan_tensors(model, card(preprocessing={"mean": 1, "std": 2}))
