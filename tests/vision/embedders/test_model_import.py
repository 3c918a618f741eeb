"""An import puts model and card in place together, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_file import ModelFile, read_model_file
from edge_sim.vision.embedders.model_import import import_classifier
from tests.vision.embedders.flatbuffer_writer import Field, Node, Scalar
from tests.vision.embedders.full_disk import largest_file
from tests.vision.embedders.tiny_models import (
    CONV_2D,
    Operator,
    Tensor,
    classifier_model,
    model_bytes,
    needs_litert,
    pooling,
)

CEIL, LOGISTIC = 104, 14

pytestmark = needs_litert


@pytest.fixture
def source(tmp_path: Path) -> ModelFile:
    path = tmp_path / "classifier.tflite"
    path.write_bytes(classifier_model())
    return read_model_file(path)


@pytest.mark.parametrize("size", [0, 100, 600])
def test_a_full_disk_leaves_nothing_under_the_final_name(
    source: ModelFile, tmp_path: Path, size: int
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    with largest_file(size), pytest.raises(ModelError, match="cannot write"):
        import_classifier(source, folder / "m.tflite", license_name="MIT")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("taken", ["m.tflite", "m.json"])
def test_nothing_is_written_over(source: ModelFile, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"mine")
    with pytest.raises(ModelError, match=f"{taken}: is there already"):
        import_classifier(source, tmp_path / "m.tflite", license_name="MIT")
    assert (tmp_path / taken).read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_one_line(source: ModelFile) -> None:
    # /proc takes no files from anybody, root included.
    with pytest.raises(ModelError, match=r"/proc/m\.tflite: cannot write") as caught:
        import_classifier(source, Path("/proc/m.tflite"), license_name="MIT")
    assert "\n" not in str(caught.value)


def test_a_classifier_with_an_open_batch_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "open.tflite"
    path.write_bytes(classifier_model(open_batch=True))
    embedder = import_classifier(read_model_file(path), tmp_path / "m.tflite", license_name="MIT")
    assert embedder.dimension == 3


def test_a_classifier_of_pictures_of_any_size_is_refused_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "any.tflite"
    path.write_bytes(classifier_model(signature=(1, -1, -1, 3)))
    with pytest.raises(ModelError, match=r"any\.tflite: the input .* has no fixed size"):
        import_classifier(read_model_file(path), tmp_path / "m.tflite", license_name="MIT")
    assert list(tmp_path.iterdir()) == [path]


def test_a_cut_that_does_not_work_is_told_by_the_name_it_was_to_have(tmp_path: Path) -> None:
    path = tmp_path / "blind.tflite"
    path.write_bytes(blind_classifier())
    with pytest.raises(ModelError, match=r"m\.tflite: the model ") as caught:
        import_classifier(read_model_file(path), tmp_path / "m.tflite", license_name="MIT")
    assert ".new-" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def blind_classifier() -> bytes:
    """Return a classifier that rounds the sigmoid of what it sees up: to one, for any picture."""
    tensors = [
        Tensor("input", (1, 16, 16, 3), "float32"),
        *(Tensor(name, (1, 1, 1, 3), "float32") for name in ("mean", "sigmoid", "ones")),
        Tensor("kernel", (2, 1, 1, 3), "float32", weights=(1.0,) * 6),
        Tensor("bias", (2,), "float32", weights=(0.1, 0.2)),
        Tensor("logits", (1, 1, 1, 2), "float32"),
    ]
    steps: dict[int, Field] = {slot: Scalar("i", 1) for slot in (1, 2, 4, 5)}
    operators = [
        pooling(0, 1, window=16),
        Operator(LOGISTIC, (1,), (2,)),
        Operator(CEIL, (2,), (3,)),
        Operator(CONV_2D, (3, 4, 5), (6,), 1, Node({0: Scalar("b", 1), **steps})),
    ]
    return model_bytes(tensors, operators, inputs=[0], outputs=[6])
