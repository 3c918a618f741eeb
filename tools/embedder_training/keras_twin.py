"""The student rebuilt in Keras with the trained weights, batch norm folded, for the converter."""

from typing import Any

import keras
import numpy as np
import torch
from keras import layers
from torch import nn

from embedder_training.descriptor import EARLY_STRIDE, Described
from embedder_training.network import MIDDLE_BLOCKS, ConvNorm, Student
from embedder_training.teachers import GRID

Kernel = tuple[Any, Any]


def folded(layer: ConvNorm) -> Kernel:
    """Return the Keras kernel (H, W, I, O) and bias of a convolution with its batch norm."""
    convolution, norm = layer[0], layer[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    kernel = convolution.weight * scale[:, None, None, None]
    bias = norm.bias - norm.running_mean * scale
    return kernel.detach().permute(2, 3, 1, 0).numpy(), bias.detach().numpy()


def _convolve(x: Any, layer: ConvNorm, *, relu: bool, name: str) -> Any:
    convolution = layer[0]
    assert isinstance(convolution, nn.Conv2d)
    kernel, bias = folded(layer)
    stride = convolution.stride[0]
    side = convolution.kernel_size[0]
    padding = "same" if stride == 1 or side == 1 else "valid"
    if padding == "valid":
        x = layers.ZeroPadding2D(((1, 0), (1, 0)), name=f"{name}_pad")(x)
    options = {
        "strides": stride,
        "padding": padding,
        "name": name,
        "activation": "relu" if relu else None,
    }
    if convolution.groups > 1:
        built = layers.DepthwiseConv2D(side, **options)
        kernel = kernel.transpose(0, 1, 3, 2)
    else:
        built = layers.Conv2D(convolution.out_channels, side, **options)
    y = built(x)
    built.set_weights([kernel, bias])
    return y


def _project(x: Any, layer: nn.Linear | nn.Conv2d, name: str, *, relu: bool = False) -> Any:
    assert layer.bias is not None
    kernel = layer.weight.detach().flatten(1).T.numpy()[None, None]
    built = layers.Conv2D(kernel.shape[3], 1, activation="relu" if relu else None, name=name)
    y = built(x)
    built.set_weights([kernel, layer.bias.detach().numpy()])
    return y


def _cell_means(x: Any, stride: int, name: str) -> Any:
    """Average stride x stride cells; XNNPACK pools no int8, so a depthwise layer does."""
    count = x.shape[-1]
    built = layers.DepthwiseConv2D(stride, strides=stride, use_bias=False, name=name)
    y = built(x)
    built.set_weights([np.full((stride, stride, count, 1), stride**-2.0, np.float32)])
    return y


def _to_grid(cells: Any) -> Any:
    if cells.shape[1] == GRID:
        return cells
    return layers.Resizing(GRID, GRID, interpolation="bilinear", name="grid")(cells)


def _maps(student: Student, picture: Any) -> dict[str, Any]:
    x = _convolve(picture, student.stem, relu=True, name="stem")
    found: dict[str, Any] = {}
    for number, block in enumerate(student.blocks, start=1):
        wide = x
        if block.expand is not None:
            wide = _convolve(wide, block.expand, relu=True, name=f"block{number}_expand")
        wide = _convolve(wide, block.depthwise, relu=True, name=f"block{number}_depthwise")
        y = _convolve(wide, block.project, relu=False, name=f"block{number}_project")
        x = layers.Add(name=f"block{number}")([x, y]) if block.residual else y
        found[f"depthwise{number}"], found[f"block{number}"] = wide, x
    found["last"] = _convolve(x, student.last, relu=True, name="last")
    return found


def _mean(x: Any, name: str) -> Any:
    return layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)


def _sum(parts: list[Any], name: str) -> Any:
    total = parts[0]
    for number, part in enumerate(parts[1:], start=1):
        total = layers.Add(name=f"{name}_sum{number}")([total, part])
    return total


def build(model: Described, side: int) -> keras.Model:
    """Return the Keras model for RGB values -1 to 1, outputs named global and spatial.

    There is no rescaling layer: the converter makes the scale of the uint8 input of it.
    """
    student = model.student
    picture = keras.Input((side, side, 3), batch_size=1, name="picture")
    maps = _maps(student, picture)
    hidden = _project(_mean(maps["last"], "last"), student.hidden, "hidden", relu=True)
    first = [
        _project(hidden if name == "embed" else _mean(maps[name], name), layer, f"global_{name}")
        for name, layer in model.global_parts.items()
    ]
    shrunk = _convolve(maps[f"block{MIDDLE_BLOCKS}"], student.shrink, relu=False, name="shrink")
    joined = layers.Concatenate(name="joined")([maps["last"], shrunk])
    second = [
        _project(joined, model.spatial_parts["cells"], "spatial_cells"),
        _project(
            _cell_means(maps["block3"], EARLY_STRIDE, "early"),
            model.spatial_parts["block3"],
            "spatial_block3",
        ),
    ]
    outputs = {
        "global": layers.Flatten(name="global")(_sum(first, "global")),
        "spatial": layers.Identity(name="spatial")(_to_grid(_sum(second, "spatial"))),
    }
    return keras.Model(picture, outputs)


def largest_difference(model: Described, twin: keras.Model, pictures: Any) -> float:
    """Return the largest difference between both networks on RGB pictures (N, S, S, 3) uint8."""
    scaled = np.asarray(pictures, dtype=np.float32) / 127.5 - 1.0
    with torch.no_grad():
        embedding, cells = model(torch.from_numpy(scaled).permute(0, 3, 1, 2))
    worst = 0.0
    for number, picture in enumerate(scaled):
        found = twin(picture[None])
        worst = max(
            worst,
            float(np.abs(found["global"][0] - embedding[number].numpy()).max()),
            float(np.abs(found["spatial"][0] - cells[number].permute(1, 2, 0).numpy()).max()),
        )
    return worst
