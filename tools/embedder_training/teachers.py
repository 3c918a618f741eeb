"""The two teachers: quantized classifiers cut before their pooling, run on one view each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder_training.pack import PackError, Pixels, squash

Floats = npt.NDArray[np.float32]

TEACHER_SIZE = 224
GRID = 4
TEACHER_MAPS = ("v3-small_uint8_map.tflite", "mobilenet_v2_map.tflite")


def find_teachers(folder: Path) -> list[Path]:
    """Return the files of both teachers.

    Raises:
        PackError: one is missing.
    """
    paths = [folder / name for name in TEACHER_MAPS]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise PackError(f"teachers missing in {folder}: {', '.join(missing)} (set EDGE_SIM_DATA)")
    return paths


def area_weights(cells: int, grid: int) -> Floats:
    """Return the (grid, cells) matrix that averages `cells` samples over `grid` equal spans."""
    edges = np.linspace(0.0, cells, grid + 1)
    starts = np.maximum(edges[:-1, None], np.arange(cells)[None, :])
    ends = np.minimum(edges[1:, None], np.arange(1, cells + 1)[None, :])
    overlap = np.maximum(ends - starts, 0.0)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True), dtype=np.float32)


class Teacher:
    """One teacher; `feature_map` returns its last feature map, dequantized."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]

    def feature_map(self, picture: Pixels) -> Floats:
        """Return (7, 7, channels) for an RGB picture of the teacher's size."""
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        scale, zero = self._output["quantization"]
        raw = self._interpreter.get_tensor(self._output["index"])[0].astype(np.float32)
        return np.asarray((raw - zero) * scale, dtype=np.float32)


def run_teachers(teachers: Sequence[Teacher], view: Pixels) -> tuple[list[Floats], list[Floats]]:
    """Return per teacher the pooled feature (channels,) and the grid (GRID, GRID, channels)."""
    picture = squash(view, TEACHER_SIZE)
    pooled, grids = [], []
    for teacher in teachers:
        feature_map = teacher.feature_map(picture)
        weights = area_weights(feature_map.shape[0], GRID)
        grids.append(np.einsum("ay,bx,yxc->abc", weights, weights, feature_map, optimize=True))
        pooled.append(feature_map.mean(axis=(0, 1)))
    return pooled, grids
