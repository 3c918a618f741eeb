"""References know the region that they were taken of, and a watch that moved off it is named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.core.types import Roi
from edge_sim.gallery.records import overlap, region_of_text, region_text
from edge_sim.gallery.store import GalleryStore
from tests.pictures import picture, write

CONFIG = """
model: {{path: thumbnail}}
sources: {{cam: {{uri: in}}}}
watches: {{bowl: {{roi: {roi}}}}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        write(Path("in") / f"p{number}.png", picture(number))


def configured(roi: str) -> None:
    Path("config.yaml").write_text(CONFIG.format(roi=roi))


def enrolled(roi: str) -> None:
    configured(roi)
    for number, state in enumerate(("open", "shut")):
        arguments = ["--watch", "bowl", "--state", state, "-c", "config.yaml", "--force"]
        assert main(["gallery", "add", f"in/p{number}.png", *arguments]) == 0


def test_a_region_is_kept_as_text_and_read_again() -> None:
    roi = Roi(0.1, 0.25, 0.5, 1.0)
    assert region_text(roi) == "0.1,0.25,0.5,1"
    assert region_of_text(region_text(roi)) == roi
    for text in ("", "1,2", "a,b,c,d", "0,0,2,2", "0.5,0,0.1,1"):
        assert region_of_text(text) is None


def test_overlap_is_the_shared_part_of_both() -> None:
    assert overlap(Roi(), Roi()) == 1.0
    assert overlap(Roi(0, 0, 0.5, 1), Roi(0.5, 0, 1, 1)) == 0.0
    assert overlap(Roi(0, 0, 0.5, 1), Roi()) == 0.5


@pytest.mark.parametrize("before", ["[0, 0, 0.5, 1]", "[0, 0, 1, 1]"])
def test_check_names_a_watch_that_was_moved(
    before: str, capsys: pytest.CaptureFixture[str]
) -> None:
    enrolled(before)
    assert main(["check", "-c", "config.yaml"]) == 0
    capsys.readouterr()
    configured("[0.5, 0, 1, 1]")
    assert main(["check", "-c", "config.yaml"]) == 1
    assert "2 of 2 references were taken of another region" in capsys.readouterr().out


def test_a_run_says_that_a_watch_was_moved(caplog: pytest.LogCaptureFixture) -> None:
    enrolled("[0, 0, 0.5, 1]")
    configured("[0.5, 0, 1, 1]")
    with caplog.at_level(logging.WARNING):
        main(["run", "-c", "config.yaml"])
    assert "watch bowl: 2 of 2 references were taken of another region" in caplog.text


def test_a_region_that_was_corrected_a_little_is_the_same() -> None:
    enrolled("[0, 0, 0.5, 1]")
    configured("[0.02, 0, 0.5, 1]")
    assert main(["check", "-c", "config.yaml"]) == 0


def test_of_a_region_that_nobody_gave_nothing_is_known() -> None:
    assert main(["gallery", "add", "in", "--watch", "bowl", "--state", "open", "--force",
                 "--model", "thumbnail"]) == 0  # fmt: skip
    with GalleryStore.open("gallery.db") as store:
        assert "region" not in store.record("r1").metadata


def test_a_region_of_few_pixels_is_not_ok(capsys: pytest.CaptureFixture[str]) -> None:
    enrolled("[0, 0, 0.5, 1]")
    configured("[0, 0, 0.05, 0.04]")
    assert main(["check", "-c", "config.yaml"]) != 0
    assert "pixels of the frame; states cannot be told apart" in capsys.readouterr().out


def test_pixels_in_place_of_fractions_get_the_right_hint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured("[100, 50, 300, 200]")
    assert main(["check", "-c", "config.yaml"]) == 78
    assert "these look like pixels: divide x by the width" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["gallery", "add", "in", "--watch", "b", "--state", "s", "--roi", "100,50,300,200"])
    assert "these look like pixels" in capsys.readouterr().err
