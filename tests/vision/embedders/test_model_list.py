"""The list of models says of each file what it is for, and never fails over a bad one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edge_sim.vision.embedders.model_file import read_model_file
from edge_sim.vision.embedders.model_import import import_classifier
from edge_sim.vision.embedders.model_list import list_models
from tests.vision.embedders.tiny_models import (
    classifier_model,
    grid_model,
    needs_litert,
    one_operator_model,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "models"
    made.mkdir()
    return made


@needs_litert
def test_embedders_and_classifiers_are_told_apart(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "grid.tflite").write_bytes(grid_model())
    (folder / "classes.tflite").write_bytes(classifier_model())
    source = read_model_file(folder / "classes.tflite")
    import_classifier(source, folder / "cut.tflite", license_name="MIT")
    found = list_models(tmp_path, folder)
    assert [(item.path.stem, item.origin, item.role, item.card) for item in found] == [
        ("grid", "shipped", "embedder", "no card"),
        ("classes", "imported", "classifier", "no card"),
        ("cut", "imported", "embedder", "matches its card"),
    ]
    assert found[0].input_px == (16, 16)
    assert found[0].outputs == (("global", (1, 48)), ("spatial", (1, 4, 4, 3)))
    assert found[1].sha256 == source.sha256
    assert all(item.problem is None for item in found)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "again"),
        (random.Random(0).randbytes(4000), "again"),
        (grid_model()[:200], "again"),
        (one_operator_model(inputs=[(1, 16, 16, 3), (1, 16, 16, 3)]), "has 2 inputs"),
        (one_operator_model(signature=(1, -1, -1, 3)), "has no fixed size"),
    ],
    ids=["empty", "random", "cut off", "two inputs", "dynamic shape"],
)
def test_a_file_that_is_no_model_is_unusable_with_the_reason(
    tmp_path: Path, folder: Path, data: bytes, message: str
) -> None:
    (folder / "bad.tflite").write_bytes(data)
    (folder / "good.tflite").write_bytes(grid_model())
    bad, good = list_models(tmp_path, folder)
    assert (bad.role, good.role) == ("unusable", "embedder")
    assert message in str(bad.problem)


@needs_litert
def test_a_card_of_another_file_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "classes.tflite").write_bytes(classifier_model())
    source = read_model_file(folder / "classes.tflite")
    import_classifier(source, folder / "cut.tflite", license_name="MIT")
    (folder / "cut.tflite").write_bytes(grid_model())
    (item,) = [item for item in list_models(tmp_path, folder) if item.path.stem == "cut"]
    assert (item.role, item.card) == ("unusable", "rejected")
    assert "the card is for a file with sha256" in str(item.problem)


def test_a_folder_that_is_not_there_has_no_models(tmp_path: Path) -> None:
    assert list_models(tmp_path / "a", tmp_path / "b") == ()


def test_a_file_that_is_being_written_is_not_listed(tmp_path: Path, folder: Path) -> None:
    (folder / ".new.tflite").write_bytes(grid_model())
    (folder / "m.tgz.part").write_bytes(b"half")
    assert list_models(tmp_path, folder) == ()


def test_a_folder_called_like_a_model_is_unusable(tmp_path: Path, folder: Path) -> None:
    (folder / "m.tflite").mkdir()
    (item,) = list_models(tmp_path, folder)
    assert (item.role, item.card) == ("unusable", "rejected")
