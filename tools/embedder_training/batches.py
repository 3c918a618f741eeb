"""Batches for the student: photos in a seeded order, a finished view of each, augmented."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from embedder_training.augment import Draw, paste_objects, photometric, small_moves
from embedder_training.losses import Batch
from embedder_training.pack import held_out
from embedder_training.targets import Views, open_view, ready_views

PAIR_SHARE = 16  # one sample in sixteen is repeated with an object pasted in
MIRROR_SHARE = 0.5
REFRESH_STEPS = 500  # how often finished views are looked for


@dataclass(frozen=True)
class Place:
    """Which worker this is and where it computes."""

    rank: int
    workers: int
    device: torch.device


def to_input(pixels: Tensor) -> Tensor:
    """Return uint8 (N, S, S, 3) as float (N, 3, S, S) in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float().div_(255.0)


def mirror(pixels: Tensor, cells: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Return (N, S, S, 3) and (N, C, G, G) with half of the samples turned left to right.

    The teachers' features of a mirrored photo are those of the photo within the student's error,
    so every stored view serves twice.
    """
    chosen = draw.uniform(0.0, 1.0, len(pixels)) < MIRROR_SHARE
    return (
        torch.where(chosen[:, None, None, None], pixels.flip(2), pixels),
        torch.where(chosen[:, None, None, None], cells.flip(3), cells),
    )


def normalise(batch: Tensor) -> Tensor:
    """Return values in [-1, 1], in the memory order convolutions are fastest in."""
    return (batch * 2.0 - 1.0).contiguous(memory_format=torch.channels_last)


class Batches:
    """Batch number `step` of this worker depends on the seed, the step and the views alone."""

    def __init__(self, work: Path, place: Place, *, size: int, seed: int) -> None:
        self._work, self._place, self._size, self._seed = work, place, size, seed
        self._views: dict[int, Views] = {}
        self._arrays: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._refresh()
        count = len(next(iter(self._views.values())).pixels)
        self._photos = np.flatnonzero(~held_out(count))

    def _refresh(self) -> None:
        for view in ready_views(self._work):
            if view in self._views:
                continue
            self._views[view] = found = open_view(self._work, view)
            if self._place.device.type != "cpu":
                self._arrays[view] = (
                    torch.from_numpy(np.asarray(found.pixels)).to(self._place.device),
                    torch.from_numpy(np.asarray(found.global_targets)).to(self._place.device),
                    torch.from_numpy(np.asarray(found.spatial_targets)).to(self._place.device),
                )

    def _chosen(self, step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        fresh = self._size - self._size // PAIR_SHARE
        start = (step * self._place.workers + self._place.rank) * fresh
        epoch, offset = divmod(start, len(self._photos) // fresh * fresh)
        order = np.random.default_rng([self._seed, epoch]).permutation(self._photos)
        rng = np.random.default_rng([self._seed, 1, step, self._place.rank])
        views = rng.choice(sorted(self._views), fresh)
        return order[offset : offset + fresh], views

    def _gather(
        self, photos: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self._arrays:
            rows = [
                [array[photo] for array in self._arrays[view]]
                for photo, view in zip(photos.tolist(), views.tolist(), strict=True)
            ]
        else:
            found = [
                (self._views[view], photo)
                for photo, view in zip(photos.tolist(), views.tolist(), strict=True)
            ]
            rows = [
                [
                    torch.from_numpy(np.array(array[photo]))
                    for array in (view.pixels, view.global_targets, view.spatial_targets)
                ]
                for view, photo in found
            ]
        pixels, first, second = (torch.stack(list(column)) for column in zip(*rows, strict=True))
        return pixels, first.float(), second.float().permute(0, 3, 1, 2)

    def draw(self, step: int, side: int) -> tuple[Tensor, Batch]:
        """Return the student's input at `side` pixels, normalised, and its targets."""
        if step % REFRESH_STEPS == 0:
            self._refresh()
        device = self._place.device
        generator = torch.Generator(device)
        generator.manual_seed((self._seed * 1_000_003 + step) * 64 + self._place.rank)
        draw = Draw(generator, device)
        pixels, first, second = self._gather(*self._chosen(step))
        pixels, second = mirror(pixels, second, draw)
        pairs = self._size // PAIR_SHARE
        whole = len(pixels)
        batch = small_moves(to_input(pixels), side, draw)
        covered = torch.zeros(whole + pairs, *second.shape[2:], device=device)
        changed, covered[whole:] = paste_objects(batch[:pairs], batch[-pairs:], draw)
        batch = photometric(torch.cat([batch, changed]), draw)
        second = torch.cat([second, second[:pairs]])
        return normalise(batch), Batch(first, second, covered, pairs)
