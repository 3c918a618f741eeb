"""`edge-sim gallery` from a user's seat: results on stdout, one line for a mistake."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_sim.cli.main import main
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.pictures import read_picture
from tests.gallery.pictures import saved, scene

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two pictures of each of two states."""
    monkeypatch.chdir(tmp_path)
    for layout, state in enumerate(("open", "open", "shut", "shut"), start=1):
        saved(tmp_path / "in" / state, f"{layout}.png", scene(layout))
    return tmp_path


def gallery(*arguments: str) -> int:
    return main(["gallery", *arguments])


def answer(capsys: Captured, *arguments: str) -> Any:
    """The JSON that a verb prints."""
    capsys.readouterr()
    gallery(*arguments, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return found


def fill(*, state: str = "open", watch: str = "gate") -> None:
    names = ["--watch", watch, "--state", state]
    assert gallery("add", f"in/{state}", *names, "--model", "thumbnail") == 0


def mistake(capsys: Captured, *arguments: str) -> str:
    """The only line that a refused command prints."""
    capsys.readouterr()
    assert gallery(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("edge-sim: ")
    return printed.err


def test_pictures_that_are_not_there_leave_no_gallery_behind(here: Path, capsys: Captured) -> None:
    names = ["--watch", "gate", "--state", "open", "--model", "thumbnail"]
    assert "no such file" in mistake(capsys, "add", "missing.png", *names)
    (here / "black.png").write_bytes(b"no picture")
    assert gallery("add", "black.png", *names) == 1
    assert list(here.glob("gallery.db*")) == []
    GalleryStore.open(here / "gallery.db", create=True).close()
    mistake(capsys, "add", "missing.png", *names)
    assert (here / "gallery.db").exists(), "it was there before"


def test_add_then_list_then_show(here: Path, capsys: Captured) -> None:
    fill()
    assert "gallery.db: revision 1, 2 added, 0 rejected" in capsys.readouterr().out
    assert gallery("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "watch", "state", "condition", "enrolled", "from", "tags"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["r1", "gate", "open", "day"],
        ["r2", "gate", "open", "day"],
    ]
    assert gallery("show", "r1", "--out", "r1.png") == 0
    shown = capsys.readouterr().out
    assert "160x120" in shown
    assert "in/open/1.png" in shown
    assert (read_picture("r1.png") == scene(1)).all()


def test_the_region_and_metadata_of_the_options_are_used(here: Path, capsys: Captured) -> None:
    region = ["--roi", "0.5,0,1,0.5", "--meta", "by=Ann", "--meta", "note=a=b"]
    names = ["--watch", "gate", "--state", "open", "--model", "thumbnail"]
    gallery("add", "in/open/1.png", *names, *region)
    found = answer(capsys, "show", "r1")
    assert (found["width_px"], found["height_px"]) == (80, 60)
    assert found["reference"]["metadata"] == {
        "by": "Ann",
        "from": "in/open/1.png",
        "note": "a=b",
        "region": "0.5,0,1,0.5",
    }


def test_a_dry_run_says_what_would_be_done_and_does_nothing(here: Path, capsys: Captured) -> None:
    names = ["--watch", "gate", "--state", "open", "--model", "thumbnail"]
    assert gallery("add", "in/open", *names, "--dry-run") == 0
    assert "would be 2 added, 0 rejected; nothing written" in capsys.readouterr().out
    assert not Path("gallery.db").exists()
    found = answer(capsys, "add", "in/open", *names, "--dry-run")
    assert (found["revision"], found["dry_run"], len(found["added"])) == (None, True, 2)
    assert found["added"][0]["reference_id"] is None


def test_refused_pictures_are_named_with_the_reason(here: Path, capsys: Captured) -> None:
    fill()
    Path("in/open/bad.jpg").write_text("nonsense")
    names = ["--watch", "gate", "--state", "open", "--model", "thumbnail"]
    capsys.readouterr()
    assert gallery("add", "in/open", *names) == 1
    printed = capsys.readouterr().out
    assert "rejected  open  in/open/1.png: duplicate of r1" in printed
    assert "rejected  open  in/open/bad.jpg: unreadable" in printed
    found = answer(capsys, "add", "in/open", *names, "--force")
    assert [item["overruled"] for item in found["added"]] == ["duplicate", "duplicate"]
    assert [item["refusal"] for item in found["refused"]] == ["unreadable"]


def test_every_change_can_be_seen_and_taken_back(here: Path, capsys: Captured) -> None:
    fill()
    fill(state="shut")
    assert gallery("rm", "r1") == 0
    assert gallery("relabel", "r2", "--state", "shut") == 0
    assert gallery("tag", "r3", "--add", "night") == 0
    assert gallery("mv", "r4", "--watch", "door") == 0
    log = answer(capsys, "log")["revisions"]
    assert [item["verb"] for item in log] == ["move", "tag", "relabel", "remove", "add", "add"]
    assert answer(capsys, "log", "--limit", "1")["revisions"] == log[:1]
    found = answer(capsys, "diff", "2")
    assert [item["reference_id"] for item in found["gone"]] == ["r1"]
    assert [item["after"]["reference_id"] for item in found["altered"]] == ["r2", "r3", "r4"]
    assert gallery("diff", "2", "6") == 0
    printed = capsys.readouterr().out
    assert "- r1  gate  open" in printed
    assert "~ r2  state: open -> shut" in printed
    for _ in range(4):
        assert gallery("undo") == 0
    found = answer(capsys, "diff", "2")
    assert (found["after"], found["appeared"], found["gone"], found["altered"]) == (10, [], [], [])
    assert gallery("rollback", "6") == 0
    listed = answer(capsys, "list", "--watch", "gate")["references"]
    assert [(item["reference_id"], item["state"], item["tags"]) for item in listed] == [
        ("r2", "shut", []),
        ("r3", "shut", ["night"]),
    ]
    assert len(answer(capsys, "list", "--revision", "1")["references"]) == 2


def test_stats_count_references_by_state_and_light(here: Path, capsys: Captured) -> None:
    fill()
    fill(state="shut")
    found = answer(capsys, "stats")
    assert [(item["state"], item["references"]) for item in found["states"]] == [
        ("open", 2),
        ("shut", 2),
    ]
    assert found["states"][0]["by_condition"] == {"day": 2}
    assert gallery("stats") == 0
    assert "4 references at revision 2" in capsys.readouterr().out


def test_dedupe_removes_repeated_references_as_one_revision(here: Path, capsys: Captured) -> None:
    fill()
    names = ["--watch", "gate", "--state", "open", "--model", "thumbnail", "--force"]
    gallery("add", "in/open", *names)
    foreseen = answer(capsys, "dedupe", "--dry-run")
    assert [(item["reference_id"], item["like"]) for item in foreseen["repeated"]] == [
        ("r3", "r1"),
        ("r4", "r2"),
    ]
    assert foreseen["revision"] is None
    assert gallery("dedupe", "--dry-run") == 0
    assert "would remove 2" in capsys.readouterr().out
    assert gallery("dedupe", "--watch", "gate") == 0
    assert "r3  repeats r1" in capsys.readouterr().out
    assert [item["reference_id"] for item in answer(capsys, "list")["references"]] == ["r1", "r2"]
    assert answer(capsys, "dedupe")["repeated"] == []
    assert gallery("dedupe") == 0
    assert "no reference repeats another" in capsys.readouterr().out


def test_export_and_import_carry_a_watch_to_another_file(here: Path, capsys: Captured) -> None:
    fill()
    fill(state="shut")
    assert gallery("export", "out", "--watch", "gate") == 0
    other = ["--gallery", "other.db", "--watch", "gate", "--model", "thumbnail"]
    found = answer(capsys, "import", "out", *other)
    assert [item["state"] for item in found["added"]] == ["open", "open", "shut", "shut"]
    assert found["revision"] == 1
    assert "is not empty" in mistake(capsys, "export", "out", "--watch", "gate")


def test_what_an_export_knew_comes_back_from_a_zip_of_it(here: Path, capsys: Captured) -> None:
    fill()
    assert gallery("tag", "r1", "--add", "night") == 0
    assert gallery("export", "out", "--watch", "gate") == 0
    shutil.make_archive("out", "zip", "out")
    before = answer(capsys, "show", "r1")["reference"]
    other = ["--gallery", "other.db"]
    assert gallery("import", "out.zip", "--watch", "gate", "--model", "thumbnail", *other) == 0
    after = answer(capsys, "show", "r1", *other)["reference"]
    assert {**after, "since": 2} == before


def test_a_disk_that_fills_half_way_changes_nothing(here: Path, capsys: Captured) -> None:
    fill()
    size = Path("gallery.db").stat().st_size
    noise = np.random.default_rng(1).integers(0, 256, (500, 500, 3), np.uint8)
    saved(here / "big" / "shut", "1.png", noise)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300_000, hard))
    try:
        line = mistake(capsys, "import", "big", "--watch", "gate", "--model", "thumbnail")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "nothing was changed" in line
    assert answer(capsys, "list")["revision"] == 1
    assert gallery("verify") == 0
    assert gallery("import", "big", "--watch", "gate", "--model", "thumbnail") == 0


def test_a_picture_that_unpacks_to_too_much_is_refused_by_its_header(
    here: Path, capsys: Captured
) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    Path("in/open/bomb.png").write_bytes(content + struct.pack(">I", zlib.crc32(chunk)))
    found = answer(capsys, "import", "in", "--watch", "gate", "--model", "thumbnail")
    (refused,) = found["refused"]
    assert (refused["refusal"], refused["state"]) == ("unreadable", "open")
    assert "60000 x 60000 pixels" in refused["detail"]
    assert len(found["added"]) == 4


def test_names_with_line_breaks_and_no_text_are_printed_on_one_line(
    here: Path, capsys: Captured
) -> None:
    name = os.fsdecode(b"in/open/a\nb\xff\x1b[2J\xe9\x96\x8b.png")
    Path("in/open/1.png").rename(name)
    Path("in/open/2.png").unlink()
    capsys.readouterr()
    assert gallery("import", "in", "--watch", "gate", "--model", "thumbnail") == 0
    assert gallery("list") == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "a\\nb\\udcff" in printed


def test_reembed_makes_a_gallery_fit_another_model(here: Path, capsys: Captured) -> None:
    fill()
    assert gallery("reembed", "--model", "thumbnail") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert answer(capsys, "reembed", "--model", "thumbnail")["revision"] is None


def test_verify_tells_a_sound_file_from_a_damaged_one(here: Path, capsys: Captured) -> None:
    fill()
    assert gallery("verify") == 0
    assert "sound, at revision 1" in capsys.readouterr().out
    content = bytearray(Path("gallery.db").read_bytes())
    with GalleryStore.open("gallery.db", read_only=True) as store:
        start = content.find(store.crop("r1")[200:260])
    content[start + 10] ^= 0xFF
    Path("gallery.db").write_bytes(content)
    assert gallery("verify") == 1
    assert "the picture of r1" in capsys.readouterr().out
    assert answer(capsys, "verify")["sound"] is False


def test_a_configuration_gives_gallery_region_model_and_states(
    here: Path, capsys: Captured
) -> None:
    Path("sub").mkdir()
    Path("sub/config.yaml").write_text(
        "model: {path: thumbnail}\n"
        "gallery: {path: mine.db}\n"
        "sources: {cam: {uri: 'synthetic:gate'}}\n"
        "watches: {gate: {roi: [0, 0, 0.5, 1], states: [open, closed]}}\n"
    )
    config = ["-c", "sub/config.yaml"]
    assert gallery("add", "in/open/1.png", *config, "--watch", "gate", "--state", "open") == 0
    assert Path("sub/mine.db").exists()
    found = answer(capsys, "show", "r1", *config)
    assert (found["width_px"], found["height_px"]) == (80, 120)
    assert found["reference"]["model_id"].startswith("thumbnail")
    wrong = mistake(capsys, "add", "in/shut", *config, "--watch", "gate", "--state", "shut")
    assert "open, closed" in wrong
    assert "open, closed" in mistake(capsys, "relabel", "r1", *config, "--state", "shut")
    names = ["--watch", "gat", "--state", "open"]
    assert gallery("add", "in/open", *config, *names) == 2
    assert "no watch 'gat' (did you mean 'gate'?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list"], "no gallery at gallery.db"),
        (["undo"], "no gallery at gallery.db"),
        (["list", "--gallery", "in"], "is a directory"),
        (["list", "--gallery", "in/open/1.png"], "not a gallery file"),
        (["import", "nowhere", "--watch", "gate", "--model", "thumbnail"], "No such file"),
        (["add", "x.png", "--watch", "a b", "--state", "open"], "name of a watch"),
        (["add", "x.png", "--watch", "gate", "--state", "none"], "reserved"),
        (["add", "x.png", "--watch", "g", "--state", "s", "--model", "thumbnail"], "x.png"),
        (["add", "in", "--watch", "g", "--state", "s", "--model", "thumbnail"], "no pictures"),
        (["add", "in/open", "--watch", "g", "--state", "s", "--model", "no.tflite"], "no.tflite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    here: Path, capsys: Captured, arguments: list[str], words: str
) -> None:
    before = sorted(here.rglob("*"))
    assert words in mistake(capsys, *arguments)
    after = [path for path in sorted(here.rglob("*")) if path.suffix != ".db"]
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rm", "r9"], "no reference 'r9'"),
        (["show", "r9"], "no reference 'r9'"),
        (["show", "r1", "--out", "x.jpg"], "ends in .png"),
        (["show", "r1", "--out", "nowhere/x.png"], "cannot write"),
        (["rollback", "7"], "cannot roll back to revision 7"),
        (["diff", "0", "7"], "no revision 7"),
        (["list", "--revision", "-1"], "no revision -1"),
        (["relabel", "r1", "--state", "a b"], "name of a state"),
        (["tag", "r1"], "--add TAG or --drop TAG"),
        (["export", "out", "--watch", "door"], "no references"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_about_a_gallery_changes_nothing(
    here: Path, capsys: Captured, arguments: list[str], words: str
) -> None:
    fill()
    assert words in mistake(capsys, *arguments)
    assert answer(capsys, "list")["revision"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "x.png"],
        ["add", "x", "--watch", "g", "--state", "s", "--roi", "0,0,1"],
        ["add", "x", "--watch", "g", "--state", "s", "--roi", "0.5,0,0.5,1"],
        ["add", "x", "--watch", "g", "--state", "s", "--roi", "nan,0,1,1"],
        ["add", "x", "--watch", "g", "--state", "s", "--meta", "novalue"],
        ["add", "x", "--watch", "g", "--state", "s", "--count", "0"],
        ["add", "x", "--watch", "g", "--state", "s", "--every", "-1"],
        ["log", "--limit", "none"],
        ["dance"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        gallery(*arguments)
    assert stopped.value.code == 2
    assert "usage: edge-sim gallery" in capsys.readouterr().err
