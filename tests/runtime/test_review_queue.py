"""The review folder: whole frames only, within its bounds, and nothing of others touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_sim.core.types import UNKNOWN, Match, Observation, Score, State, StateScore, UnknownReason
from edge_sim.decision.pipeline import Outcome
from edge_sim.errors import ConfigError, DataError
from edge_sim.runtime.config import parse_config
from edge_sim.runtime.config.service import ReviewConfig
from edge_sim.runtime.review_queue import ReviewFolder, picture_of
from tests import pictured

NOON_S = 1_769_860_800.25


def look(number: int, *, watch: str = "bowl", guess: str | None = "food") -> Outcome:
    probe = replace(pictured.probe("left", 1), unix_time_s=NOON_S + number, frame_index=number)
    scores = (StateScore("food", "r1", Score(0.9, None, 0.6), 0.5),) if guess else ()
    seen = Observation(
        captured_at_s=float(number),
        unix_time_s=NOON_S + number,
        frame_index=number,
        match=Match(scores) if scores else None,
        condition="day",
        impediment=None,
        quality=probe.quality,
    )
    return Outcome(watch, probe, seen, State(UNKNOWN, UnknownReason.AMBIGUOUS), {}, None)


def names(folder: ReviewFolder) -> list[str]:
    return [item.review_id for item in folder.items()]


def test_a_kept_frame_comes_back_with_its_pixels_and_its_scores(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path / "review")
    pixels = pictured.picture("left", 1)
    kept = folder.keep(look(7), pixels)
    assert kept == "bowl/20260131T120007.250Z-7-food"
    item = folder.item(kept)
    assert (picture_of(item) == pixels).all()
    assert item.facts is not None
    assert (item.facts.state, item.facts.reason) == ("unknown", "ambiguous")
    assert [(score.state, score.combined) for score in item.facts.scores] == [("food", 0.6)]
    assert item.picture == tmp_path / f"review/{kept}.png"


def test_without_references_the_guess_is_none(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path)
    assert folder.keep(look(1, guess=None), pictured.picture("left", 1)).endswith("-1-none")


def test_no_folder_holds_no_frames(tmp_path: Path) -> None:
    assert ReviewFolder(tmp_path / "none").items() == ()


def test_when_it_is_full_the_oldest_of_the_fullest_watch_goes(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path, ReviewConfig(max_frames=4))
    folder.keep(look(0, watch="gate"), pictured.picture("left", 1))
    for number in range(1, 7):
        folder.keep(look(number), pictured.picture("left", 1))
    frames = [
        (item.picture.parent.name, item.facts and item.facts.frame) for item in folder.items()
    ]
    assert frames == [("gate", 0), ("bowl", 4), ("bowl", 5), ("bowl", 6)]


def test_the_bytes_on_disk_stay_within_the_bound(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    folder = ReviewFolder(tmp_path, ReviewConfig(max_mb=0.06))
    for number in range(9):
        folder.keep(look(number), noise)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 40_000 < size <= 60_000
    assert sum(item.size_bytes for item in folder.items()) == size


def test_what_a_power_cut_left_is_no_frame_and_goes_with_the_next(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path)
    whole = folder.keep(look(1), pictured.picture("left", 1))
    torn = tmp_path / "bowl"
    (torn / "20260131T120000.250Z-0-food.png").write_bytes(b"half")
    (torn / "20260131T120000.250Z-0-food.json.new").write_bytes(b"{")
    (torn / "20260131T120009.250Z-9-food.json").write_bytes(b"{}")
    assert names(folder) == [whole]
    second = folder.keep(look(2), pictured.picture("left", 1))
    assert names(folder) == [whole, second]
    assert len(list(torn.iterdir())) == 4


def test_files_of_others_are_neither_listed_nor_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "review"
    folder = ReviewFolder(root, ReviewConfig(max_frames=1))
    folder.keep(look(1), pictured.picture("left", 1))
    strangers = [root / "bowl" / "notes.json", root / "bowl" / "notes.png", root / "a.txt"]
    for path in strangers:
        path.write_text("mine")
    (root / "link").symlink_to(elsewhere)
    ReviewFolder(elsewhere).keep(look(5, watch="."), pictured.picture("left", 1))
    folder.keep(look(2), pictured.picture("left", 1))
    assert [item.facts and item.facts.frame for item in folder.items()] == [2]
    assert all(path.read_text() == "mine" for path in strangers)
    assert len(list(elsewhere.iterdir())) == 2


def test_discarding_removes_both_files_and_may_be_done_twice(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path)
    item = folder.item(folder.keep(look(1), pictured.picture("left", 1)))
    folder.discard((item,))
    folder.discard((item,))
    assert list((tmp_path / "bowl").iterdir()) == []


def test_facts_that_are_damaged_leave_the_picture_usable(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path)
    kept = folder.keep(look(1), pictured.picture("left", 1))
    (tmp_path / f"{kept}.json").write_bytes(b"\xff{")
    item = folder.item(kept)
    assert item.facts is None
    assert picture_of(item).shape == (96, 96, 3)


@pytest.mark.parametrize("name", ["bowl/none", "../secret", "bowl/../bowl/x", "", "bowl/*"])
def test_an_id_that_is_not_there_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    folder = ReviewFolder(tmp_path)
    folder.keep(look(1), pictured.picture("left", 1))
    with pytest.raises(DataError, match="no kept frame"):
        folder.item(name)


def test_one_frame_is_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ReviewFolder(tmp_path)
    kept = [folder.keep(look(number), pictured.picture("left", 1)) for number in range(4)]
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    assert folder.item(kept[2]).review_id == kept[2]
    assert read == [tmp_path / f"{kept[2]}.json"]


def test_a_frame_below_a_link_to_elsewhere_is_none(tmp_path: Path) -> None:
    elsewhere, folder = ReviewFolder(tmp_path / "other"), ReviewFolder(tmp_path / "review")
    kept = elsewhere.keep(look(1), pictured.picture("left", 1))
    folder.keep(look(1, watch="gate"), pictured.picture("left", 1))
    (folder.root / "bowl").symlink_to(elsewhere.root / "bowl")
    for name in (kept, f"../other/{kept}", f"gate/../../other/{kept}"):
        with pytest.raises(DataError, match="no kept frame"):
            folder.item(name)


def test_a_damaged_picture_is_an_error_of_one_line(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path)
    item = folder.item(folder.keep(look(1), pictured.picture("left", 1)))
    item.picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="20260131T120001"):
        picture_of(item)


def test_a_disk_that_takes_nothing_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    blocked = tmp_path / "review"
    blocked.write_text("a file, not a folder")
    with pytest.raises(DataError, match="review"):
        ReviewFolder(blocked).keep(look(1), pictured.picture("left", 1))


@pytest.mark.parametrize("key", ["max_frames", "max_mb"])
def test_a_folder_for_nothing_is_rejected(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"test:1: review\.{key}: needs a"):
        parse_config(f"review: {{path: review, {key}: 0}}\n", where="test")
