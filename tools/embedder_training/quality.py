"""Quick quality of a student during training, and the picture of its curves."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from embedder_training.batches import normalise, to_input
from embedder_training.pack import Pixels, held_out
from embedder_training.probe import (
    Floats,
    Pictures,
    load_retrieval,
    load_states,
    mean_average_precision,
    states_report,
)
from embedder_training.targets import open_view

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Point:
    """One point of the curves."""

    samples: int
    side: int
    minutes: float
    cosine_global: float
    cosine_spatial: float
    corel: float | None = None
    grocery: float | None = None
    states_mean: float | None = None
    states_worst: float | None = None


def embed(student: nn.Module, pixels: Pixels) -> tuple[Floats, Floats]:
    """Return global (N, 256) and spatial (N, 4, 4, C) of squashed RGB pictures."""
    device = next(student.parameters()).device
    first, second = [], []
    for start in range(0, len(pixels), EVALUATION_BATCH):
        part = torch.from_numpy(np.ascontiguousarray(pixels[start : start + EVALUATION_BATCH]))
        with torch.inference_mode():
            embedding, cells = student(normalise(to_input(part.to(device))))
        first.append(embedding.cpu().numpy())
        second.append(cells.permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(first), np.concatenate(second)


def held_out_cosines(student: nn.Module, work: Path, side: int) -> tuple[float, float]:
    """Return the mean cosine to the global and the spatial target on photos never trained on."""
    view = open_view(work, 0)
    chosen = np.flatnonzero(held_out(len(view.pixels)))
    pixels = to_input(torch.from_numpy(view.pixels[chosen]))
    pixels = functional.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
    rows = (pixels.permute(0, 2, 3, 1) * 255.0).round().to(torch.uint8).numpy()
    first, second = embed(student, rows)
    wanted = torch.from_numpy(view.global_targets[chosen]).float()
    cells = torch.from_numpy(view.spatial_targets[chosen]).float()
    return (
        float(functional.cosine_similarity(torch.from_numpy(first), wanted).mean()),
        float(functional.cosine_similarity(torch.from_numpy(second), cells, dim=3).mean()),
    )


class Watcher:
    """Measures a student on the held-out photos and, where it is there, the evaluation data."""

    def __init__(self, work: Path, data: Path, side: int) -> None:
        self._work, self._data, self._side = work, data, side
        self._retrieval: list[Pictures] = []
        self._states: list[Pictures] = []

    def _load(self) -> None:
        if not self._retrieval:
            paths = (self._data / "retrieval" / f"{name}.tar" for name in ("corel", "grocery"))
            self._retrieval = [load_retrieval(path, self._side) for path in paths if path.is_file()]
            self._states = load_states(self._data / "states", self._side)

    def measure(self, student: nn.Module, samples: int, minutes: float) -> Point:
        """Return one point of the curves."""
        self._load()
        first, second = held_out_cosines(student, self._work, self._side)
        found: dict[str, float] = {}
        for pictures in self._retrieval:
            rows, _ = embed(student, pictures.pixels)
            found[pictures.name] = round(mean_average_precision(rows, pictures.labels), 4)
        if self._states:
            report = states_report(self._states, lambda pixels: embed(student, pixels))
            found["states_mean"] = report["spatial_ridge"]["mean"]
            found["states_worst"] = report["spatial_ridge"]["worst"]
        return Point(
            samples, self._side, round(minutes, 1), round(first, 4), round(second, 4), **found
        )


def write_curves(points: Sequence[Point], folder: Path) -> None:
    """Write curves.json, and curves.png where matplotlib is installed."""
    (folder / "curves.json").write_text(json.dumps([asdict(point) for point in points], indent=1))
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for name in (
        "cosine_global",
        "cosine_spatial",
        "corel",
        "grocery",
        "states_mean",
        "states_worst",
    ):
        rows = [
            (point.samples, value)
            for point in points
            if (value := getattr(point, name)) is not None
        ]
        if rows:
            axes.plot(*zip(*rows, strict=True), marker=".", label=name)
    axes.set_xlabel("samples seen")
    axes.set_ylim(0.0, 1.0)
    axes.grid(True)
    axes.legend()
    figure.savefig(folder / "curves.png", dpi=100)
