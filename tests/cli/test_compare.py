"""`compare` reports how alike two pictures are, and where the second differs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.cli.main import main

Picture = NDArray[np.uint8]


def board(*, faulty: bool = False, size: tuple[int, int] = (240, 320)) -> Picture:
    plane = np.full((*size, 3), 60, np.uint8)
    for at in range(6):
        cv2.line(plane, (20, 30 + 35 * at), (300, 30 + 35 * at), (190, 180, 170), 6)
    if faulty:
        plane[165:180, 200:222] = 60
    return plane


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, pixels in (
        ("good", board()),
        ("faulty", board(faulty=True)),
        ("wide", board(size=(180, 320))),
    ):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    return tmp_path


def compare(folder: Path, *arguments: str) -> int:
    words = [str(folder / item) if "." in item else item for item in arguments]
    return main(["compare", "--model", "thumbnail", *words])


def test_the_part_that_differs_is_named_in_fractions(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(pictures, "good.png", "faulty.png", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (region,) = found["regions"]
    assert region["x"] == pytest.approx(200 / 320, abs=0.02)
    assert region["y"] + region["height"] / 2 == pytest.approx(172 / 240, abs=0.03)
    assert found["cosine"] < 1.0
    assert found["ssim"] < 1.0
    assert "map" in found


def test_the_text_says_how_many_parts_differ(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(pictures, "good.png", "faulty.png") == 0
    out = capsys.readouterr().out
    assert out.startswith("cosine 0.")
    assert "1 part of" in out


def test_equal_pictures_have_no_part(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(pictures, "good.png", "good.png") == 0
    out = capsys.readouterr().out
    assert "cosine 1.000, ssim 1.000" in out
    assert "no part of" in out


def test_the_map_is_red_where_the_picture_differs(pictures: Path) -> None:
    assert compare(pictures, "good.png", "faulty.png", "--map", "map.png") == 0
    shown = cv2.imread(str(pictures / "map.png"))
    assert shown is not None
    assert shown.shape == (240, 320, 3)
    red = (shown[..., 2].astype(int) - shown[..., 0]) > 60
    assert red[160:185, 195:226].any()
    assert not red[:150].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("good.png", "wide.png"), "320x240 and"),
        (("good.png", "missing.png"), "missing.png"),
        (("good.png", "faulty.png", "--map", "map.gif"), "must end in .png or .jpg"),
        (("good.png", "faulty.png", "--map", "none/map.png"), "there is no folder"),
        (("good.png", "faulty.png", "--map", "good.png"), "would overwrite"),
    ],
)
def test_a_mistake_is_named_and_writes_nothing(
    pictures: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(pictures.iterdir())
    assert compare(pictures, *arguments) == 1
    assert message in capsys.readouterr().err
    assert sorted(pictures.iterdir()) == before
