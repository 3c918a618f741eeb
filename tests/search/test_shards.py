"""Shards divide a folder without a list, each has one builder, and they merge into one index."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.errors import ModelError, SearchError
from edge_sim.search import build as building
from edge_sim.search import merging
from edge_sim.search.build import UpdateReport, update
from edge_sim.search.merging import MergeReport, merge
from edge_sim.search.rows import IndexPlan, VectorScale
from edge_sim.search.shards import NAME, Shard, read_manifest, shard_number
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")
PICTURES, OF = 14, 3


def write_photos(folder: Path) -> Path:
    for number in range(PICTURES):
        write(folder / str(number % 4) / f"{number}.png", picture(number, width=48, height=48))
    write(folder / "copy.png", picture(3, width=48, height=48))
    (folder / "broken.jpg").write_text("no picture")
    (folder / "attributes.csv").write_text("file,place\n0/4.png,yard\n2/6.png,gate\nno.png,gate\n")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that no test changes."""
    return write_photos(tmp_path_factory.mktemp("shared") / "photos")


def build(
    photos: Path, place: Path, shard: Shard | None = None, *, starts: Iterable[Path] = ()
) -> UpdateReport:
    plan = IndexPlan(photos, EMBEDDER.model_id, "thumbnail")
    with IndexStore.open(place, create=plan) as store:
        return update(store, EMBEDDER, shard=shard, starts=list(starts))


def build_shards(photos: Path, place: Path, of: int = OF) -> list[Path]:
    for number in range(1, of + 1):
        build(photos, place / str(number), Shard(number, of))
    return [place / str(number) for number in range(1, of + 1)]


@pytest.fixture(scope="module")
def built(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build_shards(photos, folder)
    return folder


@pytest.fixture
def shards(built: Path, tmp_path: Path) -> list[Path]:
    """Three shards, for this test alone."""
    shutil.copytree(built, tmp_path / "shards")
    return [tmp_path / "shards" / str(number) for number in range(1, OF + 1)]


def held(place: Path) -> dict[str, Any]:
    """Return all that an index says of each path, except numbers that depend on the order."""
    with IndexStore.open(place) as store:
        table = store.table()
        small = store.thumbnails(), store.colours()
        assert store.problems() == ()
        unread = {str(item.path): item.reason for item in store.unread()}
    assert len({entry.path for entry in table.entries}) == len(table.entries)
    return unread | {
        str(entry.path): (
            dict(entry.attributes),
            entry.tags,
            entry.sharpness,
            np.asarray(table.vectors[row]).tobytes(),
            *(part[row].tobytes() for part in small),
        )
        for row, entry in enumerate(table.entries)
    }


@given(st.binary(min_size=1, max_size=40), st.integers(1, 1000))
def test_every_path_belongs_to_exactly_one_shard(name: bytes, of: int) -> None:
    path = Path(os.fsdecode(name.replace(b"\0", b"-")))
    number = shard_number(path, of)
    assert 1 <= number <= of
    assert Shard(number, of).holds(path)
    assert of == 1 or not Shard(number % of + 1, of).holds(path)


@pytest.mark.parametrize(
    ("path", "numbers"), [("a/1.jpg", (5, 3)), ("b/2.jpg", (3, 3)), ("ü.png", (1, 2))]
)
def test_the_division_is_the_same_on_every_machine(path: str, numbers: tuple[int, int]) -> None:
    assert (shard_number(Path(path), 16), shard_number(Path(path), 3)) == numbers


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "1/0", "3", "a/b", "1/2/3", "-1/3", "", "1/9999999"]
)
def test_what_names_no_shard_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        Shard.parse(text)


def test_merged_shards_hold_what_one_build_holds(
    photos: Path, shards: list[Path], tmp_path: Path
) -> None:
    report = merge(tmp_path / "merged", shards)
    assert (report.pictures, report.new, report.missing) == (PICTURES + 1, PICTURES + 2, ())
    build(photos, tmp_path / "whole")
    assert held(tmp_path / "merged") == held(tmp_path / "whole")
    again = build(photos, tmp_path / "merged")
    assert (again.new, again.changed, again.embedded, again.gone) == (0, 0, 0, 0)


def test_tags_of_shards_are_kept(shards: list[Path], tmp_path: Path) -> None:
    tagged: list[str] = []
    for folder in shards:
        with IndexStore.open(folder) as store:
            path = store.entries()[0].path
            store.tag([path], "good")
            tagged.append(str(path))
    merge(tmp_path / "merged", shards)
    found = {name for name, facts in held(tmp_path / "merged").items() if "good" in facts[1]}
    assert set(tagged) <= found


def test_shards_that_come_later_are_appended(shards: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "merged"
    with pytest.raises(SearchError, match=r"shard 2/3 is missing; --partial"):
        merge(out, [shards[2], shards[0]])
    assert not out.exists()
    first = merge(out, [shards[2], shards[0]], partial=True)
    assert (first.merged, first.missing) == ([Shard(1, 3), Shard(3, 3)], (2,))
    merge(out, [shards[1]])
    merge(tmp_path / "at_once", shards)
    assert held(out) == held(tmp_path / "at_once")


def test_a_shard_that_is_merged_again_replaces_its_part(
    tmp_path: Path,
) -> None:
    out, photos = tmp_path / "merged", write_photos(tmp_path / "photos")
    shards = build_shards(photos, tmp_path / "shards")
    merge(out, shards)
    (photos / "0" / "4.png").unlink()
    write(photos / "1" / "5.png", picture(99, width=48, height=48))
    write(photos / "new.png", picture(98, width=48, height=48))
    build_shards(photos, tmp_path / "shards")
    report = merge(out, shards)
    assert (report.new, report.gone) == (1, 1)
    build(photos, tmp_path / "whole")
    assert held(out) == held(tmp_path / "whole")


def test_a_picture_left_out_of_the_merged_index_stays_out(
    shards: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "merged"
    merge(out, shards)
    with IndexStore.open(out) as store:
        store.leave_out([Path("0/4.png")])
    merge(out, shards)
    assert "0/4.png" not in held(out)


def test_a_shard_without_pictures_is_complete(photos: Path, tmp_path: Path) -> None:
    many = build_shards(photos, tmp_path / "many", of=20)
    assert any(read_manifest(folder).pictures == 0 for folder in many)  # type: ignore[union-attr]
    assert merge(tmp_path / "merged", many).pictures == PICTURES + 1


def test_resuming_a_shard_reads_nothing_twice(photos: Path, shards: list[Path]) -> None:
    report = build(photos, shards[0], Shard(1, OF))
    assert (report.new, report.embedded) == (0, 0)
    assert report.unchanged > 0
    # A shard stays one, also where nobody says so again.
    assert build(photos, shards[0]).shard == Shard(1, OF)


def test_only_files_of_a_shard_are_added_to_it(photos: Path, shards: list[Path]) -> None:
    before = read_manifest(shards[0])
    own = next(path for path in photos.rglob("*.png") if is_of_first(path, photos))
    assert build(photos, shards[0], starts=[own]).unchanged == 1
    assert read_manifest(shards[0]) == before
    other = next(path for path in photos.rglob("*.png") if not is_of_first(path, photos))
    with pytest.raises(SearchError, match="belongs to another shard than 1/3"):
        build(photos, shards[0], starts=[other])


def is_of_first(path: Path, photos: Path) -> bool:
    return Shard(1, OF).holds(path.relative_to(photos))


def test_a_shard_reports_unmatched_attributes_of_its_own_only(photos: Path, tmp_path: Path) -> None:
    found = [
        build(photos, tmp_path / str(number), Shard(number, OF)).unmatched
        for number in range(1, OF + 1)
    ]
    assert sorted(found) == [[], [], ["no.png"]]


@pytest.fixture
def other_model(photos: Path, tmp_path: Path) -> Path:
    place = tmp_path / "other"
    embedder = open_embedder("default")
    with IndexStore.open(place, create=IndexPlan(photos, embedder.model_id)) as store:
        update(store, embedder, shard=Shard(2, OF))
    return place


def test_shards_of_two_models_are_not_merged(
    shards: list[Path], other_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="models"):
        merge(tmp_path / "merged", [shards[0], other_model, shards[2]])
    merge(tmp_path / "merged", shards)
    with pytest.raises(ModelError, match="made with the model"):
        merge(tmp_path / "merged", [other_model])


def test_shards_that_do_not_fit_are_named(photos: Path, shards: list[Path], tmp_path: Path) -> None:
    def refused(folders: list[Path], words: str) -> None:
        with pytest.raises(SearchError, match=words):
            merge(tmp_path / "merged", folders)
        assert not (tmp_path / "merged").exists()

    build(photos, tmp_path / "fourth", Shard(4, 4))
    refused([*shards, tmp_path / "fourth"], "parts of different divisions")
    shutil.copytree(shards[0], tmp_path / "twice")
    refused([*shards, tmp_path / "twice"], "name one of them")
    refused([*shards, shards[0]], "named twice")
    build(photos, tmp_path / "whole")
    refused([tmp_path / "whole"], "no shard")
    refused([tmp_path / "nothing"], "no such folder")
    shutil.copytree(photos, tmp_path / "moved")
    build(tmp_path / "moved", tmp_path / "moved2", Shard(2, OF))
    refused([shards[0], tmp_path / "moved2", shards[2]], "--root")
    merged = merge(
        tmp_path / "merged", [shards[0], tmp_path / "moved2", shards[2]], root=tmp_path / "moved"
    )
    assert merged.pictures == PICTURES + 1


def test_an_index_of_another_kind_takes_no_shards(
    photos: Path, shards: list[Path], tmp_path: Path
) -> None:
    build(photos, tmp_path / "whole")
    with pytest.raises(SearchError, match="not made by a merge"):
        merge(tmp_path / "whole", shards)
    with pytest.raises(SearchError, match="is shard 1/3 itself"):
        merge(shards[0], shards[1:])
    with pytest.raises(SearchError, match="no shard; give another --out"):
        build(photos, tmp_path / "whole", Shard(1, OF))
    with pytest.raises(SearchError, match="is shard 1/3; give another --out for 2/3"):
        build(photos, shards[0], Shard(2, OF))
    merge(tmp_path / "merged", shards)
    with pytest.raises(SearchError, match="made of 3 shards, not of 4"):
        merge(tmp_path / "merged", build_shards(photos, tmp_path / "four", of=4))


def test_shards_with_other_parts_of_embeddings_are_not_merged(
    photos: Path, shards: list[Path], tmp_path: Path
) -> None:
    embedder = open_embedder("default")
    places = []
    for number, scale in enumerate((VectorScale.GLOBAL, VectorScale.BOTH), 1):
        places.append(tmp_path / scale.value)
        plan = IndexPlan(photos, embedder.model_id, scale=scale)
        with IndexStore.open(places[-1], create=plan) as store:
            update(store, embedder, shard=Shard(number, 8), starts=())
    with pytest.raises(SearchError, match="scales global and both"):
        merge(tmp_path / "merged", places, partial=True)


def test_a_shard_that_is_being_built_or_not_finished_is_not_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_photos(tmp_path / "photos")
    shards = build_shards(photos, tmp_path / "shards")
    with (
        IndexStore.open(shards[1]) as store,
        store.exclusive(),
        pytest.raises(SearchError, match="being built"),
    ):
        merge(tmp_path / "merged", shards)
    write(photos / "more.png", picture(77, width=48, height=48))
    number = shard_number(Path("more.png"), OF)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "_embedded", stop)
    with pytest.raises(KeyboardInterrupt):
        build(photos, shards[number - 1])
    with pytest.raises(SearchError, match=rf"shard {number}/3 is not finished"):
        merge(tmp_path / "merged", shards)


def change(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "index.db")) as raw, raw:
        raw.execute(statement, values)


@pytest.mark.parametrize(
    ("statement", "values", "words"),
    [
        ("UPDATE contents SET vector = zeroblob(length(vector))", (), "damaged"),
        ("UPDATE files SET path = 'text' WHERE id = 1", (), "damaged"),
        ("UPDATE files SET path = ? WHERE id = 1", (b"0/4.png",), "it would be there twice"),
        ("UPDATE settings SET value = '7' WHERE name = 'width'", (), "damaged"),
    ],
)
def test_a_damaged_shard_is_found_and_the_others_stay(
    shards: list[Path], tmp_path: Path, statement: str, values: tuple[object, ...], words: str
) -> None:
    assert shard_number(Path("0/4.png"), OF) != 2
    change(shards[1], statement, *values)
    with pytest.raises(SearchError, match=rf"shard 2/3 .*{words}"):
        merge(tmp_path / "merged", shards)
    with IndexStore.open(tmp_path / "merged") as store:
        part = Shard(1, OF)
        assert all(part.holds(entry.path) for entry in store.entries())


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"schema": 1, "shard": 9, "of": 3}', b"\xff", b"0" * 70_000]
)
def test_a_damaged_manifest_is_one_line(
    photos: Path, shards: list[Path], tmp_path: Path, content: bytes
) -> None:
    (shards[0] / NAME).write_bytes(content)
    with pytest.raises(SearchError, match=NAME):
        merge(tmp_path / "merged", shards)
    with pytest.raises(SearchError, match=NAME):
        build(photos, shards[0])


class Killed(BaseException):
    """End of the process."""


@pytest.mark.parametrize("step", range(12))
def test_a_merge_killed_at_any_step_holds_whole_shards_and_goes_on(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    out = tmp_path / "merged"
    steps: Iterator[int] = iter(range(100))

    def or_die(function: Any) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            if next(steps) == step:
                raise Killed
            return function(*given, **named)

        return called

    with monkeypatch.context() as patched:
        for name in ("_check_sound", "_take", "_forget_gone", "_take_marks", "_record"):
            patched.setattr(merging, name, or_die(getattr(merging, name)))
        with suppress(Killed):
            merge(out, shards)
    if out.exists():
        with IndexStore.open(out) as store:
            parts = [shard_number(path, OF) for path in store.known()]
        whole = {number: len(known(shards[number - 1])) for number in set(parts)}
        assert {number: parts.count(number) for number in set(parts)} == whole
    merge(out, shards)
    merge(tmp_path / "at_once", shards)
    assert held(out) == held(tmp_path / "at_once")


def known(place: Path) -> set[Path]:
    with IndexStore.open(place) as store:
        return set(store.known())


COMMAND = """
import os, signal, sys
from edge_sim.cli.main import main
from edge_sim.core import sqlite
from edge_sim.search import build, index_database, store
build.BATCH = 2
left = int(sys.argv[1])
transaction = sqlite.transaction

def counted(connection, *, writes):
    global left
    left -= writes
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return transaction(connection, writes=writes)

store.transaction = index_database.transaction = counted
sys.exit(main(sys.argv[2:]))
"""


def kill_until_done(*arguments: object) -> int:
    """Run a command, killed at its first transaction, then at its fourth, until it ends by itself.

    Return the number of kills.
    """
    for kills in range(100):
        command = [sys.executable, "-c", COMMAND, str(3 * kills + 1), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != -9:
            assert done.returncode == 0, done.stderr
            return kills
    raise AssertionError("it does not get on")


def test_kills_leave_every_picture_in_the_merged_index_exactly_once(
    photos: Path, tmp_path: Path
) -> None:
    out, folders = tmp_path / "merged", [tmp_path / "1", tmp_path / "2"]
    build = ("index", "build", photos, "--model", "thumbnail", "--out")
    kills = [
        kill_until_done(*build, folder, "--shard", f"{number}/2")
        for number, folder in enumerate(folders, 1)
    ]
    kills.append(kill_until_done("index", "merge", out, *folders))
    assert min(kills) >= 2
    with IndexStore.open(out) as store:
        paths = sorted(str(entry.path) for entry in store.entries())
        assert store.problems() == ()
    assert paths == sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))


def test_regions_of_shards_are_merged(photos: Path, tmp_path: Path) -> None:
    embedder = open_embedder("default")

    def build_one(place: Path, shard: Shard | None = None, *, regions: bool = True) -> Path:
        plan = IndexPlan(photos, embedder.model_id, regions=regions)
        with IndexStore.open(place, create=plan) as store:
            update(store, embedder, shard=shard)
        return place

    folders = [build_one(tmp_path / str(number), Shard(number, 2)) for number in (1, 2)]
    merge(tmp_path / "merged", folders)
    build_one(tmp_path / "whole")
    assert regions_in(tmp_path / "merged") == regions_in(tmp_path / "whole") != {}
    other = build_one(tmp_path / "other", Shard(2, 2), regions=False)
    with pytest.raises(SearchError, match="other --regions or --every"):
        merge(tmp_path / "new", [folders[0], other])
    with pytest.raises(SearchError, match="other settings of bars, regions or video frames"):
        merge(tmp_path / "merged", [other])


def regions_in(place: Path) -> dict[bytes, bytes]:
    with closing(sqlite3.connect(place / "index.db")) as raw:
        query = "SELECT sha256, vectors FROM regions JOIN contents ON contents.id = content"
        return dict(raw.execute(query))


def test_frames_belong_to_the_shard_of_their_video() -> None:
    video = shard_number(Path("a/clip.mp4"), 1000)
    assert shard_number(Path("a/clip.mp4#t=12.5"), 1000) == video


def test_two_workers_never_write_one_shard(photos: Path, shards: list[Path]) -> None:
    with IndexStore.open(shards[0]) as store, store.exclusive():
        before = read_manifest(shards[0])
        with pytest.raises(SearchError, match="another process is updating"):
            build(photos, shards[0], Shard(1, OF))
        assert read_manifest(shards[0]) == before


def test_a_name_that_is_no_text_is_merged(tmp_path: Path) -> None:
    photos = tmp_path / os.fsdecode(b"photos\xff")
    write(photos / "a.png", picture(1))
    (photos / "a.png").rename(photos / os.fsdecode(b"a\xff.png"))
    place = tmp_path / os.fsdecode(b"shard\xfe?mode=ro")
    build(photos, place, Shard(1, 1))
    report: MergeReport = merge(tmp_path / os.fsdecode(b"out\xfe"), [place])
    assert report.pictures == 1
