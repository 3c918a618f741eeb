"""`edge-sim gallery capture`: frames of a source become references."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery_store import GalleryStore

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
    assert capture(*arguments) in (1, 78)
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
