"""Optimizer and its schedule: orthogonalised momentum for matrices, AdamW for the rest."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Quintic Newton-Schulz coefficients that drive singular values of (0, 1] towards 1; five
# rounds leave them between about 0.7 and 1.2, which is enough for an update direction.
ROUNDS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
WARM_UP_SAMPLES = 40_000


@dataclass(frozen=True)
class Schedule:
    """Learning rate against samples seen: warm up, stay, decay to zero."""

    total: int
    decay_from: int
    warm_up: int = WARM_UP_SAMPLES

    def factor(self, seen: int) -> float:
        """Return the share of the peak rate after `seen` samples."""
        if seen >= self.decay_from:
            left = (self.total - seen) / max(1, self.total - self.decay_from)
            return max(0.0, left)
        return min(1.0, (seen + 1) / self.warm_up)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return a matrix with the same singular vectors and singular values near 1."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    first, second, third = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = first * x + (second * gram + third * gram @ gram) @ x
    return x.T if tall else x


class Orthogonal(torch.optim.Optimizer):  # type: ignore[misc,unused-ignore]
    """Nesterov momentum whose update is made orthogonal, for convolution 1x1 and linear weights."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        rate: float,
        momentum: float = 0.95,
        decay: float = 0.05,
    ) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum, "decay": decay})

    def step(self, closure: Any = None) -> None:  # type: ignore[override,unused-ignore]
        """Apply one update; a closure is not supported."""
        if closure is not None:
            raise ValueError("Orthogonal takes no closure")
        with torch.no_grad():
            self._update()

    def _update(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                buffer = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                buffer.lerp_(weight.grad, 1.0 - group["momentum"])
                wanted = weight.grad.lerp(buffer, group["momentum"]).flatten(1)
                update = orthogonal(wanted) * max(1.0, wanted.shape[0] / wanted.shape[1]) ** 0.5
                weight.mul_(1.0 - group["lr"] * group["decay"])
                weight.add_(update.reshape(weight.shape), alpha=-group["lr"])


def build_optimizers(
    student: nn.Module, *, rate: float, matrix_rate: float
) -> list[torch.optim.Optimizer]:
    """Return AdamW for all parameters, or two optimizers where `matrix_rate` is above zero."""
    named = list(student.named_parameters())
    matrices = [
        weight
        for name, weight in named
        if matrix_rate > 0
        and weight.ndim >= 2
        and weight[0, 0].numel() == 1
        and not name.startswith(("hidden", "embed", "cells"))
    ]
    taken = {id(weight) for weight in matrices}
    rest = [weight for _, weight in named if id(weight) not in taken]
    groups = [
        {"params": [weight for weight in rest if weight.ndim > 1], "weight_decay": 0.02},
        {"params": [weight for weight in rest if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate)]
    if matrices:
        optimizers.append(Orthogonal(matrices, rate=matrix_rate))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
