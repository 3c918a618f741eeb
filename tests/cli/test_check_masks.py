"""`edge-sim check` reports what a mask hides, and draws it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.cli.main import main
from edge_sim.io.sources.pictures import read_picture
from tests.devices import make_device

Captured = pytest.CaptureFixture[str]
SIDE = 20


def plane(value: int, other: int) -> NDArray[np.uint8]:
    """A quarter of `other` in a plane of `value`."""
    levels = np.full((SIDE, SIDE), value, np.uint8)
    levels[: SIDE // 2, : SIDE // 2] = other
    return levels


def painted(colour: int, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One colour on transparency; the hidden colour of what is transparent is black."""
    bgra = np.zeros((SIDE, SIDE, 4), np.uint8)
    bgra[alpha > 0, :3] = colour
    bgra[..., 3] = alpha
    return bgra


@pytest.fixture
def checked(tmp_path: Path, capsys: Captured) -> tuple[Path, Path]:
    """A configuration with a mask, and the place of the mask."""
    config = make_device(tmp_path, uri="synthetic:lamp?seed=1&frames=3")
    text = config.read_text().rstrip()
    config.write_text(text.replace("{roi:", "{mask: mask.png, roi:") + "\n")
    return config, tmp_path / "mask.png"


def mask_line(config: Path, capsys: Captured, *options: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["check", "-c", str(config), *options])
    printed = capsys.readouterr()
    lines = printed.out.splitlines() + printed.err.splitlines()
    return code, next(line for line in lines if "mask" in line)


@pytest.mark.parametrize(
    ("pixels", "share"),
    [
        (plane(255, 0), "25.0%"),
        (plane(1, 0), "25.0%"),
        (plane(0, 1), "75.0%"),
        (painted(0, plane(0, 255)), "25.0%"),
        (painted(255, plane(0, 255)), "75.0%"),
    ],
    ids=["black", "of 0 and 1", "of 1 on 0", "black on transparency", "white on transparency"],
)
def test_the_hidden_share_is_reported(
    checked: tuple[Path, Path], pixels: NDArray[np.uint8], share: str, capsys: Captured
) -> None:
    config, mask = checked
    cv2.imwrite(str(mask), pixels)
    code, line = mask_line(config, capsys)
    assert code == 0
    assert line.startswith("ok")
    assert f"hides {share} of the region" in line


def test_a_mask_that_is_missing_is_one_finding_and_all_else_is_checked(
    checked: tuple[Path, Path], capsys: Captured
) -> None:
    config, mask = checked
    assert main(["check", "-c", str(config)]) == 1
    lines = capsys.readouterr().out.splitlines()
    (failed,) = [line for line in lines if line.startswith("FAIL")]
    assert "mask of lamp" in failed
    assert mask.name in failed
    assert any("gallery of lamp" in line for line in lines)
    assert any("regions: lamp" in line for line in lines)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (plane(0, 0), "hides the whole region: paint white what counts"),
        (painted(0, plane(0, 0)), "all of it is transparent"),
    ],
    ids=["all black", "nothing painted"],
)
def test_a_mask_that_hides_everything_is_a_wrong_configuration(
    checked: tuple[Path, Path], pixels: NDArray[np.uint8], words: str, capsys: Captured
) -> None:
    config, mask = checked
    cv2.imwrite(str(mask), pixels)
    assert main(["run", "-c", str(config)]) == 78
    error = capsys.readouterr().err
    assert words in error
    assert "mask.png" in error
    assert main(["check", "-c", str(config)]) != 0
    printed = capsys.readouterr()
    assert words in printed.out + printed.err


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (plane(255, 255), "hides nothing; paint black what does not count"),
        (np.pad(np.full((1, 1), 255, np.uint8), 20), "too few to tell states apart"),
    ],
    ids=["white", "one pixel left"],
)
def test_a_useless_mask_fails(
    checked: tuple[Path, Path], pixels: NDArray[np.uint8], words: str, capsys: Captured
) -> None:
    config, mask = checked
    cv2.imwrite(str(mask), pixels)
    code, line = mask_line(config, capsys)
    assert code == 1
    assert line.startswith("FAIL")
    assert words in line


def test_a_picture_shows_what_does_not_count(
    checked: tuple[Path, Path], tmp_path: Path, capsys: Captured
) -> None:
    config, mask = checked
    cv2.imwrite(str(mask), plane(255, 0))
    code, line = mask_line(config, capsys, "--masks", str(tmp_path / "masks"))
    assert code == 0
    assert "masks/lamp.png" in line
    pixels = read_picture(tmp_path / "masks" / "lamp.png").astype(int)
    height, width = pixels.shape[:2]
    redness = pixels[..., 2] - pixels[..., 0]
    assert redness[: height // 2 - 1, : width // 2 - 1].min() >= 120
    assert redness[height // 2 + 1 :, width // 2 + 1 :].min() < 60
