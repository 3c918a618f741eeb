"""What a fixed camera does to a picture: drawn per sample, computed on the whole batch.

Batches are float tensors (N, 3, S, S) with values in [0, 1]; S is a multiple of 8. All randomness
comes from the generator that is passed in, on the device of the batch.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from embedder_training.teachers import GRID

SHIFT = 0.03  # of the side
ZOOM = 0.06
TURN = math.radians(2.0)
CLEAN_SHARE = 0.35
PATCH_SIDE = (0.12, 0.34)  # of the picture's side
BLOCK = 8


@dataclass(frozen=True)
class Draw:
    """Random numbers of one batch on one device."""

    generator: Generator
    device: torch.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return uniform numbers in [low, high)."""
        numbers = torch.rand(shape, generator=self.generator, device=self.device)
        return low + (high - low) * numbers

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def some(self, allowed: Tensor, share: float) -> Tensor:
        """Return the indices of about `share` of the batch, among the allowed samples."""
        drawn = torch.rand(len(allowed), generator=self.generator, device=self.device)
        return torch.nonzero(allowed & (drawn < share)).flatten()


def small_moves(batch: Tensor, size: int, draw: Draw) -> Tensor:
    """Return the batch at `size`, slightly shifted, zoomed and turned, edges mirrored."""
    count = len(batch)
    zoom = 1.0 + draw.uniform(-ZOOM, ZOOM, count)
    turn = draw.uniform(-TURN, TURN, count)
    shift = draw.uniform(-2 * SHIFT, 2 * SHIFT, count, 2)
    cos, sin = zoom * torch.cos(turn), zoom * torch.sin(turn)
    matrix = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    grid = functional.affine_grid(matrix, [count, 3, size, size], align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)


def _plane(size: int, angle: Tensor, device: torch.device) -> Tensor:
    line = torch.linspace(-1.0, 1.0, size, device=device)
    across = torch.cos(angle)[:, None, None] * line[None, None, :]
    return across + torch.sin(angle)[:, None, None] * line[None, :, None]


def relight(batch: Tensor, allowed: Tensor, draw: Draw) -> Tensor:
    """Return the batch under another exposure, white balance, light gradient and shadow edge."""
    count, size = len(batch), batch.shape[-1]
    strength = allowed.float()
    gain = torch.exp2(draw.uniform(-1.0, 0.8, count) * strength * draw.uniform(0.0, 1.0, count))
    balance = torch.exp(draw.normal(count, 3) * 0.12 * strength[:, None])
    field = (gain[:, None] * balance)[:, :, None, None]
    slope = draw.uniform(0.0, 0.4, count) * strength * (draw.uniform(0, 1, count) < 0.4)
    plane = _plane(size, draw.uniform(0.0, 2 * math.pi, count), batch.device)
    light = 1.0 + slope[:, None, None] * plane
    chosen = draw.some(allowed, 0.25)
    if len(chosen):
        edge = _plane(size, draw.uniform(0.0, 2 * math.pi, len(chosen)), batch.device)
        sharp = draw.uniform(3.0, 40.0, len(chosen))[:, None, None]
        place = draw.uniform(-0.7, 0.7, len(chosen))[:, None, None]
        depth = draw.uniform(0.2, 0.7, len(chosen))[:, None, None]
        light[chosen] = light[chosen] * (1.0 - depth * torch.sigmoid(sharp * (edge - place)))
    haze = draw.uniform(-0.06, 0.10, count) * strength * (draw.uniform(0, 1, count) < 0.4)
    return batch * field * light[:, None] + haze[:, None, None, None]


def bend_tones(batch: Tensor, allowed: Tensor, draw: Draw) -> Tensor:
    """Apply gamma to a third of the batch and make a sixth of it grey, like an infrared view."""
    chosen = draw.some(allowed, 0.35)
    if len(chosen):
        gamma = torch.exp(draw.uniform(-0.6, 0.6, len(chosen)))[:, None, None, None]
        batch[chosen] = batch[chosen].clamp(1e-4, 1.0) ** gamma
    chosen = draw.some(allowed, 0.17)
    if len(chosen):
        weights = draw.uniform(0.1, 1.0, len(chosen), 3)
        weights = weights / weights.sum(dim=1, keepdim=True)
        grey = (batch[chosen] * weights[:, :, None, None]).sum(dim=1, keepdim=True)
        batch[chosen] = grey.expand(-1, 3, -1, -1)
    return batch


def soften(batch: Tensor, allowed: Tensor, draw: Draw) -> Tensor:
    """Blur a fifth of the batch with a gaussian, one width per batch."""
    chosen = draw.some(allowed, 0.2)
    if len(chosen):
        sigma = float(draw.uniform(0.4, 1.3, 1))
        taps = torch.exp(-(torch.arange(-2, 3, device=batch.device) ** 2) / (2 * sigma**2))
        taps = (taps / taps.sum()).expand(3, 1, 1, 5)
        part = functional.pad(batch[chosen], (2, 2, 2, 2), mode="replicate")
        part = functional.conv2d(part, taps, groups=3)
        batch[chosen] = functional.conv2d(part, taps.transpose(2, 3), groups=3)
    return batch


def add_noise(batch: Tensor, allowed: Tensor, draw: Draw) -> Tensor:
    """Add sensor noise (a constant part and one that grows with light) to a third of the batch."""
    chosen = draw.some(allowed, 0.35)
    if len(chosen):
        part = batch[chosen]
        read = draw.uniform(0.0, 0.05, len(chosen))[:, None, None, None]
        shot = draw.uniform(0.0, 0.06, len(chosen))[:, None, None, None]
        spread = torch.sqrt(read**2 + shot**2 * part.clamp(0.0, 1.0))
        batch[chosen] = part + spread * draw.normal(*part.shape)
    return batch


def _cosine_basis(device: torch.device) -> Tensor:
    rows = torch.arange(BLOCK, device=device, dtype=torch.float32)
    basis = torch.cos(math.pi / BLOCK * (rows[None, :] + 0.5) * rows[:, None]) / 2.0
    basis[0] = basis[0] / math.sqrt(2.0)
    return basis


def compress(batch: Tensor, allowed: Tensor, draw: Draw) -> Tensor:
    """Quantize the 8x8 cosine coefficients of an eighth of the batch, as JPEG and H.264 do."""
    chosen = draw.some(allowed, 0.15)
    if not len(chosen):
        return batch
    count, size = len(chosen), batch.shape[-1]
    blocks = size // BLOCK
    basis = _cosine_basis(batch.device)
    part = batch[chosen].reshape(count, 3, blocks, BLOCK, blocks, BLOCK).transpose(3, 4)
    spectrum = basis @ part @ basis.T
    frequency = torch.arange(BLOCK, device=batch.device)
    ramp = 1.0 + 0.6 * (frequency[:, None] + frequency[None, :])
    step = torch.exp(draw.uniform(-4.2, -2.2, count))[:, None, None, None, None, None] * ramp
    part = basis.T @ (torch.round(spectrum / step) * step) @ basis
    batch[chosen] = part.transpose(3, 4).reshape(count, 3, size, size)
    return batch


def photometric(batch: Tensor, draw: Draw) -> Tensor:
    """Return the batch as the camera may deliver it; a share of it stays clean."""
    allowed = draw.uniform(0.0, 1.0, len(batch)) >= CLEAN_SHARE
    batch = soften(relight(batch, allowed, draw), allowed, draw)
    batch = bend_tones(batch, allowed, draw)
    batch = compress(add_noise(batch, allowed, draw), allowed, draw)
    return batch.clamp(0.0, 1.0)


def paste_objects(batch: Tensor, others: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Return the batch with an elliptic piece of `others` in each, and the share of every cell.

    The second tensor (N, GRID, GRID) is the covered part of each cell of the spatial output.
    """
    count, size = len(batch), batch.shape[-1]
    half = draw.uniform(*PATCH_SIDE, count, 2) / 2.0
    centre = draw.uniform(0.15, 0.85, count, 2)
    line = (torch.arange(size, device=batch.device) + 0.5) / size
    across = ((line[None, :] - centre[:, :1]) / half[:, :1]) ** 2
    down = ((line[None, :] - centre[:, 1:]) / half[:, 1:]) ** 2
    mask = (across[:, None, :] + down[:, :, None] < 1.0).float()[:, None]
    covered = functional.adaptive_avg_pool2d(mask, GRID)[:, 0]
    return batch * (1.0 - mask) + others * mask, covered
