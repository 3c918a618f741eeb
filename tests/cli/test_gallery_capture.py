"""`edge-sim gallery capture`: frames of a source become references."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery import candidates
from edge_sim.gallery.store import GalleryStore

Captured = pytest.CaptureFixture[str]
GATE = "synthetic:gate?seed=2"
NAMES = ["--watch", "gate", "--state", "closed"]
CONFIG = """
model: {path: thumbnail}
sources: {cam: {uri: pictures, rotate: 180}}
watches: {gate: {roi: [0, 0, 0.5, 1], states: [open, closed]}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def capture(*arguments: str) -> int:
    return main(["gallery", "capture", *arguments])


def configured() -> None:
    main(["capture", GATE, "--out", "pictures", "--count", "2", "--every", "30"])
    Path("config.yaml").write_text(CONFIG)


def test_frames_go_straight_into_a_gallery(capsys: Captured) -> None:
    assert capture(GATE, *NAMES, "--roi", "0,0,0.5,1", "--model", "thumbnail", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["reference_id"] for item in found["added"]] == ["r1"]
    with GalleryStore.open("gallery.db") as store:
        assert store.record("r1").metadata["from"] == f"{GATE}#0"
        assert "taken_at" in store.record("r1").metadata


def test_with_a_configuration_the_source_is_that_of_the_watch(capsys: Captured) -> None:
    configured()
    assert capture("-c", "config.yaml", *NAMES) == 0
    with GalleryStore.open("gallery.db") as store:
        assert str(store.record("r1").metadata["from"]).endswith("pictures#0")
    assert "closed" in capsys.readouterr().out


def test_a_source_of_the_configuration_is_called_by_its_name() -> None:
    configured()
    assert capture("cam", "-c", "config.yaml", *NAMES, "--dry-run") == 0
    assert not Path("gallery.db").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*NAMES], "say which source"),
        (["no.mp4", *NAMES, "--model", "thumbnail"], "no.mp4"),
        ([GATE, "--watch", "a b", "--state", "x", "--model", "thumbnail"], "name of a watch"),
        (["-c", "config.yaml", "--watch", "gate", "--state", "ajar"], "not 'ajar'"),
        (["-c", "config.yaml", "--watch", "gat", "--state", "open"], "no watch 'gat'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_enrols_nothing(
    arguments: list[str], words: str, capsys: Captured
) -> None:
    Path("config.yaml").write_text(CONFIG)
    assert capture(*arguments) in (1, 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert words in printed.err
    if Path("gallery.db").exists():
        with GalleryStore.open("gallery.db") as store:
            assert store.revision == 0


@pytest.mark.parametrize(
    "arguments",
    [[], [GATE], [GATE, "--watch", "gate"], [GATE, "--state", "x"], [GATE, *NAMES, "--count", "0"]],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        capture(*arguments)
    assert stopped.value.code == 2
    assert "usage: edge-sim gallery capture" in capsys.readouterr().err


def interrupted_after(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come while the frame after `taken` is awaited."""
    real = candidates.frames_of

    def frames(*arguments: Any) -> Iterator[Any]:
        for number, frame in enumerate(real(*arguments)):
            if number == taken:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(candidates, "frames_of", frames)


def a_second_passes_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = partial(next, count(0.0, 1.0))
    monkeypatch.setattr("edge_sim.cli.gallery_enrol.time", SimpleNamespace(monotonic=seconds))


def test_an_interrupt_keeps_what_was_added_and_says_it(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(3, monkeypatch)
    a_second_passes_per_frame(monkeypatch)
    arguments = ["--count", "9", "--every", "10", "--force", "--model", "thumbnail"]
    assert capture(GATE, *NAMES, *arguments) == 130
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["r1", "r2", "r3"]
    assert "3 added" in out
    assert "3 of 9 frames, about 6 s left" in err
    with GalleryStore.open("gallery.db") as store:
        assert len(store.records()) == 3
        assert store.revision == 3


def test_the_time_left_of_a_camera_counts_the_wait_between_frames(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sim.io.sources.is_live", lambda uri: uri == GATE)
    a_second_passes_per_frame(monkeypatch)
    arguments = ["--count", "3", "--every", "10", "--model", "thumbnail"]
    assert capture(GATE, *NAMES, *arguments) == 0
    out, err = capsys.readouterr()
    assert "1 of 3 frames, about 20 s left" in err
    assert "2 of 3 frames, about 10 s left" in err
    assert f"#50: duplicate of {GATE}#0 (" in out


def test_an_interrupt_before_the_first_frame_leaves_no_gallery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupted_after(0, monkeypatch)
    assert capture(GATE, *NAMES, "--model", "thumbnail") == 130
    assert not Path("gallery.db").exists()


def test_each_frame_is_enrolled_before_the_next_is_awaited(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    real = candidates.frames_of
    seen: list[tuple[int, str]] = []

    def frames(*arguments: Any) -> Iterator[Any]:
        for frame in real(*arguments):
            with GalleryStore.open("gallery.db", read_only=True) as store:
                seen.append((len(store.records()), capsys.readouterr().out))
            yield frame

    monkeypatch.setattr(candidates, "frames_of", frames)
    arguments = ["--count", "3", "--every", "10", "--force", "--model", "thumbnail"]
    assert capture(GATE, *NAMES, *arguments) == 0
    assert [number for number, _ in seen] == [0, 1, 2]
    assert seen[1][1].startswith("r1")
