"""Batches of the training: what a sample shows and what it is taught stay together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is absent")

GRID, SIDE = 4, 16


def test_a_mirrored_view_is_taught_its_mirrored_cells(repository: Path) -> None:
    sys.path.insert(0, str(repository / "tools"))
    from embedder_training.augment import Draw
    from embedder_training.batches import mirror

    generator = torch.Generator().manual_seed(3)
    cells = torch.rand(64, 1, GRID, GRID, generator=generator)
    pixels = cells[:, 0].repeat_interleave(SIDE // GRID, 1).repeat_interleave(SIDE // GRID, 2)
    shown, taught = mirror(
        pixels[..., None].expand(-1, -1, -1, 3), cells, Draw(generator, torch.device("cpu"))
    )
    turned = (shown != pixels[..., None]).flatten(1).any(1)

    assert 16 < int(turned.sum()) < 48
    assert torch.equal(shown[:, :: SIDE // GRID, :: SIDE // GRID, 0], taught[:, 0])
