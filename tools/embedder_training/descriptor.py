"""The outputs of the exported model: the student's own, joined with maps of earlier layers.

The student learns what the teachers see; early layers keep colour and texture that it drops. Every
part is centred, its axes scaled by variance^-WHITENING, weighted; the joined parts are reduced by
PCA. All of it is linear, so it becomes one 1x1 convolution per part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from embedder_training.batches import normalise, to_input
from embedder_training.network import Student, to_grid
from embedder_training.pack import Pixels

Floats = npt.NDArray[np.float32]

# Chosen on the states and retrieval sets among about thirty combinations (DESIGN.md).
GLOBAL_PARTS = {"embed": 1.0, "block11": 0.5, "depthwise5": 0.4, "depthwise1": 0.4}
SPATIAL_PARTS = {"cells": 1.0, "block3": 0.7}
EARLY_STRIDE = 4  # block3 is four times finer than the last map
GLOBAL_DIM, SPATIAL_DIM = 256, 64
GLOBAL_WHITENING, SPATIAL_WHITENING = 0.1, 0.35
FLOOR = 1e-4  # of the largest variance: below it an axis is noise
FIT_BATCH = 64


@dataclass(frozen=True)
class Linear:
    """One part's share of an output: weight (outputs, inputs) and bias (outputs,)."""

    weight: Floats
    bias: Floats


def _axes(rows: Floats, exponent: float, floor: float) -> Floats:
    spread, axes = np.linalg.eigh(np.cov(rows.T))
    spread = np.maximum(spread, spread.max() * floor)
    return np.asarray(axes * spread**-exponent, dtype=np.float32)


def fit(
    parts: Mapping[str, Floats], weights: Mapping[str, float], *, outputs: int, exponent: float
) -> dict[str, Linear]:
    """Return per part the linear map whose sum over the parts is the joint descriptor."""
    means = {name: parts[name].mean(axis=0) for name in weights}
    scaled, transforms = [], {}
    for name, weight in weights.items():
        axes = _axes(parts[name] - means[name], exponent, FLOOR)
        rows = (parts[name] - means[name]) @ axes
        factor = weight / np.sqrt(np.square(rows).sum(axis=1).mean())
        transforms[name] = axes * factor
        scaled.append(rows * factor)
    spread, axes = np.linalg.eigh(np.cov(np.concatenate(scaled, axis=1).T))
    kept = axes[:, np.argsort(spread)[::-1][:outputs]].astype(np.float32)
    found, start = {}, 0
    for name, transform in transforms.items():
        weight_of = (transform @ kept[start : start + transform.shape[1]]).T
        found[name] = Linear(weight_of, -weight_of @ means[name])
        start += transform.shape[1]
    return found


class Described(nn.Module):  # type: ignore[misc,unused-ignore]
    """A student with the fitted maps in place of its own projections."""

    def __init__(
        self,
        student: Student,
        global_maps: Mapping[str, Linear],
        spatial_maps: Mapping[str, Linear],
    ) -> None:
        super().__init__()
        self.student = student
        self.global_parts = nn.ModuleDict(
            {
                name: _layer(part, student.embed if name == "embed" else None)
                for name, part in global_maps.items()
            }
        )
        self.spatial_parts = nn.ModuleDict(
            {
                name: _layer(part, student.cells if name == "cells" else None)
                for name, part in spatial_maps.items()
            }
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both outputs, not normalised."""
        maps = self.student.maps(x)
        sources = {
            **{name: _mean(part) for name, part in maps.items()},
            "embed": self.student.hide(maps)[:, :, None, None],
        }
        first = sum(layer(sources[name]) for name, layer in self.global_parts.items())
        grids = {
            "cells": self.student.join(maps),
            "block3": functional.avg_pool2d(maps["block3"], EARLY_STRIDE),
        }
        second = sum(layer(grids[name]) for name, layer in self.spatial_parts.items())
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        return first.flatten(1), to_grid(second)


def _mean(part: Tensor) -> Tensor:
    return part.mean(dim=(2, 3), keepdim=True)


def _layer(part: Linear, after: nn.Linear | nn.Conv2d | None) -> nn.Conv2d:
    """Return the 1x1 convolution of a part, joined with the projection that came before it."""
    weight, bias = part.weight, part.bias
    if after is not None:
        assert after.bias is not None
        bias = bias + weight @ after.bias.detach().numpy()
        weight = weight @ after.weight.detach().flatten(1).numpy()
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight))[:, :, None, None].float()
    layer.bias = nn.Parameter(torch.from_numpy(bias).float())
    return layer


def _collect(
    student: Student, pictures: Pixels, read: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Floats]:
    found: dict[str, list[Floats]] = {}
    for start in range(0, len(pictures), FIT_BATCH):
        part = torch.from_numpy(np.ascontiguousarray(pictures[start : start + FIT_BATCH]))
        with torch.inference_mode():
            for name, rows in read(student.maps(normalise(to_input(part)))).items():
                found.setdefault(name, []).append(rows.numpy())
    return {name: np.concatenate(rows) for name, rows in found.items()}


def _rows(grid: Tensor) -> Tensor:
    return grid.permute(0, 2, 3, 1).flatten(0, 2)


def describe(student: Student, pictures: Pixels) -> Described:
    """Return the student with outputs fitted on RGB pictures of its pack."""

    def read(maps: dict[str, Tensor]) -> dict[str, Tensor]:
        early = functional.avg_pool2d(maps["block3"], EARLY_STRIDE)
        return {
            **{name: _mean(maps[name]).flatten(1) for name in GLOBAL_PARTS if name in maps},
            "embed": student.embed(student.hide(maps)),
            "cells": _rows(to_grid(student.cells(student.join(maps)))),
            "block3": _rows(to_grid(early)),
        }

    parts = _collect(student, pictures, read)
    described = Described(
        student,
        fit(parts, GLOBAL_PARTS, outputs=GLOBAL_DIM, exponent=GLOBAL_WHITENING),
        fit(parts, SPATIAL_PARTS, outputs=SPATIAL_DIM, exponent=SPATIAL_WHITENING),
    )
    described.eval()
    return described
