"""A student rebuilt from an exported model computes what the model computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tools.test_embedder_training import load

torch = pytest.importorskip("torch", reason="the extra 'train' is absent")

PICTURES = 240
SIDE = 160


def blots(count: int) -> np.ndarray:
    """Smooth coloured pictures, each of its own."""
    small = np.random.default_rng(0).random((count, 3, 6, 6), dtype=np.float32)
    big = torch.nn.functional.interpolate(
        torch.from_numpy(small), size=(SIDE, SIDE), mode="bicubic", align_corners=False
    )
    return np.asarray((big.clamp(0, 1) * 255).permute(0, 2, 3, 1).to(torch.uint8).numpy())


def test_a_recovered_student_gives_what_the_exported_model_gives(repository: Path) -> None:
    model = repository / "models" / "edge_sim_small.tflite"
    recover, targets = load(repository, "recover"), load(repository, "targets")
    pictures = blots(PICTURES)
    first, second = load(repository, "runtime_check").Embedder(model)(pictures)
    wanted = targets.SPATIAL_DIM
    view = targets.Views(pictures[::2], first[::2], second[::2, :, :, :wanted])
    student = recover.recover(model, view, side=SIDE, count=PICTURES, length=1.0)
    found, cells = load(repository, "quality").embed(student, pictures[1::2])
    cosine = load(repository, "convert").cosines
    assert cosine(found, first[1::2])["mean"] > 0.95
    assert cosine(cells, second[1::2, :, :, :wanted])["mean"] > 0.95


def test_a_file_that_is_no_model_is_one_line(repository: Path, tmp_path: Path) -> None:
    recover, pack = load(repository, "recover"), load(repository, "pack")
    other = tmp_path / "other.tflite"
    other.write_bytes(b"TFL3")
    with pytest.raises(pack.PackError, match=r"other\.tflite cannot be opened"):
        recover.exported_convolutions(other)
