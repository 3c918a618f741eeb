"""A card is read strictly, and only with the file it was written for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.card import read_card

HASH = "ab" * 32
VALID: dict[str, Any] = {
    "schema": 1,
    "name": "small",
    "file": "m.tflite",
    "sha256": HASH,
    "license": "Apache-2.0",
    "input": {"size": 128, "dtype": "uint8", "order": "RGB", "scale": 0.0078, "zero_point": 128},
    "outputs": {
        "global": {"name": "global", "shape": [1, 256]},
        "spatial": {"index": 1, "shape": [1, 4, 4, 40]},
    },
    "preprocessing": "squash to a square, RGB",
    "architecture": {"name": "any"},
    "training": {"steps": 1},
    "quality": {"any": 0.5},
    "runtime": {"partitions": 1},
    "a key of a later version": True,
}


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    return tmp_path / "m.tflite"


def write(model_path: Path, card: dict[str, Any]) -> None:
    model_path.with_suffix(".json").write_text(json.dumps(card))


def test_a_card_is_read(model_path: Path) -> None:
    write(model_path, VALID)
    card = read_card(model_path, HASH)
    assert card is not None
    assert (card.name, card.input.size, card.outputs.vector.shape) == ("small", 128, (1, 256))
    assert card.outputs.spatial is not None
    assert card.outputs.spatial.index == 1
    assert card.quality == {"any": 0.5}


def test_no_card_is_none(model_path: Path) -> None:
    assert read_card(model_path, HASH) is None


def test_a_card_for_another_file_is_refused(model_path: Path) -> None:
    write(model_path, VALID)
    with pytest.raises(ModelError, match=r"m\.json: the card is for a file with sha256 abab"):
        read_card(model_path, "cd" * 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2, this edge_sim reads 1"),
        ({"input": {"size": "big", "dtype": "uint8"}}, r"input\.size"),
        ({"input": {"size": 128, "dtype": "uint8", "order": "GRB"}}, "RGB or BGR"),
        ({"outputs": {}}, "global"),
        ({"license": None}, "license"),
    ],
)
def test_a_wrong_card_is_refused_by_key(
    model_path: Path, changes: dict[str, Any], message: str
) -> None:
    write(model_path, {**VALID, **changes})
    with pytest.raises(ModelError, match=message) as caught:
        read_card(model_path, HASH)
    assert "\n" not in str(caught.value)


def test_what_is_not_json_is_refused(model_path: Path) -> None:
    model_path.with_suffix(".json").write_bytes(b"\xff{")
    with pytest.raises(ModelError, match=r"m\.json: not a model card"):
        read_card(model_path, HASH)


def test_a_card_that_cannot_be_read_is_refused(model_path: Path) -> None:
    model_path.with_suffix(".json").mkdir()
    with pytest.raises(ModelError, match=r"m\.json: cannot read"):
        read_card(model_path, HASH)
