"""`edge-sim gallery review`: what the daemon was unsure of becomes references, or goes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.review_queue import ReviewFolder
from tests import pictured
from tests.runtime.test_review_queue import look

Captured = pytest.CaptureFixture[str]
MODEL = ["--model", "thumbnail"]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of two frames of the bowl and one of the gate."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(
        "model: {path: thumbnail}\nreview: {path: review}\nsources: {cam: {uri: a.mp4}}\n"
        "watches: {bowl: {states: [empty, food], roi: [0, 0, 0.5, 0.5]}, gate: {}}\n"
    )
    folder = ReviewFolder(tmp_path / "review")
    return [
        folder.keep(look(1), pictured.picture("left", 1)),
        folder.keep(look(2), pictured.picture("top", 2)),
        folder.keep(look(3, watch="gate", guess=None), pictured.picture("right", 3)),
    ]


def review(*arguments: str) -> int:
    return main(["gallery", "review", "-c", "config.yaml", *arguments])


def left(capsys: Captured) -> list[str]:
    capsys.readouterr()
    assert review("--json") == 0
    found: Any = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return [item["id"] for item in found["frames"]]


def test_all_kept_frames_are_listed_with_their_scores(kept: list[str], capsys: Captured) -> None:
    assert review() == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == kept
    assert "unknown: ambiguous" in lines[1]
    assert "food 0.50 (0.60)" in lines[1]
    assert "no references" in lines[3]
    assert "3 frames kept" in printed.err


def test_a_taught_frame_becomes_a_reference_and_leaves_the_folder(
    kept: list[str], capsys: Captured
) -> None:
    assert review(kept[0], "--teach", "food") == 0
    assert left(capsys) == kept[1:]
    with GalleryStore.open("gallery.db") as store:
        record = store.record("r1")
        assert (record.watch, record.state) == ("bowl", "food")
        assert record.metadata["taught"] == "yes"
        assert record.metadata["from"] == f"review {kept[0]}"
        assert record.metadata["taken_at"] == "2026-01-31T12:00:01.250Z"
        # The region of the configuration was cut out when the frame was kept.
        assert store.gallery("bowl").references[0].thumbnail.shape == (96, 96)


def test_gallery_add_from_review_is_the_same(kept: list[str], capsys: Captured) -> None:
    arguments = ["--watch", "bowl", "--state", "food", "--from-review", kept[0], kept[1]]
    assert main(["gallery", "add", "-c", "config.yaml", *arguments]) == 0
    assert left(capsys) == kept[2:]
    with GalleryStore.open("gallery.db") as store:
        assert len(store.records(state="food")) == 2
        assert store.revision == 1


def test_a_refused_frame_stays(kept: list[str], capsys: Captured) -> None:
    folder = ReviewFolder(Path("review"))
    again = folder.keep(look(9), pictured.picture("left", 1))
    assert review(kept[0], again, "--teach", "food") == 0
    printed = capsys.readouterr()
    assert "duplicate" in printed.out
    assert "rejected frames stay" in printed.err
    assert again in left(capsys)


def test_a_dry_run_changes_nothing(kept: list[str], capsys: Captured) -> None:
    assert review("all", "--watch", "bowl", "--teach", "food", "--dry-run") == 0
    assert review("all", "--discard", "--dry-run") == 0
    assert left(capsys) == kept
    assert not Path("gallery.db").exists()


def test_discarded_frames_are_gone(kept: list[str], capsys: Captured) -> None:
    assert review(kept[1], "--discard") == 0
    assert left(capsys) == [kept[0], kept[2]]
    assert review("all", "--discard", "--watch", "bowl") == 0
    assert left(capsys) == kept[2:]


def test_the_page_shows_every_frame_and_nothing_from_elsewhere(kept: list[str]) -> None:
    assert review("--report", "out.html") == 0
    page = Path("out.html").read_text()
    assert page.count("data:image/jpeg;base64") == 3
    assert all(name in page for name in kept)
    assert not re.search(r"(?:src|href)=", page.partition("<script")[0])


def test_a_damaged_picture_is_told_and_stays(kept: list[str], capsys: Captured) -> None:
    Path(f"review/{kept[0]}.png").write_bytes(b"torn")
    assert review(kept[0], "--teach", "food") == 1
    assert "unreadable" in capsys.readouterr().out
    assert kept[0] in left(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bowl/none", "--discard"], "no kept frame 'bowl/none'"),
        (["../../etc/passwd", "--discard"], "no kept frame"),
        (["all", "--teach", "food"], "choose with --watch"),
        (["all", "--teach", "fod", "--watch", "bowl"], "not 'fod'"),
        (["all", "--teach", "a b", "--watch", "gate"], "name of a state"),
        (["all", "--teach", "food", "--watch", "none"], "no kept frame to teach"),
        (["--report", "out.txt"], "written as .html"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_changes_nothing(
    arguments: list[str], words: str, kept: list[str], capsys: Captured
) -> None:
    assert review(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert left(capsys) == kept
    assert not Path("gallery.db").exists()


def test_without_a_folder_it_is_said_how_to_name_one(capsys: Captured) -> None:
    assert main(["gallery", "review"]) == 1
    assert "--review-folder" in capsys.readouterr().err
    Path("plain.yaml").write_text("sources: {cam: {uri: a.mp4}}\nwatches: {bowl: {}}\n")
    assert main(["gallery", "review", "-c", "plain.yaml"]) == 1
    assert "set review.path" in capsys.readouterr().err


def test_the_folder_is_beside_the_state_of_the_daemon(kept: list[str], capsys: Captured) -> None:
    Path("review").rename("elsewhere")
    Path("state").mkdir()
    Path("elsewhere").rename("state/review")
    assert left(capsys) == []
    assert review("--state-dir", "state") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in kept)


@pytest.mark.parametrize(
    "arguments",
    [
        ["review", "--discard"],
        ["review", "--teach", "food"],
        ["review", "x", "--teach", "food", "--discard"],
        ["review", "--force"],
        ["add", "--watch", "w", "--state", "s", "--from-review", "x", "--roi", "0,0,1,1"],
        ["add", "--watch", "w", "--state", "s", "--from-review", "x", "--count", "2"],
        ["add", "--watch", "w", "--state", "s", "x.png", "--review-folder", "r"],
        ["add", "--watch", "w", "--state", "s", "x.png", "--state-dir", "r"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_each_other_exit_with_2(
    arguments: list[str], capsys: Captured
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["gallery", *arguments])
    assert stopped.value.code == 2
    assert "usage: edge-sim gallery" in capsys.readouterr().err
