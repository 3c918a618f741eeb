"""Links are the same picture, and the original stays."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from tests.pictures import picture, write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(3):
        write(folder / f"p{number}.png", picture(number))
    return folder


def advice(photos: Path, capsys: pytest.CaptureFixture[str]) -> tuple[set[str], set[str]]:
    """Return what is kept and what is advised to be deleted."""
    listed = photos.parent / "delete.txt"
    assert main(["duplicates", str(photos), "--json", "--delete-list", str(listed)]) == 0
    found = json.loads(capsys.readouterr().out)
    kept = {item["keep"] for group in found["groups"] for item in group}
    gone = {name for group in found["groups"] for item in group for name in item["redundant"]}
    lines = {os.path.relpath(line, photos) for line in listed.read_text().splitlines()}
    assert lines == gone
    return kept, gone


@pytest.mark.parametrize("link", ["a.png", "z.png", "below/p0.png"])
def test_a_symbolic_link_and_its_file_are_one_picture(
    photos: Path, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / link).parent.mkdir(exist_ok=True)
    (photos / link).symlink_to(photos / "p0.png")
    assert advice(photos, capsys) == (set(), set())


@pytest.mark.parametrize("link", ["a.png", "z.png"])
def test_a_hard_link_and_its_file_are_one_picture(
    photos: Path, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / link).hardlink_to(photos / "p0.png")
    assert advice(photos, capsys) == (set(), set())


def test_a_link_to_a_file_elsewhere_is_never_on_the_list(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside.png"
    shutil.copy(photos / "p0.png", outside)
    (photos / "a.png").symlink_to(outside)
    kept, gone = advice(photos, capsys)
    assert (kept, gone) == ({"a.png"}, {"p0.png"})


def test_a_file_that_a_link_points_to_stays_even_where_a_better_one_is_there(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(photos / "larger.png", picture(0).repeat(2, axis=0).repeat(2, axis=1))
    (photos / "link.png").symlink_to(photos / "p0.png")
    kept, gone = advice(photos, capsys)
    assert "p0.png" in kept
    assert not gone & {"p0.png", "link.png"}


@pytest.mark.parametrize(
    "copy",
    [
        "p0 (1).png", "p0(1).png", "p0 - Copy.png", "p0 - Copy (2).png", "p0_copy.png",
        "p0 copy.png", "p0 - Kopie.png", "Copy of p0.png", "p0~.png",
    ],
)  # fmt: skip
def test_the_original_stays_and_not_the_copy(
    photos: Path, copy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy2(photos / "p0.png", photos / copy)
    assert advice(photos, capsys) == ({"p0.png"}, {copy})


def test_of_equal_files_the_older_is_the_original(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photos / "p0.png", photos / "before.png")
    os.utime(photos / "before.png", (1_700_000_000, 1_700_000_000))
    os.utime(photos / "p0.png", (1_600_000_000, 1_600_000_000))
    assert advice(photos, capsys) == ({"p0.png"}, {"before.png"})
