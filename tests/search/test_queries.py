"""A query is a file, a frame of a video, a picture of the collection, a region, or several."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.types import BgrImage, Roi
from edge_sim.errors import SearchError, SourceError
from edge_sim.search.frames import read_frame
from edge_sim.search.queries import picture_of, query_of
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")


def known(name: str, _: int | None) -> BgrImage | None:
    return picture(3) if name == "r3" else None


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 20 frames at 10 a second whose brightness grows."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def test_a_file_and_a_picture_of_the_collection_are_found(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture(1))
    assert np.array_equal(picture_of(str(tmp_path / "a.png"), known), picture(1))
    assert np.array_equal(picture_of("r3", known), picture(3))


@pytest.mark.parametrize("second", [0.0, 0.5, 1.9])
def test_a_frame_of_a_video_is_that_of_its_time(clip: Path, second: float) -> None:
    pixels = picture_of(f"{clip}#t={second}", known)
    assert abs(float(pixels.mean()) - 100 * second) < 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "no such file, and none of the pictures that are searched"),
        ("clip.avi#t=", "no such file"),
    ],
)
def test_what_is_not_there_is_told_with_the_forms(name: str, words: str) -> None:
    with pytest.raises(SearchError, match=words):
        picture_of(name, known)


def test_a_time_beyond_the_end_names_the_length(clip: Path) -> None:
    with pytest.raises(SourceError, match=r"has no frame at 9 s; it has 1\.9 s"):
        read_frame(clip, 9.0)


def test_a_region_is_the_query_of_its_pixels() -> None:
    whole = picture(3)
    rows, columns = whole.shape[:2]
    wanted = EMBEDDER.embed(np.ascontiguousarray(whole[: rows // 2, columns // 2 :]))
    found = query_of(["r3"], EMBEDDER, known, cut_bars=True, roi=Roi(0.5, 0.0, 1.0, 0.5))
    assert np.allclose(found.embedding.vector, wanted.vector)
    with pytest.raises(SearchError, match="smaller than two pixels"):
        query_of(["r3"], EMBEDDER, known, cut_bars=True, roi=Roi(0.5, 0.0, 0.501, 0.5))


def test_several_pictures_are_searched_by_their_mean(tmp_path: Path) -> None:
    names = []
    for number in (1, 2):
        write(tmp_path / f"{number}.png", picture(number))
        names.append(str(tmp_path / f"{number}.png"))
    each = [query_of([name], EMBEDDER, known, cut_bars=True).embedding.vector for name in names]
    both = query_of(names, EMBEDDER, known, cut_bars=True).embedding.vector
    mean = (each[0] + each[1]) / 2
    assert np.allclose(both, mean / np.linalg.norm(mean), atol=1e-6)
    assert np.allclose(
        query_of([names[0]] * 3, EMBEDDER, known, cut_bars=True).embedding.vector,
        each[0],
        atol=1e-6,
    )
    with pytest.raises(SearchError, match="1 to 100"):
        query_of(names * 60, EMBEDDER, known, cut_bars=True)
