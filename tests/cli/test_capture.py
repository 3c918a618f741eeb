"""`edge-sim capture`: frames to files that sort."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.io.sources.pictures import read_picture

Captured = pytest.CaptureFixture[str]
GATE = "synthetic:gate?seed=2"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_frames_are_written_in_names_that_sort(capsys: Captured) -> None:
    assert main(["capture", GATE, "--out", "new/out", "--count", "3", "--every", "1"]) == 0
    names = sorted(path.name for path in Path("new/out").iterdir())
    assert names == ["frame-000001.png", "frame-000002.png", "frame-000003.png"]
    assert capsys.readouterr().out.split() == [f"new/out/{name}" for name in names]
    assert read_picture("new/out/frame-000001.png").shape == (480, 640, 3)


def test_a_second_capture_goes_on_counting_and_writes_nothing_over(capsys: Captured) -> None:
    main(["capture", GATE, "--out", "out", "--format", "jpg"])
    before = Path("out/frame-000001.jpg").read_bytes()
    main(["capture", GATE, "--out", "out"])
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "frame-000001.jpg",
        "frame-000002.png",
    ]
    assert Path("out/frame-000001.jpg").read_bytes() == before


def test_all_takes_what_the_source_has(capsys: Captured) -> None:
    main(["capture", GATE, "--out", "in", "--count", "4"])
    capsys.readouterr()
    assert main(["capture", "in", "--out", "copy", "--count", "all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["source"], len(found["pictures"])) == (1, "in", 4)
    first = found["pictures"][0]
    assert (first["path"], first["width_px"], first["height_px"]) == (
        "copy/frame-000001.png",
        640,
        480,
    )
    for name in ("frame-000001.png", "frame-000004.png"):
        assert (read_picture(f"in/{name}") == read_picture(f"copy/{name}")).all()


def test_a_source_of_the_configuration_is_called_by_its_name(capsys: Captured) -> None:
    Path("sub").mkdir()
    main(["capture", GATE, "--out", "sub/pictures", "--count", "2"])
    Path("sub/config.yaml").write_text("sources: {cam: {uri: pictures, rotate: 90}}\n")
    assert main(["capture", "cam", "-c", "sub/config.yaml", "--out", "out"]) == 0
    assert read_picture("out/frame-000001.png").shape == (640, 480, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.mp4", "--out", "out"], "no.mp4"),
        (["empty", "--out", "out"], "no pictures"),
        ([GATE, "--out", "file.txt"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments: list[str], words: str, capsys: Captured) -> None:
    Path("empty").mkdir()
    Path("file.txt").write_text("keep")
    assert main(["capture", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert not Path("out").exists()
    assert Path("file.txt").read_text() == "keep"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [GATE],
        [GATE, "--out", "out", "--count", "0"],
        [GATE, "--out", "out", "--count", "many"],
        [GATE, "--out", "out", "--every", "soon"],
        [GATE, "--out", "out", "--format", "gif"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["capture", *arguments])
    assert stopped.value.code == 2
    assert "usage: edge-sim capture" in capsys.readouterr().err
