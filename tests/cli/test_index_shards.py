"""`index build --shard` and `index merge` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from tests.pictures import picture, write

Run = Any


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(8):
        write(tmp_path / "photos" / f"{number}.png", picture(number, width=48, height=48))
    return tmp_path / "photos"


@pytest.fixture
def folders(photos: Path, tmp_path: Path, run: Run) -> list[Path]:
    places = [tmp_path / "s1", tmp_path / "s2"]
    for number, place in enumerate(places, 1):
        code, out, _ = run(*command(photos, place), "--shard", f"{number}/2")
        assert (code, f"ready, shard {number}/2, " in out) == (0, True)
    return places


def command(photos: Path, place: Path) -> tuple[object, ...]:
    return ("index", "build", photos, "--out", place, "--model", "thumbnail")


def test_shards_become_one_index_that_is_searched(
    photos: Path, folders: list[Path], tmp_path: Path, run: Run
) -> None:
    code, out, err = run("index", "merge", tmp_path / "i", *folders)
    assert code == 0
    assert out == f"{tmp_path / 'i'}: 8 pictures of 2 shards (8 new, 0 gone)\n"
    assert err == "merged shard 1/2\nmerged shard 2/2\n"
    query = ("search", "--index", tmp_path / "i", "--query", photos / "3.png", "--json")
    assert json.loads(run(*query)[1])["hits"][0]["name"] == "3.png"
    found = json.loads(run("index", "merge", tmp_path / "i", folders[1], "--json")[1])
    assert (found["merged"], found["missing"], found["new"], found["pictures"]) == ([2], [], 0, 8)


def test_a_merged_index_knows_its_shards_after_it_got_another_model(
    photos: Path, folders: list[Path], tmp_path: Path, run: Run
) -> None:
    place = tmp_path / "i"
    assert run("index", "merge", place, *folders)[0] == 0
    again = ("index", "build", photos, "--out", place, "--model", "default")
    assert run(*again)[0] == 0
    code, out, err = run("index", "merge", place, *folders)
    assert (code != 0, out) == (True, "")
    assert "made with the model" in err
    assert "not made by a merge" not in err
    for number in (1, 2):
        part = ("index", "build", photos, "--out", tmp_path / f"new-{number}", "--shard")
        assert run(*part, f"{number}/{len(folders)}", "--model", "default")[0] == 0
    found = json.loads(run("index", "merge", place, tmp_path / "new-2", "--json")[1])
    assert (found["merged"], found["missing"], found["new"], found["pictures"]) == ([2], [], 0, 8)


def test_a_shard_says_what_it_is(photos: Path, folders: list[Path], run: Run) -> None:
    assert "2/2, complete" in run("index", "info", folders[1])[1]
    manifest = json.loads((folders[1] / "shard.json").read_text())
    assert (manifest["shard"], manifest["of"], manifest["complete"]) == (2, 2, True)
    code, out, _ = run(*command(photos, folders[1]), "--shard", "2/2", "--json")
    assert (code, json.loads(out)["shard"], json.loads(out)["new"]) == (0, "2/2", 0)


def test_a_missing_shard_is_named_and_may_be_missing(
    folders: list[Path], tmp_path: Path, run: Run
) -> None:
    code, _, err = run("index", "merge", tmp_path / "i", folders[0])
    assert (code, err.count("\n")) == (1, 1)
    assert "shard 2/2 is missing; --partial merges what is there" in err
    code, out, _ = run("index", "merge", tmp_path / "i", folders[0], "--partial")
    assert (code, "; 1 of 2 shards missing" in out) == (0, True)


@pytest.mark.parametrize("text", ["0/2", "3/2", "one", "2"])
def test_a_shard_that_is_none_is_wrong_usage(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, command(photos, tmp_path / "s")), "--shard", text])
    assert stopped.value.code == 2
    assert "argument --shard: " in capsys.readouterr().err


def test_shards_without_a_picture_make_no_index(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    code, out, _ = run(*command(tmp_path / "empty", tmp_path / "s"), "--shard", "1/1")
    assert (code, "ready, shard 1/1, 0 pictures" in out) == (0, True)
    code, out, err = run("index", "merge", tmp_path / "i", tmp_path / "s")
    assert (code, out) == (1, "")
    assert "no picture in any shard" in err


def test_a_shard_stays_one(photos: Path, folders: list[Path], tmp_path: Path, run: Run) -> None:
    code, _, err = run("index", "build", photos, "--out", folders[0], "--model", "default")
    assert (code, "is shard 1/2" in err, "--shard 1/2" in err) == (1, True, True)
    assert run("index", "merge", tmp_path / "i", *folders)[0] == 0


def test_new_pictures_are_counted_not_files_that_cannot_be_read(
    photos: Path, tmp_path: Path, run: Run
) -> None:
    (photos / "broken.png").write_text("no picture")
    assert run(*command(photos, tmp_path / "s"), "--shard", "1/1")[0] == 0
    assert (
        "8 pictures of 1 shards (8 new, 0 gone)"
        in run("index", "merge", tmp_path / "i", tmp_path / "s")[1]
    )
    (photos / "broken.png").unlink()
    (photos / "7.png").unlink()
    assert run(*command(photos, tmp_path / "s"))[0] == 0
    assert (
        "7 pictures of 1 shards (0 new, 1 gone)"
        in run("index", "merge", tmp_path / "i", tmp_path / "s")[1]
    )
