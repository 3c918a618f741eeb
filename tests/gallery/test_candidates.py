"""Pictures to enrol come from files, folders, videos and cameras, in order, one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.core.files import printable
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.gallery.candidates import (
    EnrolmentCandidate,
    Sampling,
    Unreadable,
    candidates_in,
    sampled,
)
from tests.builders import ListSource, flat_frame
from tests.gallery.pictures import saved, scene


def indices(frames: list[Frame], sampling: Sampling) -> list[int]:
    return [frame.index for frame in sampled(ListSource(frames), sampling)]


def test_files_and_folders_come_in_their_order(tmp_path: Path) -> None:
    for name in ("frame10.png", "frame9.png"):
        saved(tmp_path / "in", name, scene(1))
    single = saved(tmp_path, "z.png", scene(2))
    found = list(candidates_in([single, str(tmp_path / "in")]))
    assert [Path(item.name).name for item in found] == ["z.png", "frame9.png", "frame10.png"]
    assert all(isinstance(item, EnrolmentCandidate) for item in found)


def test_folders_below_a_folder_are_not_entered(tmp_path: Path) -> None:
    saved(tmp_path / "in", "a.png", scene(1))
    saved(tmp_path / "in" / "below", "b.png", scene(1))
    assert len(list(candidates_in([str(tmp_path / "in")]))) == 1


def test_a_folder_without_pictures_and_a_missing_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"{tmp_path}: no pictures"):
        list(candidates_in([str(tmp_path)]))
    with pytest.raises(SourceError, match=r"gone\.png"):
        list(candidates_in([str(tmp_path / "gone.png")]))


def test_a_file_that_is_no_picture_is_told_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.jpg"
    path.write_text("nonsense")
    (found,) = candidates_in([str(path)])
    assert isinstance(found, Unreadable)
    assert "\n" not in found.name
    assert str(path) not in found.fault


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.png", scene(1))
    found = candidates_in([path, str(tmp_path / "missing")])
    assert isinstance(next(found), EnrolmentCandidate)


def test_frames_of_a_source_carry_its_name_their_number_and_time() -> None:
    uri = "synthetic:gate?seed=3"
    found = list(candidates_in([uri], Sampling(every_s=1.0, count=2)))
    assert [item.name for item in found] == [f"{uri}#0", f"{uri}#5"]
    assert all(isinstance(item, EnrolmentCandidate) and item.unix_time_s for item in found)


def test_sampling_keeps_frames_apart_and_stops_at_the_count() -> None:
    frames = [flat_frame(index=index, at_s=index * 0.25) for index in range(20)]
    assert indices(frames, Sampling()) == list(range(20))
    assert indices(frames, Sampling(count=3)) == [0, 1, 2]
    assert indices(frames, Sampling(every_s=1.0)) == [0, 4, 8, 12, 16]
    assert indices(frames, Sampling(every_s=1.1, count=3)) == [0, 5, 10]
    assert indices([], Sampling()) == []


def test_a_lost_camera_is_told_after_the_frames_it_gave() -> None:
    source = ListSource([flat_frame(index=0), SourceError("cam: gone")])
    frames = sampled(source, Sampling())
    assert next(frames).index == 0
    with pytest.raises(SourceError, match="cam: gone"):
        next(frames)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("plain é.png", "plain é.png"),
        ("a\nb", "a\\nb"),
        ("\udcff", "\\udcff"),
        ("\x1b[0m", "\\x1b[0m"),
    ],
)
def test_names_are_made_printable(name: str, printed: str) -> None:
    assert printable(name) == printed
    assert printable(name).isprintable()
