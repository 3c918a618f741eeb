"""Embedder of a TFLite model; its tensors are found from the file and its card."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import squash, squash_into
from edge_sim.core.types import BgrImage, Embedding, check_picture
from edge_sim.errors import ModelError
from edge_sim.vision.embedders.card import CardOutput, ModelCard, read_card
from edge_sim.vision.embedders.model_file import ModelFile, TensorSpec, read_model_file
from edge_sim.vision.embedders.model_trial import check_verified
from edge_sim.vision.embedders.runtime import AUTO, BROKEN, Runtime, choose_runtime, first_line

INPUT_DTYPES = ("uint8", "int8", "float32")
OUTPUT_DTYPES = ("uint8", "int8", "int16", "float16", "float32")
DEFAULT_MEAN = 127.5
DEFAULT_STD = 127.5
"""A float model without a card gets [-1, 1], as in the training of the MobileNet family."""


SMALLEST_STD = 1e-3
"""Least `std` of a card, grey levels; less makes one level a thousand times the usual input."""


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """Input and outputs of a model, and the scaling of pixels.

    Args:
        picture: Input tensor, (1, H, W, 3).
        order: `RGB` or `BGR`, the colour order of the model.
        mean: Mean per channel in that order, grey levels; None if the quantization of the file is
            enough.
        std: Deviation per channel, grey levels; None with `mean`.
        vector: Output tensor that is flattened and normalised.
        spatial: Output tensor (1, G, G, C) of cells, or None. Where it is the same tensor as
            `vector`, the vector is the mean of the cells.
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
    """Return the use of the tensors of a model.

    Without a card: RGB order; a single output is the global vector, unless it is a grid
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
            f"{model.path}: the card has {card.input.dtype} {card.input.size} px, the file has "
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
        f"{model.path}: which of {len(model.outputs)} outputs is the embedding? Name it in a "
        f"card, {model.path.stem}.json: outputs.global and outputs.spatial"
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


PREPROCESSING = 2
"""Version of the scaling of pixels; a change gives other embeddings, hence another model id."""


class TfliteEmbedder:
    """Embedder of a TFLite model. One thread per embedder: the buffers are shared between calls.

    Args:
        model: Checked file.
        card: Card of the model; None without one.
        runtime: Runtime in use.
        interpreter: Interpreter of that runtime on the bytes of the file, tensors allocated.
    """

    def __init__(
        self, model: ModelFile, card: ModelCard | None, *, runtime: Runtime, interpreter: Any
    ) -> None:
        self.model = model
        self.card = card
        self.runtime = runtime
        self.interpreter = interpreter
        self.plan = plan_tensors(model, card)
        _, height, width, _ = self.plan.picture.shape
        self._table = pixel_table(self.plan)
        self._small: BgrImage = np.empty((height, width, 3), np.uint8)
        self._ordered: NDArray[np.uint8] = np.empty((height, width, 3), np.uint8)
        # A view of the runtime's own memory, made anew per call: a runtime refuses to run while a
        # view is held.
        self._input: Callable[[], NDArray[Any]] = interpreter.tensor(self.plan.picture.index)
        self._model_id = _model_id(model, self.plan)
        # Whole numbers times a sane scale are finite: checking 1,024 of them takes a tenth of the
        # time beside the inference.
        cells = self.plan.spatial
        self._may_overflow = cells is None or cells.dtype.startswith("float") or cells.scale > 1e30

    @property
    def model_id(self) -> str:
        """`<stem>@<12 digits of sha256>/p<version>`, and a mark where a card changes the use."""
        return self._model_id

    @property
    def dimension(self) -> int:
        """Length of the global vector."""
        return self.plan.dimension

    @property
    def input_px(self) -> int:
        """Larger side of the model's input."""
        height, width, _ = self._small.shape
        side: int = max(height, width)
        return side

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of (H, W, 3) uint8 BGR pixels of any size from 1x1 up.

        Raises:
            ModelError: The model fails, or its output is zero, NaN or infinity.
            PictureError: Not (H, W, 3) uint8.
        """
        check_picture(pixels)
        self._fill(pixels)
        try:
            self.interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self.model.path}: the model fails ({first_line(error)})") from error
        return self._embedding()

    def _fill(self, pixels: BgrImage) -> None:
        """Write the squashed picture into the model's input, in its order and number format."""
        small: NDArray[Any] = pixels
        if small.shape != self._small.shape:
            if self._small.shape[0] != self._small.shape[1]:
                pixels = squash(pixels, self.input_px)  # what `input_px` promises
            small = squash_into(pixels, self._small)
        view = self._input()[0]
        is_rgb = self.plan.order == "RGB"
        if self._table is None:
            if is_rgb:
                cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=view)
            else:
                np.copyto(view, small)
            return
        if is_rgb:
            small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=self._ordered)
        cv2.LUT(small, self._table, dst=view)

    def _embedding(self) -> Embedding:
        spatial = None
        if self.plan.spatial is not None:
            spatial = self._real(self.plan.spatial)[0]
        if spatial is not None and self.plan.vector == self.plan.spatial:
            vector = spatial.mean(axis=(0, 1))
        else:
            vector = self._real(self.plan.vector).ravel()
        norm = float(vector @ vector) ** 0.5
        if not 0.0 < norm < np.inf:  # also catches NaN
            raise ModelError(
                f"{self.model.path}: the model gives {'zero' if norm == 0 else 'NaN or infinity'} "
                f"for this picture; use another model"
            )
        if spatial is not None and self._may_overflow and not np.isfinite(spatial).all():
            raise ModelError(f"{self.model.path}: the spatial output holds NaN or infinity")
        return Embedding(vector / np.float32(norm), spatial, self._model_id)

    def _real(self, spec: TensorSpec) -> NDArray[np.float32]:
        """Return a fresh float32 copy of an output, dequantized."""
        try:
            stored: NDArray[Any] = self.interpreter.get_tensor(spec.index)
        except ValueError as error:  # A graph that never computes this output.
            raise ModelError(f"{self.model.path}: no output ({first_line(error)})") from error
        values = stored.astype(np.float32)
        if spec.scale and not spec.dtype.startswith("float"):
            values -= np.float32(spec.zero_point)
            values *= np.float32(spec.scale)
        return values


def open_tflite(
    path: Path, *, threads: int = 1, runtime: str = AUTO, verified_only: bool = False
) -> TfliteEmbedder:
    """Return an embedder for a .tflite file and the card beside it, if there is one.

    See `plan_tensors` for the choice of tensors, `pixel_table` for the scaling of pixels.

    Args:
        path: Path of the .tflite file.
        threads: Largest number of threads of the runtime for one picture, at least 1.
        runtime: `auto`, `ai-edge-litert` or `tflite-runtime`.
        verified_only: True to load only a file whose SHA-256 is on its card or on the list of
            verified models beside it.

    Raises:
        ModelError: The file, its card or the runtime cannot be used, or it is not verified.
    """
    if threads < 1:
        raise ModelError(f"threads must be 1 or more, got {threads}")
    model = read_model_file(path)
    card = read_card(path, model.sha256)
    plan_tensors(model, card)  # Errors of the file come before a runtime is needed.
    if verified_only and card is None:
        check_verified(path, model.sha256)
    chosen = choose_runtime(runtime)
    interpreter = _build(model, chosen, threads)
    return TfliteEmbedder(model, card, runtime=chosen, interpreter=interpreter)


def _build(model: ModelFile, runtime: Runtime, threads: int) -> Any:
    try:
        interpreter = runtime.build(model_content=model.data, num_threads=threads)
        interpreter.allocate_tensors()
    except BROKEN as error:
        custom = f"; it needs {', '.join(model.custom_operators)}" if model.custom_operators else ""
        raise ModelError(
            f"{model.path}: {runtime.name} {runtime.version} cannot load the model "
            f"({first_line(error)}){custom}; convert it with builtin operators only, or for an "
            f"older runtime"
        ) from error
    return interpreter


def _model_id(model: ModelFile, plan: TensorPlan) -> str:
    plain = f"{model.model_name}/p{PREPROCESSING}"
    try:
        same = plan_tensors(model, None) == plan
    except ModelError:  # Without the card there is no plan at all.
        same = False
    return plain if same else f"{plain}.{plan.mark}"
