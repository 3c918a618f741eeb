"""An index on disk is what its folder is, through every accident."""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_sim.core.protocols import Embedder
from edge_sim.errors import ModelError, SearchError
from edge_sim.search import build as building
from edge_sim.search.build import UpdateReport, scan, update
from edge_sim.search.rows import IndexPlan, VectorScale
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.builders import BrightnessEmbedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(6):
        write(folder / ("day" if number % 2 else "night") / f"p{number}.png", picture(number))
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "photos.index"


def plan(photos: Path, *, scale: VectorScale = VectorScale.GLOBAL, kind: str = "auto") -> IndexPlan:
    return IndexPlan(photos, EMBEDDER.model_id, "thumbnail", scale, kind)


def build(photos: Path, place: Path, embedder: Embedder = EMBEDDER) -> UpdateReport:
    with IndexStore.open(place, create=plan(photos)) as store:
        return update(store, embedder)


def names(place: Path) -> list[str]:
    with IndexStore.open(place) as store:
        return sorted(str(entry.path) for entry in store.entries())


def test_a_build_holds_every_picture_with_its_vector(photos: Path, place: Path) -> None:
    report = build(photos, place)
    assert (report.new, report.embedded, report.unread) == (6, 6, [])
    with IndexStore.open(place) as store:
        table = store.table()
        assert isinstance(table.vectors, np.memmap)
        for entry, vector in zip(table.entries, table.vectors, strict=True):
            pixels = picture(int(entry.path.stem[1:]))
            np.testing.assert_allclose(vector, EMBEDDER.embed(pixels).vector, atol=1e-6)
            assert (entry.width, entry.height) == (160, 120)
            assert entry.state == entry.path.parent.name
        assert store.problems() == ()


def test_a_second_build_looks_at_nothing_again(photos: Path, place: Path) -> None:
    build(photos, place)
    report = build(photos, place)
    assert (report.unchanged, report.new, report.changed, report.embedded) == (6, 0, 0, 0)


def test_new_changed_moved_and_deleted_files_are_taken_over(photos: Path, place: Path) -> None:
    build(photos, place)
    write(photos / "new.png", picture(50))
    write(photos / "day" / "p1.png", picture(51))
    (photos / "day" / "p3.png").rename(photos / "moved.png")
    (photos / "day" / "p5.png").unlink()
    report = build(photos, place)
    assert (report.new, report.changed, report.gone) == (2, 1, 2)
    assert report.embedded == 2, "a moved file keeps its vector"
    assert names(place) == [
        "day/p1.png",
        "moved.png",
        "new.png",
        "night/p0.png",
        "night/p2.png",
        "night/p4.png",
    ]


def test_a_folder_that_is_empty_all_of_a_sudden_empties_no_index(
    photos: Path, place: Path, tmp_path: Path
) -> None:
    build(photos, place)
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()  # as a mount point without its drive
    with pytest.raises(SearchError, match="the index is left as it was"):
        build(photos, place)
    assert len(names(place)) == 6
    photos.rmdir()
    (tmp_path / "elsewhere").rename(photos)
    report = build(photos, place)
    assert (report.unchanged, report.new, report.embedded) == (6, 0, 0)


def test_a_touched_file_is_hashed_but_not_embedded_again(photos: Path, place: Path) -> None:
    build(photos, place)
    os.utime(photos / "day" / "p1.png", ns=(1, 1))
    report = build(photos, place)
    assert (report.unchanged, report.changed, report.embedded) == (6, 0, 0)


def test_copies_share_a_content(photos: Path, place: Path) -> None:
    (photos / "copy.png").write_bytes((photos / "day" / "p1.png").read_bytes())
    build(photos, place)
    with IndexStore.open(place) as store:
        contents = {str(entry.path): entry.content for entry in store.entries()}
    assert contents["copy.png"] == contents["day/p1.png"]
    assert len(set(contents.values())) == 6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a picture"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 60_000, 60_000),
            "3600000000|60000 x",
        ),
    ],
    ids=["empty", "text", "bomb"],
)
def test_what_is_no_picture_is_reported_and_not_tried_again(
    photos: Path, place: Path, data: bytes, reason: str
) -> None:
    (photos / "bad.png").write_bytes(data)
    (unread,) = build(photos, place).unread
    assert str(unread.path) == "bad.png"
    assert re.search(reason, unread.reason)
    again = build(photos, place)
    assert again.unread == [unread]
    assert again.unchanged == 7


def test_links_to_folders_are_not_followed_so_a_loop_ends(photos: Path, place: Path) -> None:
    (photos / "loop").symlink_to(photos, target_is_directory=True)
    (photos / "dangling.png").symlink_to(photos / "nowhere.png")
    report = build(photos, place)
    assert report.new == 6
    assert [str(item.path) for item in report.unread] == ["dangling.png"]


def test_a_pipe_called_like_a_picture_does_not_block(photos: Path, place: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    (unread,) = build(photos, place).unread
    assert unread.reason == "not a regular file"


def test_any_name_that_a_file_can_have_is_kept(photos: Path, place: Path) -> None:
    strange = [
        "żółw 🐢.png",
        "line\nbreak.png",
        os.fsdecode(b"not\xfftext.png"),
        "-rf.png",
        "'.png",
    ]
    for number, name in enumerate(strange):
        write(photos / name, picture(60 + number))
    assert build(photos, place).new == 11
    assert build(photos, place).unchanged == 11
    assert set(strange) <= set(names(place))


def test_an_index_inside_its_own_folder_does_not_index_itself(photos: Path) -> None:
    place = photos / "index"
    build(photos, place)
    write(place / "stray.png", picture(70))
    assert build(photos, place).unchanged == 6


def test_a_query_or_update_with_another_model_is_refused(photos: Path, place: Path) -> None:
    build(photos, place)
    with IndexStore.open(place) as store, pytest.raises(ModelError, match="made with the model"):
        update(store, BrightnessEmbedder())
    other = IndexPlan(photos, "brightness@1")
    with pytest.raises(ModelError, match="brightness@1"):
        IndexStore.open(place, create=other)


def test_an_index_of_another_folder_is_refused(photos: Path, place: Path, tmp_path: Path) -> None:
    build(photos, place)
    with pytest.raises(SearchError, match="an index of"):
        IndexStore.open(place, create=plan(tmp_path))


def test_a_folder_with_other_things_does_not_become_an_index(photos: Path) -> None:
    with pytest.raises(SearchError, match="not empty and no index"):
        IndexStore.open(photos / "day", create=plan(photos))


def test_a_place_without_an_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="edge-sim index build"):
        IndexStore.open(tmp_path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"something else entirely" * 10)
    with pytest.raises(SearchError, match="not an index of edge_sim"):
        IndexStore.open(tmp_path)
    assert (tmp_path / "index.db").read_bytes().startswith(b"something else")


def test_a_damaged_vector_is_found(photos: Path, place: Path) -> None:
    build(photos, place)
    with closing(sqlite3.connect(place / "index.db")) as connection, connection:
        connection.execute("UPDATE contents SET vector = zeroblob(length(vector)) WHERE id = 3")
    with IndexStore.open(place) as store:
        (problem,) = store.problems()
    assert "its vector or thumbnail is damaged" in problem


def test_a_truncated_file_of_vectors_is_named(photos: Path, place: Path) -> None:
    build(photos, place)
    (path,) = place.glob("vectors-*.npy")
    path.write_bytes(path.read_bytes()[:200])
    with IndexStore.open(place) as store, pytest.raises(SearchError, match="delete it and run"):
        store.table()


def test_without_the_file_of_vectors_a_search_reads_the_database(photos: Path, place: Path) -> None:
    build(photos, place)
    with IndexStore.open(place) as store:
        before = np.array(store.table().vectors)
        for path in place.glob("vectors-*.npy"):
            path.unlink()
        np.testing.assert_array_equal(store.table().vectors, before)
        assert not store.info().ready
    build(photos, place)
    with IndexStore.open(place) as store:
        assert store.info().ready


def test_pictures_left_out_stay_out_until_they_are_named(photos: Path, place: Path) -> None:
    build(photos, place)
    with IndexStore.open(place) as store:
        assert store.leave_out([Path("day/p1.png")]) == 1
        assert len(store.table().vectors) == 5
        update(store, EMBEDDER)
        assert len(store.entries()) == 5
        with pytest.raises(SearchError, match="not in the index"):
            store.leave_out([Path("day/p1.png")])
        update(store, EMBEDDER, starts=[photos / "day" / "p1.png"])
        assert len(store.entries()) == 6


def test_only_the_named_part_is_updated(photos: Path, place: Path) -> None:
    build(photos, place)
    write(photos / "day" / "new.png", picture(80))
    (photos / "night" / "p0.png").unlink()
    with IndexStore.open(place) as store:
        report = update(store, EMBEDDER, starts=[photos / "day"])
    assert (report.new, report.gone) == (1, 0)
    assert "night/p0.png" in names(place)


def test_a_path_outside_the_folder_is_refused(photos: Path, place: Path, tmp_path: Path) -> None:
    build(photos, place)
    with IndexStore.open(place) as store, pytest.raises(SearchError, match="not under"):
        update(store, EMBEDDER, starts=[tmp_path])


def test_a_folder_that_is_away_forgets_nothing(photos: Path, place: Path) -> None:
    build(photos, place)
    photos.rename(photos.with_name("away"))
    with IndexStore.open(place) as store, pytest.raises(SearchError, match="no such folder"):
        update(store, EMBEDDER)
    assert len(names(place)) == 6


def test_tags_are_kept_and_counted(photos: Path, place: Path) -> None:
    build(photos, place)
    with IndexStore.open(place) as store:
        assert store.tag([Path("day/p1.png"), Path("day/p3.png")], "odd") == 2
        assert store.tag([Path("day/p1.png")], "odd") == 0
        assert store.info().tags == {"odd": 2}
        assert store.info().ready, "a tag changes no vector"
    build(photos, place)
    with IndexStore.open(place) as store:
        assert [entry.tags for entry in store.entries() if entry.path.stem == "p1"] == [("odd",)]


def test_the_kind_and_its_reason_are_stated(photos: Path, place: Path) -> None:
    build(photos, place)
    with IndexStore.open(place) as store:
        info = store.info()
    assert info.kind == "exact"
    assert "6 x 289 float32 are 0 MiB" in info.reason


def test_a_graph_is_built_and_mapped(photos: Path, place: Path) -> None:
    pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")
    with IndexStore.open(place, create=plan(photos, kind="hnsw")) as store:
        update(store, EMBEDDER)
        table = store.table()
    assert table.kind == "hnsw"
    assert table.graph is not None
    assert table.graph.is_file()


def test_both_scales_are_kept_side_by_side(photos: Path, place: Path) -> None:
    with IndexStore.open(place, create=plan(photos, scale=VectorScale.BOTH)) as store:
        update(store, EMBEDDER)
        table = store.table()
    assert table.vectors.shape == (6, 289 + 4 * 4 * 18)
    for part in (table.vectors[:, :289], table.vectors[:, 289:]):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1.0, atol=1e-5)


def test_a_build_that_is_stopped_goes_on_where_it_was(
    photos: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "BATCH", 2)

    class Stops:
        """Fails like Ctrl-C after four pictures."""

        model_id, dimension = EMBEDDER.model_id, EMBEDDER.dimension
        input_px = EMBEDDER.input_px
        left = 4

        def embed(self, pixels: np.ndarray) -> object:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return EMBEDDER.embed(pixels)

    with pytest.raises(KeyboardInterrupt):
        build(photos, place, Stops())  # type: ignore[arg-type]
    assert build(photos, place).embedded == 2
    assert len(names(place)) == 6


KILLED = """
import sys, threading
from pathlib import Path
from edge_sim.search import build
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
build.BATCH = 8
embedder = open_embedder("thumbnail")
plan = IndexPlan(Path(sys.argv[1]), embedder.model_id, "thumbnail")
with IndexStore.open(sys.argv[2], create=plan) as store:
    def progress(paths, total):
        for number, path in enumerate(paths):
            print(number, flush=True)
            yield path
    update(store, embedder, progress=progress)
"""


@pytest.mark.parametrize("after", [0, 9, 23, 39])
def test_a_killed_build_leaves_an_index_that_opens_and_goes_on(
    tmp_path: Path, after: int, place: Path
) -> None:
    photos = tmp_path / "many"
    for number in range(40):
        write(photos / f"{number}.png", picture(number, width=48, height=48))
    command = [sys.executable, "-c", KILLED, str(photos), str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == after:
                process.kill()
                break
    with IndexStore.open(place) as store:
        kept = len(store.entries())
        assert store.table().vectors.shape[0] == kept
    assert kept >= after // 8 * 8
    report = build(photos, place)
    assert report.embedded <= 40 - kept
    assert len(names(place)) == 40
    with IndexStore.open(place) as store:
        assert store.problems() == ()


def test_two_updates_at_once_are_refused(photos: Path, place: Path) -> None:
    build(photos, place)
    with (
        IndexStore.open(place) as store,
        store.exclusive(),
        IndexStore.open(place) as other,
        pytest.raises(SearchError, match="another process is updating"),
    ):
        update(other, EMBEDDER)


def test_a_closed_index_says_so(photos: Path, place: Path) -> None:
    build(photos, place)
    store = IndexStore.open(place)
    store.close()
    store.close()
    with pytest.raises(SearchError, match="closed"):
        store.entries()


def test_an_empty_folder_makes_an_empty_index(tmp_path: Path, place: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert build(tmp_path / "empty", place) == UpdateReport()
    with IndexStore.open(place) as store:
        assert len(store.table().vectors) == 0


def test_an_unknown_kind_is_refused(photos: Path, place: Path) -> None:
    with pytest.raises(SearchError, match="no kind of index 'fast'"):
        IndexStore.open(place, create=plan(photos, kind="fast"))


def test_files_of_the_future_do_not_matter(photos: Path, place: Path) -> None:
    later = int((time.time() + 1e6) * 1e9)
    os.utime(photos / "day" / "p1.png", ns=(later, later))
    build(photos, place)
    assert build(photos, place).unchanged == 6


@pytest.mark.parametrize("name", ["@eaDir", ".thumbnails", "#recycle"])
def test_folders_of_programs_are_left_out_unless_they_are_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "photos" / "1.png", picture(1))
    write(tmp_path / "photos" / name / "2.png", picture(2))
    assert [str(path) for path in scan(tmp_path / "photos").files] == ["1.png"]
    named = scan(tmp_path / "photos", [tmp_path / "photos" / name])
    assert [path.name for path in named.files] == ["2.png"]
