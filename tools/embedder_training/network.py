"""The student: MobileNetV3-Small in its minimalistic form (ReLU, 3x3, no squeeze-excite).

Every convolution pads symmetrically, so the Keras twin in the export tool is exact.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedder_training.targets import GLOBAL_DIM, SPATIAL_DIM
from embedder_training.teachers import GRID

# (expanded channels, output channels, stride) of the paper's Small table
BLOCKS = (
    (16, 16, 2),
    (72, 24, 2),
    (88, 24, 1),
    (96, 40, 2),
    (240, 40, 1),
    (240, 40, 1),
    (120, 48, 1),
    (144, 48, 1),
    (288, 96, 2),
    (576, 96, 1),
    (576, 96, 1),
)
STEM = 16
MIDDLE_BLOCKS = 8  # the last block at stride 16: its map joins the spatial output


def channels(value: int, width: float) -> int:
    """Return `value` scaled by `width`, a multiple of 8, never more than 10 % below."""
    if width == 1.0:
        return value
    scaled = max(8, int(value * width + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * value * width else scaled


@dataclass(frozen=True)
class Shape:
    """What a checkpoint must remember to rebuild its network."""

    width: float = 1.0
    last: int = 576
    hidden: int = 768


class ConvNorm(nn.Sequential):  # type: ignore[misc,unused-ignore]
    """Convolution without bias, batch norm, and a ReLU unless told otherwise."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        convolution = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
        layers: list[nn.Module] = [convolution, nn.BatchNorm2d(outputs, momentum=0.1)]
        if relu:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Block(nn.Module):  # type: ignore[misc,unused-ignore]
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, expanded: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = ConvNorm(inputs, expanded) if expanded != inputs else None
        self.depthwise = ConvNorm(expanded, expanded, 3, stride=stride, groups=expanded)
        self.project = ConvNorm(expanded, outputs, relu=False)
        self.residual = stride == 1 and inputs == outputs

    def widen(self, x: Tensor) -> Tensor:
        """Return the map after the depthwise convolution."""
        wide: Tensor = self.depthwise(x if self.expand is None else self.expand(x))
        return wide

    def close(self, x: Tensor, wide: Tensor) -> Tensor:
        """Return the block's map from its input and its widened map."""
        y: Tensor = self.project(wide)
        return x + y if self.residual else y


class Student(nn.Module):  # type: ignore[misc,unused-ignore]
    """Maps (N, 3, S, S) in [-1, 1] to the global (N, 256) and spatial (N, C, 4, 4) outputs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        count = channels(STEM, shape.width)
        self.stem = ConvNorm(3, count, 3, stride=2)
        self.blocks = nn.ModuleList()
        for expanded, outputs, stride in BLOCKS:
            outs = channels(outputs, shape.width)
            inner = count if expanded == STEM else channels(expanded, shape.width)
            self.blocks.append(Block(count, inner, outs, stride))
            count = outs
        middle = channels(BLOCKS[MIDDLE_BLOCKS - 1][1], shape.width)
        self.last = ConvNorm(count, shape.last)
        self.hidden = nn.Linear(shape.last, shape.hidden)
        self.embed = nn.Linear(shape.hidden, GLOBAL_DIM)
        self.shrink = ConvNorm(middle, middle, 3, stride=2, groups=middle, relu=False)
        self.cells = nn.Conv2d(shape.last + middle, SPATIAL_DIM, 1)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return every map that an output may be made of: block1, depthwise1 ... last."""
        x = self.stem(x)
        found: dict[str, Tensor] = {}
        for number, block in enumerate(self.blocks, start=1):
            wide = block.widen(x)
            x = block.close(x, wide)
            found[f"depthwise{number}"], found[f"block{number}"] = wide, x
        found["last"] = self.last(x)
        return found

    def hide(self, maps: dict[str, Tensor]) -> Tensor:
        """Return the hidden layer of the global output, (N, hidden)."""
        return functional.relu(self.hidden(maps["last"].mean(dim=(2, 3))))

    def join(self, maps: dict[str, Tensor]) -> Tensor:
        """Return what the spatial output is projected from, at the stride of the last map."""
        return torch.cat([maps["last"], self.shrink(maps[f"block{MIDDLE_BLOCKS}"])], dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both outputs, not normalised."""
        maps = self.maps(x)
        return self.embed(self.hide(maps)), to_grid(self.cells(self.join(maps)))


def to_grid(cells: Tensor) -> Tensor:
    """Return the map resized to GRID x GRID; a map of that size is returned as it is."""
    if cells.shape[-1] == GRID:
        return cells
    return functional.interpolate(cells, size=(GRID, GRID), mode="bilinear", align_corners=False)


def load_student(checkpoint: dict[str, Any]) -> Student:
    """Return the averaged student of a checkpoint, in evaluation mode."""
    student = Student(Shape(**checkpoint["shape"]))
    student.load_state_dict(checkpoint["average"])
    student.eval()
    return student
