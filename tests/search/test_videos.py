"""Videos are indexed by frames, which are named by file and second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_sim.cli.main import main
from edge_sim.core.types import BgrImage
from edge_sim.errors import SearchError, SourceError
from edge_sim.search import frames
from edge_sim.search.build import UpdateReport, update
from edge_sim.search.frames import (
    checked_sampling,
    file_of,
    frame_path,
    read_entry,
    sampled_frames,
    split_frame,
)
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")
FPS = 4.0
SCENES = 3
SECONDS_PER_SCENE = 2


def scene(number: int) -> BgrImage:
    return np.asarray(cv2.resize(picture(10 + number), (160, 120)), np.uint8)


def write_clip(path: Path, scenes: int = SCENES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (160, 120))
    for number in range(scenes):
        for _ in range(int(FPS * SECONDS_PER_SCENE)):
            writer.write(scene(number))
    writer.release()


@pytest.fixture(params=["pyav", "opencv"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pyav":
        pytest.importorskip("av", reason="PyAV is not installed: edge_sim[video]")
    else:
        monkeypatch.setattr(frames, "has_pyav", lambda: False)
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clip(tmp_path / "photos" / "day" / "clip.avi")
    write(tmp_path / "photos" / "a.png", picture(1))
    return tmp_path / "photos"


def build(folder: Path, place: Path, every: str = "", **options: Any) -> UpdateReport:
    plan = IndexPlan(folder, EMBEDDER.model_id, "thumbnail", frames=every)
    with IndexStore.open(place, create=plan) as store:
        return update(store, EMBEDDER, **options)


def names(place: Path) -> list[str]:
    with IndexStore.open(place) as store:
        return sorted(store.entries().names)


def test_frames_are_rows_beside_pictures(folder: Path, tmp_path: Path, decoder: str) -> None:
    report = build(folder, tmp_path / "index", "2")
    assert (report.new, report.videos, report.unread) == (4, 1, [])
    expected = ["a.png", *(f"day/clip.avi#t={second}" for second in (0, 2, 4))]
    assert names(tmp_path / "index") == expected
    with IndexStore.open(tmp_path / "index") as store:
        assert (store.info().pictures, store.info().unread) == (4, 0)
        entry = next(item for item in store.entries() if item.path.name == "clip.avi#t=2")
        facts = dict(entry.facts())
        assert (facts["video"], facts["second"], facts["suffix"]) == ("day/clip.avi", "2", "avi")
        assert (entry.state, entry.width) == ("day", 160)
        assert store.problems() == ()


def test_a_search_names_the_second_and_the_name_is_a_query(
    folder: Path, tmp_path: Path, decoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "index"
    build(folder, place, "1")
    cv2.imwrite(str(tmp_path / "query.png"), scene(1))
    for query in (tmp_path / "query.png", "day/clip.avi#t=3", folder / "day" / "clip.avi#t=3"):
        arguments = ["search", "--index", str(place), "--query", str(query), "--top-k", "2"]
        report = tmp_path / "page.html"
        assert main([*arguments, "--json", "--report", str(report)]) == 0
        hits = json.loads(capsys.readouterr().out)["hits"]
        assert {hit["name"] for hit in hits} == {"day/clip.avi#t=2", "day/clip.avi#t=3"}
        assert report.read_text().count("data:image") >= 3
    where = ["--where", "video = day/clip.avi and second < 2"]
    assert main(["index", "list", str(place), *where, "--json"]) == 0
    found = [item["path"] for item in json.loads(capsys.readouterr().out)["pictures"]]
    assert sorted(found) == ["day/clip.avi#t=0", "day/clip.avi#t=1"]


def test_a_video_without_a_time_is_no_query_and_the_form_is_shown(
    folder: Path, tmp_path: Path, decoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build(folder, tmp_path / "index", "2")
    clip = folder / "day" / "clip.avi"
    assert main(["search", "--index", str(tmp_path / "index"), "--query", str(clip)]) != 0
    err = capsys.readouterr().err
    assert err == f"edge-sim: {clip}: a video; search by a frame of it, {clip}#t=SECONDS\n"


def test_a_frame_is_read_again_as_it_was_indexed(folder: Path, decoder: str) -> None:
    clip = folder / "day" / "clip.avi"
    for at_s, pixels in sampled_frames(clip, "0.75"):
        again = read_entry(frame_path(clip, at_s))
        np.testing.assert_array_equal(again, pixels)
    with pytest.raises(SourceError, match="has no frame at 99 s"):
        read_entry(clip.with_name("clip.avi#t=99"))


def test_key_frames_are_a_second_apart(folder: Path, decoder: str) -> None:
    times = [at_s for at_s, _ in sampled_frames(folder / "day" / "clip.avi", "key")]
    gap_s = 1.0 if decoder == "pyav" else frames.WITHOUT_PYAV_S
    assert times == pytest.approx(np.arange(0.0, 6.0, gap_s))


def test_an_unchanged_video_is_not_read_and_another_choice_of_frames_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "index"
    build(folder, place, "2")
    with monkeypatch.context() as patched:
        patched.setattr("edge_sim.search.videos.sampled_frames", None)
        report = build(folder, place)
        assert (report.unchanged, report.new) == (4, 0)
    report = build(folder, place, "3")
    assert (report.new, report.unchanged, report.embedded) == (1, 2, 0)
    assert names(place) == ["a.png", "day/clip.avi#t=0", "day/clip.avi#t=3"]
    assert build(folder, place).unchanged == 3, "the choice is kept"


def test_a_changed_video_and_one_that_is_gone_are_taken_over(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "index"
    build(folder, place, "2")
    write_clip(folder / "day" / "clip.avi", scenes=2)
    report = build(folder, place)
    assert report.new == 0
    assert names(place) == ["a.png", "day/clip.avi#t=0", "day/clip.avi#t=2"]
    (folder / "day" / "clip.avi").unlink()
    assert build(folder, place).gone == 2
    assert names(place) == ["a.png"]


def test_a_file_that_is_no_video_is_named_once_it_is_not_read(tmp_path: Path) -> None:
    folder, place = tmp_path / "photos", tmp_path / "index"
    write_clip(folder / "good.avi")
    (folder / "bad.mp4").write_bytes(b"no video")
    report = build(folder, place, "2")
    assert [str(item.path) for item in report.unread] == ["bad.mp4"]
    assert not report.unread[0].reason.startswith("/")
    again = build(folder, place)
    assert again.unread == report.unread
    with IndexStore.open(place) as store:
        assert [str(item.path) for item in store.unread()] == ["bad.mp4"]


def test_frames_left_out_by_hand_stay_out_until_the_video_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "index"
    build(folder, place, "2")
    clip = folder / "day" / "clip.avi"
    assert main(["index", "rm", str(place), f"{clip}#t=2"]) == 0
    report = build(folder, place)
    assert (report.left_out, report.new) == (1, 0)
    build(folder, place, "1")
    assert "day/clip.avi#t=2" not in names(place)
    build(folder, place, starts=[clip])
    assert "day/clip.avi#t=2" in names(place)
    assert main(["index", "rm", str(place), str(clip)]) == 0
    assert names(place) == ["a.png"]


def test_attributes_of_a_video_are_those_of_its_frames(folder: Path, tmp_path: Path) -> None:
    (folder / "attributes.csv").write_text(
        "file,place\nday/clip.avi,press\nday/clip.avi#t=2,hall\nnone.avi,x\n"
    )
    report = build(folder, tmp_path / "index", "2")
    assert report.unmatched == ["none.avi"]
    with IndexStore.open(tmp_path / "index") as store:
        own = {entry.path.name: entry.own.get("place") for entry in store.entries()}
    assert own == {
        "a.png": None, "clip.avi#t=0": "press", "clip.avi#t=2": "hall", "clip.avi#t=4": "press"
    }  # fmt: skip


def test_frames_are_exported_as_pictures_and_are_no_duplicates(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "index"
    build(folder, place, "1")
    for form in ("folders", "fiftyone", "label-studio"):
        assert main(["index", "export", str(place), str(tmp_path / form), "--format", form]) == 0
        assert len(list((tmp_path / form).rglob("*.jpg"))) == 6
    assert main(["index", "map", str(place), str(tmp_path / "map.html")]) == 0
    capsys.readouterr()
    assert main(["duplicates", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"] == []


def test_a_folder_of_videos_is_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "clips" / "one.avi")
    arguments = ["index", "build", str(tmp_path / "clips"), "--out", str(tmp_path / "index")]
    assert main([*arguments, "--model", "thumbnail", "--every", "2"]) == 0
    assert "ready, 3 pictures" in capsys.readouterr().out
    assert main([*arguments, "--model", "thumbnail", "--every", "often"]) != 0
    assert "wants seconds between frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("clip.mp4#t=12.5", ("clip.mp4", 12.5)),
        ("a/b.mkv#t=0", ("a/b.mkv", 0.0)),
        ("clip.mp4", None),
        ("clip.mp4#t=", None),
        ("clip.mp4#t=1e3", None),
    ],
)
def test_names_of_frames(name: str, found: tuple[str, float] | None) -> None:
    assert split_frame(name) == found
    assert str(file_of(Path(name))) == (name if found is None else found[0])


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "keys", "", "1e9"])
def test_what_is_no_distance_of_frames_is_refused(text: str) -> None:
    with pytest.raises(SearchError, match="wants seconds"):
        checked_sampling(text)
