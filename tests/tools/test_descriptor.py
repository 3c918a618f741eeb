"""What export does to the trained network: equalised channels, outputs joined from several maps."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is absent")
pytest.importorskip("tqdm", reason="the extra 'train' is absent")

SIDE = 64
PICTURES = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def parts(repository: Path) -> dict[str, Any]:
    sys.path.insert(0, str(repository / "tools"))
    names = ("network", "descriptor", "equalise", "quality")
    return {name: importlib.import_module(f"embedder_training.{name}") for name in names}


def make_student(parts: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    student = parts["network"].Student(parts["network"].Shape(hidden=32))
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.2, 3.0)
            module.bias.data.uniform_(-0.3, 0.6)
    return student.eval()


def test_equalised_channels_leave_the_outputs_as_they_were(parts: dict[str, Any]) -> None:
    student = make_student(parts)
    before = parts["quality"].embed(student, PICTURES[:8])
    stem = student.stem[1].weight.detach().clone()
    parts["equalise"].equalise(student, PICTURES)
    after = parts["quality"].embed(student, PICTURES[:8])
    assert not torch.allclose(stem, student.stem[1].weight)
    for first, second in zip(before, after, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3 * np.abs(first).max())


@pytest.mark.parametrize("side", [64, 96, 160])
def test_joined_outputs_have_the_promised_shapes_at_every_side(
    parts: dict[str, Any], side: int
) -> None:
    descriptor = parts["descriptor"]
    model = descriptor.describe(make_student(parts), PICTURES)
    shown = np.zeros((2, side, side, 3), dtype=np.uint8)
    first, second = parts["quality"].embed(model, shown)
    assert first.shape == (2, descriptor.GLOBAL_DIM) == (2, 256)
    assert second.shape == (2, 4, 4, descriptor.SPATIAL_DIM)


def test_joined_parts_are_centred_on_the_pictures_they_were_fitted_on(
    parts: dict[str, Any],
) -> None:
    model = parts["descriptor"].describe(make_student(parts), PICTURES)
    first, _ = parts["quality"].embed(model, PICTURES)
    assert np.abs(first.mean(axis=0)).max() < 1e-2 * np.abs(first).max()
