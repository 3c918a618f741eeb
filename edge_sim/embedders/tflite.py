"""Any TFLite image embedder or classifier as an Embedder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import BgrImage, Embedding, check_picture
from edge_sim.embedders.card import ModelCard, read_card
from edge_sim.embedders.model_file import ModelFile, TensorSpec, read_model_file
from edge_sim.embedders.runtime import AUTO, BROKEN, Runtime, choose_runtime, first_line
from edge_sim.embedders.tensors import TensorPlan, pixel_table, plan_tensors
from edge_sim.errors import ModelError
from edge_sim.imaging import squash, squash_into

PREPROCESSING = 2
"""Version of what `embed` does to pixels; a change makes other embeddings, so another model id."""


class TfliteEmbedder:
    """Embeds with a TFLite model. One thread per embedder: the buffers are shared between calls.

    Args:
        model: The checked file.
        card: Its card, None if it has none.
        runtime: The runtime in use.
        interpreter: Of that runtime, built on the file's bytes, tensors allocated.
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
        # Whole numbers times a sane scale are finite: checking 1,024 of them takes a tenth of what
        # is left beside the inference.
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
        """The larger side of the model's input."""
        height, width, _ = self._small.shape
        side: int = max(height, width)
        return side

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of (H, W, 3) uint8 BGR pixels of any size from 1x1 up.

        Raises:
            ModelError: The model fails, or gives zero, NaN or infinity.
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


def open_tflite(path: Path, *, threads: int = 1, runtime: str = AUTO) -> TfliteEmbedder:
    """Return an embedder for a .tflite file and the card beside it, if there is one.

    What it can be: see `tensors.plan_tensors`; how pixels are scaled: `tensors.pixel_table`.

    Args:
        path: The .tflite file.
        threads: That the runtime may use for one picture.
        runtime: `auto`, `ai-edge-litert` or `tflite-runtime`.

    Raises:
        ModelError: The file, its card or the runtime cannot be used.
    """
    if threads < 1:
        raise ModelError(f"threads must be 1 or more, got {threads}")
    model = read_model_file(path)
    card = read_card(path, model.sha256)
    plan_tensors(model, card)  # What is wrong with the file is said before a runtime is needed.
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
