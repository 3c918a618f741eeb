"""`index`, `search` and `duplicates` as a user meets them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_sim.cli.main import main
from tests.pictures import picture, write

Run = Any


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(5):
        write(folder / "a" / f"{number}.png", picture(number))
    one = picture(2)
    small = cv2.resize(one, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    write(folder / "b" / "small.png", np.asarray(small, np.uint8))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def index(photos: Path, tmp_path: Path, run: Run) -> Path:
    place = tmp_path / "photos.index"
    code, _, _ = run("index", "build", photos, "--out", place, "--model", "thumbnail")
    assert code == 0
    return place


def test_build_says_when_it_is_ready(photos: Path, tmp_path: Path, run: Run) -> None:
    (photos / "broken.jpg").write_text("no picture")
    arguments = ("index", "build", photos, "--out", tmp_path / "i", "--model", "thumbnail")
    code, out, err = run(*arguments)
    assert code == 0
    assert "ready, 6 pictures (6 new, 0 changed, 0 gone, 1 not read)" in out
    assert "not read: broken.jpg: not a picture" in err
    code, out, _ = run(*arguments, "--json")
    assert json.loads(out)["unread"] == [
        {"path": "broken.jpg", "reason": "not a picture that OpenCV can decode (text)"}
    ]


def test_info_states_the_kind_of_search_and_why(index: Path, run: Run) -> None:
    code, out, _ = run("index", "info", index)
    assert code == 0
    assert "exact: 6 x 289 float32 are 0 MiB" in out


def test_rm_leaves_a_folder_out_and_add_brings_it_back(index: Path, photos: Path, run: Run) -> None:
    assert run("index", "rm", index, photos / "a")[0] == 0
    assert json.loads(run("index", "info", index, "--json")[1])["pictures"] == 1
    code, out, _ = run("index", "add", index, *sorted((photos / "a").iterdir()))
    assert code == 0
    assert "ready, 6 pictures" in out
    code, _, err = run("index", "rm", index, photos / "nothing")
    assert (code, err.count("\n")) == (1, 1)


def test_verify_finds_damage(index: Path, run: Run) -> None:
    assert run("index", "verify", index)[0] == 0
    for path in index.glob("vectors-*"):
        path.unlink()
    code, out, _ = run("index", "verify", index, "--json")
    assert code == 1
    assert json.loads(out)["sound"] is False


def test_search_finds_tags_and_reports(index: Path, photos: Path, tmp_path: Path, run: Run) -> None:
    page = tmp_path / "found.html"
    query = ("search", "--query", photos / "a" / "2.png", "--index", index)
    code, out, err = run(*query, "--top-k", 2, "--tag-hits", "bowl", "--report", page)
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["a/2.png", "b/small.png"]
    assert "2 newly tagged bowl" in err
    assert page.read_text().count("data:image/jpeg;base64") == 3
    code, out, _ = run(*query, "--where", "tag=bowl", "--state", "b", "--json")
    found = json.loads(out)
    assert [hit["name"] for hit in found["hits"]] == ["b/small.png"]
    assert found["eligible"] == 1


def test_search_looks_into_a_gallery(photos: Path, tmp_path: Path, run: Run) -> None:
    gallery = tmp_path / "gallery.db"
    for state, number in (("full", 0), ("empty", 1)):
        code, _, _ = run(
            *("gallery", "add", photos / "a" / f"{number}.png", "--gallery", gallery),
            *("--watch", "bowl", "--state", state, "--model", "thumbnail", "--meta", "by=me"),
        )
        assert code == 0
    query = ("search", "--query", photos / "a" / "1.png", "--gallery", gallery)
    code, out, _ = run(
        *query, "--model", "thumbnail", "--where", "by=me", "--json", "--tag-hits", "seen"
    )
    assert code == 0
    hits = json.loads(out)["hits"]
    assert [hit["facts"]["state"] for hit in hits] == ["empty", "full"]
    code, out, _ = run(*query, "--model", "thumbnail", "--where", "tag=seen", "--least", "--json")
    assert [hit["facts"]["state"] for hit in json.loads(out)["hits"]] == ["full", "empty"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--where", "colour=red"], "no picture has 'colour'"),
        (["--metric", "euclidean", "--min-score", "0.5"], "is a distance"),
        (["--scale", "spatial"], "--scale both"),
        (["--watch", "bowl"], "--watch goes with --gallery"),
        (["--report", "out.pdf"], "written as .html"),
        (["--tag-hits", "two words"], "cannot be the name of a tag"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    index: Path, photos: Path, run: Run, options: list[str], words: str
) -> None:
    code, out, err = run("search", "--query", photos / "a" / "1.png", "--index", index, *options)
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_large_photo_of_an_index_scores_1_by_its_path(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "photos" / "large.jpg", picture(9, width=1203, height=1601))
    index = ("--model", "thumbnail")
    assert run("index", "build", tmp_path / "photos", "--out", tmp_path / "i", *index)[0] == 0
    code, out, _ = run("search", "--index", tmp_path / "i", "--query", "large.jpg", "--json")
    assert code == 0
    assert json.loads(out)["hits"][0]["score"] == pytest.approx(1.0, abs=1e-6)


def test_a_letterboxed_reference_is_found_by_its_own_picture(
    photos: Path, tmp_path: Path, run: Run
) -> None:
    wide = cv2.copyMakeBorder(picture(8), 40, 40, 0, 0, cv2.BORDER_CONSTANT)
    shown = write(photos / "wide.png", np.asarray(wide, np.uint8))
    gallery = ("--gallery", tmp_path / "gallery.db", "--model", "thumbnail")
    assert run("gallery", "add", shown, *gallery, "--watch", "bowl", "--state", "full")[0] == 0
    code, out, _ = run("search", "--query", shown, *gallery, "--json")
    assert code == 0
    (hit,) = json.loads(out)["hits"]
    assert hit["score"] == pytest.approx(1.0, abs=1e-5)


def test_a_filter_that_matches_nothing_is_said(index: Path, photos: Path, run: Run) -> None:
    query = ("search", "--query", photos / "a" / "1.png", "--index", index)
    code, out, err = run(*query, "--state", "nowhere")
    assert (code, out) == (0, "")
    assert "the filter state = nowhere matches none" in err


def test_a_query_that_is_no_picture_is_one_line(index: Path, tmp_path: Path, run: Run) -> None:
    for name, data in (("empty.png", b""), ("text.png", b"hello")):
        (tmp_path / name).write_bytes(data)
        code, _, err = run("search", "--query", tmp_path / name, "--index", index)
        assert (code, err.count("\n")) == (1, 1)


def test_duplicates_of_a_folder_and_of_an_index_are_the_same(
    photos: Path, index: Path, tmp_path: Path, run: Run
) -> None:
    page, listed = tmp_path / "d.html", tmp_path / "list.txt"
    code, out, err = run("duplicates", photos, "--report", page, "--delete-list", listed)
    assert code == 0
    assert out.splitlines()[0] == "1  keep       a/2.png"
    assert out.splitlines()[1].startswith("1  redundant  b/small.png  0.9")
    assert "nothing was deleted" in err
    assert listed.read_text() == f"{photos / 'b' / 'small.png'}\n"
    assert (photos / "b" / "small.png").exists()
    assert page.read_text().count("data:image/jpeg;base64") == 2
    assert run("duplicates", index)[1] == out


def test_a_name_with_a_line_break_does_not_end_up_as_two_lines(
    photos: Path, tmp_path: Path, run: Run
) -> None:
    data = (photos / "b" / "small.png").read_bytes()
    (photos / "b" / "small.png").unlink()
    (photos / "b" / "two\nlines.png").write_bytes(data)
    listed = tmp_path / "list.txt"
    code, _, err = run("duplicates", photos, "--delete-list", listed)
    assert (code, listed.exists()) == (1, False)
    assert "add --null" in err
    assert run("duplicates", photos, "--delete-list", listed, "--null")[0] == 0
    assert listed.read_bytes() == os.fsencode(photos / "b" / "two\nlines.png") + b"\0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["duplicates", "nowhere"], "no such folder or index"),
        (["duplicates", ".", "--threshold", "3"], "likeness of 0.5 to 1"),
        (["duplicates", ".", "--null"], "give both or neither"),
        (["index", "info", "nowhere"], "no index there"),
        (["index", "build", "nowhere", "--out", "x"], "no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 1
    assert words in err
    assert err.count("\n") == 1


def test_tags_are_put_on_listed_renamed_and_taken_off(index: Path, photos: Path, run: Run) -> None:
    code, out, _ = run("index", "tag", index, photos / "a", "--add", "good", "--add", "first")
    assert (code, out) == (0, f"{index}: 5 pictures, 10 tags added, 0 taken off\n")
    run("index", "tag", index, photos / "a" / "1.png", "--drop", "good")
    code, out, _ = run("index", "tags", index, "--rename", "first", "early", "--json")
    assert (code, json.loads(out)["tags"]) == (0, {"early": 5, "good": 4})
    code, out, _ = run("index", "list", index, "--tag", "early", "--where", "tag != good", "--json")
    assert code == 0
    assert [item["path"] for item in json.loads(out)["pictures"]] == ["a/1.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["index", "tag", "INDEX", "PHOTOS/a"], "name a tag with --add or --drop"),
        (["index", "tag", "INDEX", "elsewhere", "--add", "x"], "no such picture in"),
        (["index", "tag", "INDEX", "PHOTOS/a", "--add", "a/b"], "tag"),
        (["index", "tags", "INDEX", "--rename", "x", "y"], "no tag 'x'; there are none"),
        (["index", "list", "INDEX", "--where", "stat = a"], "did you mean 'state'?"),
        (["index", "export", "INDEX", "PHOTOS"], "is a folder; name a file"),
        (
            [
                "index",
                "build",
                "PHOTOS",
                "--out",
                "INDEX",
                "--model",
                "thumbnail",
                "--attributes",
                "x.csv",
            ],
            "x.csv: cannot",
        ),
    ],
)
def test_bad_labels_are_told_in_one_line(
    index: Path, photos: Path, run: Run, arguments: list[str], words: str
) -> None:
    filled = [
        item.replace("INDEX", str(index)).replace("PHOTOS", str(photos)) for item in arguments
    ]
    code, _, err = run(*filled)
    assert code != 0
    assert words in err
    assert err.count("\n") == 1


def test_pictures_are_exported_with_their_tags(
    index: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    run("index", "tag", index, photos / "b", "--add", "good")
    code, out, _ = run("index", "export", index, tmp_path / "t.csv", "--tag", "good")
    assert (code, out) == (0, f"{tmp_path / 't.csv'}: 1 pictures written as csv\n")
    assert (tmp_path / "t.csv").read_text().count(",b,good,") == 1


def test_a_video_that_cannot_be_read_is_named_and_alone_is_no_index(
    photos: Path, tmp_path: Path, run: Run
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.MP4").write_bytes(b"a video")
    code, out, err = run(
        "index", "build", clips, "--out", tmp_path / "new", *("--model", "thumbnail")
    )
    assert (code != 0, out, err.count("not read: a.MP4: ")) == (True, "", 1)
    assert err.count("\n") == 2
    assert "no picture or video that can be read" in err
    (photos / "clip.mp4").write_bytes(b"a video")
    code, _, err = run(
        "index", "build", photos, "--out", tmp_path / "more", *("--model", "thumbnail")
    )
    assert (code, err.count("not read: clip.mp4: ")) == (0, 1)


def test_kinds_are_measured_and_planned(index: Path, run: Run) -> None:
    code, out, _ = run("index", "measure", index, "--json")
    assert code == 0
    assert {item["recall"] for item in json.loads(out)["kinds"]} == {1.0}
    code, out, err = run("index", "plan", "--rows", "500", "--dim", "8", "--kind", "exact")
    assert (code, out.count("\n"), err.count("\n")) == (0, 2, 2)
    assert "500 synthetic rows on this machine" in err


def test_a_plan_that_cannot_be_made_is_one_line(run: Run) -> None:
    code, out, err = run("index", "plan", "--rows", "1", "--dim", "8")
    assert (code != 0, out, err.count("\n")) == (True, "", 1)


def test_a_damaged_text_column_leaves_the_rest_of_the_description(index: Path, run: Run) -> None:
    (index / "text.db").write_bytes(b"no database at all, " * 90)
    code, out, err = run("index", "info", index)
    assert code == 0
    assert "pictures of" in out
    assert "not searched in words: " in err
    assert str(index / "text.db") in err
    code, out, _ = run("index", "info", index, "--json")
    assert (code, json.loads(out)["text"]) == (0, None)


def test_a_graph_is_measured_after_a_picture_came(
    photos: Path, index: Path, tmp_path: Path, run: Run
) -> None:
    pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")
    again = ("index", "build", photos, "--out", index, "--model", "thumbnail", "--kind", "hnsw")
    assert run(*again)[0] == 0
    write(photos / "new.png", picture(60))
    assert run("index", "add", index, photos / "new.png")[0] == 0
    code, out, err = run("index", "measure", index, "--json")
    assert (code, err) == (0, "")
    assert {item["recall"] for item in json.loads(out)["kinds"]} == {1.0}


def test_the_map_is_a_table_or_a_page(index: Path, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("index", "map", index, tmp_path / "m.csv", "--groups", "2")
    assert (code, out) == (0, f"{tmp_path / 'm.csv'}: 6 pictures in 2 groups\n")
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert lines[0] == "file,x,y,group,distance,typical,odd"
    assert len(lines) == 7
    ranks = [line.split(",")[3::2] for line in lines[1:]]
    assert sorted(rank for group, rank in ranks if group == "1")[0] == "1"
    assert run("index", "map", index, tmp_path / "m.html")[0] == 0
    page = (tmp_path / "m.html").read_text()
    assert "data:image/jpeg;base64" in page
    assert f"xargs -d '\\\\n' edge-sim index tag {index} --add TAG" in page
    (tmp_path / "folder.csv").mkdir()
    for place in ("m.png", "folder.csv", "no/m.csv"):
        code, _, err = run("index", "map", index, tmp_path / place)
        assert (code, err.count("\n")) == (1, 1)


def test_a_map_in_dense_groups_names_pictures_in_none(
    index: Path, tmp_path: Path, run: Run
) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: edge_sim[map]")
    dense = ("--layout", "tsne", "--grouping", "hdbscan")
    code, out, _ = run("index", "map", index, tmp_path / "m.html", *dense)
    assert (code, out) == (0, f"{tmp_path / 'm.html'}: 6 pictures in 0 groups, 6 in none\n")
    assert "In no group" in (tmp_path / "m.html").read_text()
    assert run("index", "map", index, tmp_path / "m.csv", *dense)[0] == 0
    assert {line.split(",")[3] for line in (tmp_path / "m.csv").read_text().splitlines()[1:]} == {
        ""
    }
    code, _, err = run("index", "map", index, tmp_path / "m.csv", *dense, "--groups", "2")
    assert (code, err.count("\n")) == (1, 1)


def test_the_table_of_a_map_holds_no_formula(tmp_path: Path, run: Run) -> None:
    for name in ("=1+1.png", "@a.png", "b.png"):
        write(tmp_path / "photos" / name, picture(len(name)))
    index = ("index", "build", tmp_path / "photos", "--out", tmp_path / "i")
    assert run(*index, "--model", "thumbnail")[0] == 0
    assert run("index", "map", tmp_path / "i", tmp_path / "m.csv", "--groups", "1")[0] == 0
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in lines[1:]) == ["'=1+1.png", "'@a.png", "b.png"]


def test_words_search_an_index_of_the_default_model(photos: Path, tmp_path: Path, run: Run) -> None:
    run("index", "build", photos, "--out", tmp_path / "d")
    code, out, err = run("search", "--text", "dogs qqqq", "--index", tmp_path / "d", "--json")
    assert (code, json.loads(out)["text"], len(json.loads(out)["hits"])) == (0, "dogs qqqq", 6)
    assert "unknown word 'qqqq'" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--text", "qqqq"], "no word of 'qqqq' is known"),
        (["--text", "dog", "--metric", "ssim"], "goes with --metric cosine"),
        (["--text", "dog", "--roi", "0,0,1,1"], "goes without --roi"),
        (["--text", "dog", "--query", "a.png"], "not allowed with"),
    ],
)
def test_words_that_cannot_be_searched_are_one_line(
    index: Path, run: Run, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code, _, err = run("search", "--index", index, *options)
    except SystemExit as stopped:
        code, err = int(stopped.code or 0), capsys.readouterr().err
    assert code != 0
    assert words in err or "the words are of the model" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("index", "rm", "{index}", ""),
        ("index", "build", "", "--out", "{index}"),
        ("index", "build", "{photos}", "--out", ""),
        ("index", "tag", "{index}", "", "--add", "x"),
        ("duplicates", ""),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_no_folder(
    arguments: tuple[str, ...],
    index: Path,
    photos: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos)
    words = [word.format(index=index, photos=photos) for word in arguments]
    try:
        code = main(words)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 2
    assert "the path is empty" in capsys.readouterr().err
    found = json.loads(run("index", "info", index, "--json")[1])
    assert (found["pictures"], found["left_out"], found["tags"]) == (6, 0, {})


def test_tags_are_put_on_all_or_none(index: Path, photos: Path, run: Run) -> None:
    code, _, err = run("index", "tag", index, photos / "a", "--add", "good", "--add", "to check")
    assert (code, "'to check' cannot be the name of a tag" in err) == (1, True)
    assert json.loads(run("index", "tags", index, "--json")[1])["tags"] == {}


def test_an_index_in_the_place_of_a_file_is_refused_in_words(photos: Path, run: Run) -> None:
    code, _, err = run("index", "build", photos, "--out", photos / "a" / "0.png")
    assert (code, "is no folder; name a new or empty one" in err) == (1, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_delete_list_is_whole_or_as_it_was(
    photos: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "copy.png").write_bytes((photos / "a" / "0.png").read_bytes())
    place = tmp_path / "list.txt"
    assert run("duplicates", photos, "--delete-list", place)[0] == 0
    before = place.read_bytes()
    assert before

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        code, _, err = run("duplicates", photos, "--delete-list", place)
    assert (code, "No space left" in err, place.read_bytes()) == (1, True, before)
    assert run("duplicates", photos, "--delete-list", "/dev/full")[0] == 1
    assert Path("/dev/full").exists()
