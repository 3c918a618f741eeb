"""A student rebuilt from an exported model of ours, to train on where no checkpoint was kept.

The int8 file holds every convolution with its batch norm folded in. Here each gets a batch norm
again, with the statistics that its output has on photos of the pack, so that the network computes
the same and can be trained. The outputs' own projections were joined with others at the export;
they are fitted anew, by ridge regression on the targets of a finished view.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedder_training.batches import normalise, to_input
from embedder_training.network import ConvNorm, Shape, Student, to_grid
from embedder_training.pack import PackError, Pixels, squash
from embedder_training.runtime_check import open_interpreter
from embedder_training.targets import Views

Floats = npt.NDArray[np.float32]

RIDGE = 1e-3  # of the mean variance of the inputs
BATCH = 64
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def exported_convolutions(model: Path) -> dict[str, tuple[Floats, Floats]]:
    """Return the weight (O, I, H, W) and bias (O,) of each convolution, by its name at the export.

    Raises:
        PackError: The file is no model.
    """
    try:
        interpreter = open_interpreter(model)
    except (ValueError, RuntimeError) as error:
        raise PackError(f"{model} cannot be opened: {str(error).splitlines()[0]}") from error
    details = {row["index"]: row for row in interpreter.get_tensor_details()}
    found: dict[str, tuple[Floats, Floats]] = {}
    for operator in interpreter._get_ops_details():
        if operator["op_name"] not in CONVOLUTIONS or len(operator["inputs"]) < 3:
            continue
        weight, bias = (
            _dequantized(interpreter, details[index]) for index in operator["inputs"][1:3]
        )
        depthwise = operator["op_name"] == "DEPTHWISE_CONV_2D"
        weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
        found[_layer_name(details[operator["outputs"][0]]["name"])] = (weight, bias)
    return found


def _layer_name(tensor: str) -> str:
    """Return `block3_project` of `functional_1/block3_project_1/convolution;...`."""
    parts = tensor.split(";")[0].split("/")
    return parts[1].removesuffix("_1") if len(parts) > 1 else tensor


def _dequantized(interpreter: Any, detail: dict[str, Any]) -> Floats:
    scales = detail["quantization_parameters"]["scales"]
    raw = interpreter.get_tensor(detail["index"]).astype(np.float32)
    shape = [1] * raw.ndim
    shape[detail["quantization_parameters"]["quantized_dimension"]] = -1
    return np.asarray(raw * scales.reshape(shape), dtype=np.float32)


def layers_of(student: Student) -> Iterator[tuple[str, ConvNorm]]:
    """Yield every convolution with a batch norm and its name at the export."""
    yield "stem", student.stem
    for number, block in enumerate(student.blocks, start=1):
        if block.expand is not None:
            yield f"block{number}_expand", block.expand
        yield f"block{number}_depthwise", block.depthwise
        yield f"block{number}_project", block.project
    yield "last", student.last
    yield "shrink", student.shrink


def _set_folded(layer: ConvNorm, weight: Floats, bias: Floats) -> None:
    convolution, norm = layer[0], layer[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    if convolution.weight.shape != weight.shape:
        raise PackError(f"a model of another shape: {weight.shape} for {convolution.weight.shape}")
    convolution.weight.data = torch.from_numpy(np.ascontiguousarray(weight))
    norm.weight.data.fill_((1.0 + norm.eps) ** 0.5)
    norm.bias.data = torch.from_numpy(bias.copy())
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0)


def _batches(pictures: Pixels) -> Iterator[Tensor]:
    for start in range(0, len(pictures), BATCH):
        part = np.ascontiguousarray(pictures[start : start + BATCH])
        yield normalise(to_input(torch.from_numpy(part)))


def _set_statistics(student: Student, pictures: Pixels) -> None:
    """Give every batch norm the mean and variance of what it gets; the outputs stay the same."""
    sums: dict[int, list[Tensor]] = {}

    def keep(convolution: nn.Module, _: object, output: Tensor) -> None:
        rows = output.double().transpose(0, 1).flatten(1)
        moments = torch.stack([rows.mean(dim=1), rows.square().mean(dim=1)])
        sums.setdefault(id(convolution), []).append(moments)

    layers = [layer for _, layer in layers_of(student)]
    hooks = [layer[0].register_forward_hook(keep) for layer in layers]
    with torch.inference_mode():
        for batch in _batches(pictures):
            student(batch)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        mean, square = torch.stack(sums[id(layer[0])]).mean(dim=0)
        _set_norm(layer, mean.float(), (square - mean.square()).clamp_min(1e-10).float())


def _set_norm(layer: ConvNorm, mean: Tensor, variance: Tensor) -> None:
    """Set the statistics and give the kernel the lengths that a fresh one has."""
    convolution, norm = layer[0], layer[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    fresh = torch.empty_like(convolution.weight)
    nn.init.kaiming_normal_(fresh, mode="fan_out")
    wanted = fresh.flatten(1).norm(dim=1).mean()
    factor = wanted / convolution.weight.flatten(1).norm(dim=1).clamp_min(1e-6)
    with torch.no_grad():
        convolution.weight *= factor[:, None, None, None]
        norm.weight.copy_((variance * factor.square() + norm.eps).sqrt() / factor)
        norm.bias += mean
    norm.running_mean = mean * factor
    norm.running_var = variance * factor.square()


def _fit(inputs: Floats, wanted: Floats) -> tuple[Tensor, Tensor]:
    """Return weight (O, I) and bias (O,) of the ridge regression of `wanted` on `inputs`."""
    centre, mean = inputs.mean(axis=0), wanted.mean(axis=0)
    rows = (inputs - centre).astype(np.float64)
    gram = rows.T @ rows / len(rows)
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram)
    weight = np.linalg.solve(gram, rows.T @ (wanted - mean) / len(rows)).T
    bias = mean - weight @ centre
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def _fit_projections(student: Student, pictures: Pixels, targets: tuple[Floats, Floats]) -> None:
    hidden, joined = [], []
    with torch.inference_mode():
        for batch in _batches(pictures):
            maps = student.maps(batch)
            hidden.append(student.hide(maps).numpy())
            joined.append(to_grid(student.join(maps)).permute(0, 2, 3, 1).flatten(0, 2).numpy())
    first, second = targets
    weight, bias = _fit(np.concatenate(hidden), first)
    student.embed.weight.data, student.embed.bias.data = weight, bias
    weight, bias = _fit(np.concatenate(joined), second.reshape(-1, second.shape[-1]))
    student.cells.weight.data, student.cells.bias.data = weight[:, :, None, None], bias


def recover(model: Path, view: Views, *, side: int, count: int, length: float) -> Student:
    """Return a student in evaluation mode that computes what an exported model computes.

    Args:
        model: File written by the export tool.
        view: Finished view whose pictures and targets it is fitted on.
        side: Input side to take the statistics at, pixels.
        count: Number of pictures of the view, spread evenly.
        length: Mean length that its embeddings get.

    Raises:
        PackError: The model is none of this network.
    """
    found = exported_convolutions(model)
    student = Student(Shape())
    missing = [name for name, _ in layers_of(student) if name not in found]
    if missing or "hidden" not in found:
        raise PackError(f"{model} was not exported from this network: no {missing or 'hidden'}")
    for name, layer in layers_of(student):
        _set_folded(layer, *found[name])
    weight, bias = found["hidden"]
    student.hidden.weight.data = torch.from_numpy(weight[:, :, 0, 0].copy())
    student.hidden.bias.data = torch.from_numpy(bias)
    student.eval()
    chosen = np.linspace(0, len(view.pixels) - 1, min(count, len(view.pixels))).astype(int)
    pictures = np.stack([squash(view.pixels[index], side) for index in chosen])
    _set_statistics(student, pictures)
    _fit_projections(
        student,
        pictures,
        (
            np.asarray(view.global_targets[chosen], np.float32) * length,
            np.asarray(view.spatial_targets[chosen], np.float32),
        ),
    )
    return student
