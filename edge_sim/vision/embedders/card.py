"""Model card: a JSON file beside the model with the facts that a .tflite file cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edge_sim.core.files import read_bounded
from edge_sim.errors import ModelError

SCHEMA = 1

_MAX_BYTES = 1_000_000


class CardInput(msgspec.Struct, frozen=True, kw_only=True):
    """Input picture of a model.

    Args:
        size: Side in pixels.
        dtype: `uint8`, `int8` or `float32`.
        order: `RGB` or `BGR`.
        scale: Quantization step of the file; informative.
        zero_point: Zero point of the file; informative.
    """

    size: int
    dtype: str
    order: str = "RGB"
    scale: float | None = None
    zero_point: int | None = None


class CardOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Output tensor, by name or by position in the file's list of outputs."""

    name: str | None = None
    index: int | None = None
    shape: tuple[int, ...] | None = None


class CardOutputs(msgspec.Struct, frozen=True, kw_only=True):
    """Outputs of a model: the global vector, and the spatial cells if there are any."""

    vector: CardOutput = msgspec.field(name="global")
    spatial: CardOutput | None = None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """Model card. Keys that are not listed here are free and ignored.

    Args:
        schema: Number of the schema: 1.
        name: Name of the model, for people.
        file: Name of the .tflite file.
        sha256: SHA-256 of the .tflite file, 64 hexadecimal digits.
        license: SPDX identifier of the weights.
        input: Input picture.
        outputs: Output tensors.
        preprocessing: `{"mean": m, "std": s}` in grey levels 0 to 255, each a number or three in
            the model's colour order: the input is (pixel - mean) / std. Without them see
            `tflite.pixel_table`.
        architecture: Free text or values.
        training: Free text or values.
        quality: Free text or values.
        runtime: Free text or values.
    """

    schema: int
    name: str
    file: str
    sha256: str
    license: str
    input: CardInput
    outputs: CardOutputs
    preprocessing: dict[str, Any] | str | None = None
    architecture: Any = None
    training: Any = None
    quality: Any = None
    runtime: Any = None


def card_path(model_path: Path) -> Path:
    """Return the path of the card of a model: beside it, with the suffix .json."""
    return model_path.with_suffix(".json")


def read_card(model_path: Path, sha256: str) -> ModelCard | None:
    """Return the card beside a model; None if there is none.

    Args:
        model_path: The .tflite file.
        sha256: SHA-256 of the .tflite file, 64 hexadecimal digits.

    Raises:
        ModelError: The card cannot be read, is not valid, or belongs to another file.
    """
    path = card_path(model_path)
    try:
        data = read_bounded(path, _MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(f"{path}: cannot read the model card ({reason})") from error
    card = _decode(path, data)
    if card.sha256.lower() != sha256:
        raise ModelError(
            f"{path}: the card is for a file with sha256 {card.sha256[:12]}, but {model_path.name} "
            f"has {sha256[:12]}; restore the model file or replace the card"
        )
    return card


def _decode(path: Path, data: bytes) -> ModelCard:
    try:
        card = msgspec.json.decode(data, type=ModelCard)
    except msgspec.DecodeError as error:
        raise ModelError(f"{path}: not a model card ({error}); correct or remove it") from error
    if card.schema != SCHEMA:
        raise ModelError(
            f"{path}: the card has schema {card.schema}, this edge_sim reads {SCHEMA}; "
            f"update edge_sim"
        )
    if card.input.order not in ("RGB", "BGR"):
        raise ModelError(f"{path}: input.order must be RGB or BGR, got {card.input.order!r}")
    return card
