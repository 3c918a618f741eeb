"""The shipped model: its card belongs to it, its outputs are the golden ones on every kernel."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

LIMIT_BYTES = 1_500_000
Floats = npt.NDArray[np.float32]


@pytest.fixture
def card(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "models/edge_sim_small.json").read_text())
    return found


@pytest.fixture
def model(repository: Path, card: dict[str, Any]) -> Path:
    return repository / "models" / str(card["file"])


@pytest.fixture
def golden(repository: Path) -> dict[str, Any]:
    with np.load(repository / "tests/golden/embedder.npz") as stored:
        return dict(stored)


def load(repository: Path, name: str) -> ModuleType:
    folder = str(repository / "tools")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(f"embedder_training.{name}")


def distance(first: Floats, second: Floats) -> float:
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    return float(1.0 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_the_card_names_the_file_beside_it(model: Path, card: dict[str, Any]) -> None:
    assert card["schema"] == 1
    assert card["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert card["bytes"] == model.stat().st_size < LIMIT_BYTES


def test_the_card_tells_the_tensors_of_the_file(
    repository: Path, model: Path, card: dict[str, Any]
) -> None:
    embed = load(repository, "runtime_check").Embedder(model)
    assert card["input"]["size"] == embed.side
    assert card["input"]["order"] == "RGB"
    for name, detail in (("global", embed.global_output), ("spatial", embed.spatial_output)):
        assert card["outputs"][name]["name"] == detail["name"]
        assert card["outputs"][name]["shape"] == detail["shape"].tolist()


def test_the_golden_vectors_are_of_this_file(golden: dict[str, Any], card: dict[str, Any]) -> None:
    assert str(golden["sha256"]) == card["sha256"]


def test_the_golden_picture_is_the_one_of_the_formula(
    repository: Path, golden: dict[str, Any], card: dict[str, Any]
) -> None:
    made = load(repository, "golden").golden_picture(card["input"]["size"])
    np.testing.assert_array_equal(made, golden["picture"])


@pytest.mark.parametrize("reference", [False, True], ids=["fast kernels", "plain kernels"])
def test_outputs_are_the_golden_ones(
    repository: Path, model: Path, golden: dict[str, Any], reference: bool
) -> None:
    embed = load(repository, "runtime_check").Embedder(model, reference=reference)
    first, second = embed(golden["picture"][None])
    assert distance(first, golden["global"]) < golden["tolerance"]
    assert distance(second, golden["spatial"]) < golden["tolerance"]


def test_swapped_channels_and_a_turned_picture_are_not_the_golden_ones(
    repository: Path, model: Path, golden: dict[str, Any]
) -> None:
    embed = load(repository, "runtime_check").Embedder(model)
    picture = golden["picture"]
    wrong = np.stack([picture[:, :, ::-1], picture.transpose(1, 0, 2), picture[:, ::-1]])
    for found, cells in zip(*embed(np.ascontiguousarray(wrong)), strict=True):
        assert distance(found, golden["global"]) > golden["tolerance"]
        assert distance(cells, golden["spatial"]) > golden["tolerance"]


def test_litert_runs_the_whole_graph_as_one_partition(
    repository: Path, model: Path, card: dict[str, Any]
) -> None:
    pytest.importorskip("ai_edge_litert")
    report = load(repository, "runtime_check").report(model, [])
    assert report["models"][0]["partitions"] == 1 == card["runtime"]["xnnpack_partitions"]
