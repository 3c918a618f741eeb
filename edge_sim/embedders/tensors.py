"""Which tensor of a model is the picture and which are the answers, from the file and its card."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.embedders.card import CardOutput, ModelCard
from edge_sim.embedders.model_file import ModelFile, TensorSpec
from edge_sim.errors import ModelError

INPUT_DTYPES = ("uint8", "int8", "float32")
OUTPUT_DTYPES = ("uint8", "int8", "int16", "float16", "float32")
DEFAULT_MEAN = 127.5
DEFAULT_STD = 127.5
"""A float model without a card is given [-1, 1]: what the MobileNet family was trained with."""


SMALLEST_STD = 1e-3
"""Grey levels. Below this a card is wrong: one level would be a thousand times the usual input."""


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """How pixels go in and embeddings come out.

    Args:
        picture: The input, (1, H, W, 3).
        order: `RGB` or `BGR`: what the model wants.
        mean: Per channel in that order, grey levels; None if the file's quantization says it all.
        std: As `mean`.
        vector: The output that is flattened and normalised.
        spatial: The output (1, G, G, C) of cells, or None. Where it is the same tensor as `vector`,
            the vector is the mean of the cells.
    """

    picture: TensorSpec
    order: str
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    vector: TensorSpec
    spatial: TensorSpec | None

    @property
    def dimension(self) -> int:
        """Length of the global vector."""
        if self.vector == self.spatial:
            return self.vector.shape[3]
        return math.prod(_fixed(self.vector.shape))

    @property
    def mark(self) -> str:
        """Short hash: plans with the same mark give the same embeddings."""
        return f"{zlib.crc32(repr(self).encode()):08x}"


def plan_tensors(model: ModelFile, card: ModelCard | None) -> TensorPlan:
    """Return how to use a model.

    Without a card: RGB order; of one output the whole is the global vector, unless it is a grid
    (1, G, G, C) of cells, whose mean is taken; of two outputs the grid is `spatial`.

    Raises:
        ModelError: The model is no image embedder, or the card contradicts the file.
    """
    picture = _picture(model, card)
    mean, std = _normalisation(model, card)
    if card is None:
        vector, spatial = _infer_outputs(model)
    else:
        vector = _named_output(model, card.outputs.vector, "global")
        wanted = card.outputs.spatial
        spatial = None if wanted is None else _named_output(model, wanted, "spatial")
    for output in (vector, *(() if spatial is None else (spatial,))):
        _check_output(model, output)
    if spatial is not None and len(spatial.shape) != 4:
        raise ModelError(f"{model.path}: spatial must be (1, G, G, C), the output is {spatial}")
    order = "RGB" if card is None else card.input.order
    return TensorPlan(picture, order, mean, std, vector, spatial)


def pixel_table(plan: TensorPlan) -> NDArray[Any] | None:
    """Return the (1, 256, 3) table from grey level to input value; None: levels go in as they are.

    float32: (level - mean) / std. Quantized with mean and std on the card: the same, then
    value / scale + zero_point, rounded. Quantized without: uint8 takes the level, int8 the level
    - 128, which is what quantization to the full range of a uint8 picture comes to.
    """
    spec = plan.picture
    levels = np.arange(256, dtype=np.float64)[None, :, None].repeat(3, axis=2)
    table: NDArray[Any]
    if plan.mean is None or plan.std is None:
        table = (levels - (0.0 if spec.dtype == "uint8" else 128.0)).astype(spec.dtype)
    else:
        values = (levels - np.array(plan.mean)) / np.array(plan.std)
        table = values.astype(np.float32) if spec.dtype == "float32" else _quantize(values, spec)
    return None if spec.dtype == "uint8" and np.array_equal(table, levels) else table


def _quantize(values: NDArray[np.float64], spec: TensorSpec) -> NDArray[Any]:
    bounds = np.iinfo(spec.dtype)
    stored = np.rint(values / spec.scale + spec.zero_point)
    return np.clip(stored, bounds.min, bounds.max).astype(spec.dtype)


def _picture(model: ModelFile, card: ModelCard | None) -> TensorSpec:
    if len(model.inputs) != 1:
        raise ModelError(
            f"{model.path}: the model has {len(model.inputs)} inputs; an image embedder has one"
        )
    spec = model.inputs[0]
    if spec.dtype not in INPUT_DTYPES:
        raise ModelError(
            f"{model.path}: the input is {spec.dtype}; convert the model with "
            f"{', '.join(INPUT_DTYPES)} input"
        )
    if len(spec.shape) != 4:
        raise ModelError(
            f"{model.path}: the input has shape {spec.shape}; an image embedder has (1, H, W, 3)"
        )
    batch, height, width, channels = spec.shape
    if channels != 3:
        raise ModelError(
            f"{model.path}: the input {spec.shape} has {channels} channels last; convert the model "
            f"with a colour picture (1, H, W, 3) as input"
        )
    # An open batch (-1) is common and harmless: runtimes make it 1.
    if batch not in (1, -1) or height < 1 or width < 1:
        raise ModelError(
            f"{model.path}: the input {spec.shape} has no fixed size; convert the model with a "
            f"fixed shape (1, H, W, 3)"
        )
    if card is not None and (card.input.size, card.input.dtype) != (height, spec.dtype):
        raise ModelError(
            f"{model.path}: the card says {card.input.dtype} {card.input.size} px, the file has "
            f"{spec.dtype} {height} px; correct the card"
        )
    return spec


def _normalisation(
    model: ModelFile, card: ModelCard | None
) -> tuple[tuple[float, float, float], tuple[float, float, float]] | tuple[None, None]:
    given = card.preprocessing if card is not None else None
    spec = model.inputs[0]
    if isinstance(given, dict) and ("mean" in given or "std" in given):
        if spec.dtype != "float32" and not spec.scale > 0:
            raise ModelError(f"{model.path}: the card has mean and std, but the input has no scale")
        mean = _triple(model, given.get("mean", 0.0), "mean")
        std = _triple(model, given.get("std", 1.0), "std")
        if min(std) < SMALLEST_STD:
            raise ModelError(f"{model.path}: the card's std must be above 0, got {std}")
        return mean, std
    if spec.dtype == "float32":
        return (DEFAULT_MEAN,) * 3, (DEFAULT_STD,) * 3
    return None, None


def _triple(model: ModelFile, given: Any, what: str) -> tuple[float, float, float]:
    values = given if isinstance(given, list) else [given] * 3
    sound = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    if len(values) != 3 or not sound:
        raise ModelError(f"{model.path}: the card's {what} must be 1 or 3 numbers, got {given!r}")
    return float(values[0]), float(values[1]), float(values[2])


def _infer_outputs(model: ModelFile) -> tuple[TensorSpec, TensorSpec | None]:
    grids = [output for output in model.outputs if _is_grid(output)]
    others = [output for output in model.outputs if not _is_grid(output)]
    if len(grids) + len(others) == 1:
        return (grids[0], grids[0]) if grids else (others[0], None)
    if len(grids) == 1 and len(others) == 1:
        return others[0], grids[0]
    raise ModelError(
        f"{model.path}: which of {len(model.outputs)} outputs is the embedding? Say it in a card, "
        f"{model.path.stem}.json: outputs.global and outputs.spatial"
    )


def _is_grid(output: TensorSpec) -> bool:
    return len(output.shape) == 4 and output.shape[1] * output.shape[2] > 1


def _named_output(model: ModelFile, wanted: CardOutput, what: str) -> TensorSpec:
    found = _pick(model.outputs, wanted)
    if found is None:
        names = ", ".join(f"{number}: {spec.name}" for number, spec in enumerate(model.outputs))
        raise ModelError(
            f"{model.path}: the card's outputs.{what} (name {wanted.name!r}, index {wanted.index}) "
            f"is not among the outputs of the file ({names})"
        )
    if wanted.shape is not None and wanted.shape != _fixed(found.shape):
        raise ModelError(
            f"{model.path}: the card gives outputs.{what} the shape {wanted.shape}, the file "
            f"{found.shape}; correct the card"
        )
    return found


def _pick(outputs: Sequence[TensorSpec], wanted: CardOutput) -> TensorSpec | None:
    """Return the output of that name, else the one at that position."""
    if wanted.name is not None:
        matches = [output for output in outputs if output.name == wanted.name]
        if len(matches) == 1:
            return matches[0]
    if wanted.index is not None and 0 <= wanted.index < len(outputs):
        return outputs[wanted.index]
    return None


def _check_output(model: ModelFile, output: TensorSpec) -> None:
    if output.dtype not in OUTPUT_DTYPES:
        raise ModelError(f"{model.path}: the output {output} cannot be an embedding")
    if not output.shape or any(size < 1 for size in _fixed(output.shape)):
        raise ModelError(
            f"{model.path}: the output {output.shape} has no fixed size; convert again"
        )
    if output.shape[0] not in (1, -1):
        raise ModelError(f"{model.path}: the output {output.shape} is not for one picture")
    if output.dtype in ("uint8", "int8", "int16") and not output.scale > 0:
        raise ModelError(f"{model.path}: the output {output} has no scale; convert the model again")


def _fixed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with an open batch made 1."""
    return (1, *shape[1:]) if shape[:1] == (-1,) else shape
