"""`edge-sim check` says what the levels of a watch start from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edge_sim.cli.main import main
from tests.gallery.pictures import saved, scene

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery of four pictures of two states."""
    monkeypatch.chdir(tmp_path)
    for layout, state in enumerate(("open", "open", "shut", "shut"), start=1):
        saved(tmp_path / "in" / state, f"{layout}.png", scene(layout))
    Path("config.yaml").write_text(
        "model: {path: thumbnail}\nsources: {cam: {uri: in/open}}\nwatches: {gate: {}}\n"
    )
    arguments = ["-c", "config.yaml", "--watch", "gate", "--force"]
    assert main(["gallery", "import", "in", *arguments]) == 0


def gallery_line(capsys: Captured) -> str:
    capsys.readouterr()
    assert main(["check", "-c", "config.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return next(line for line in lines if "gallery of gate" in line)


def test_a_gallery_that_takes_much_memory_is_named_with_the_way_to_thin_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert "prune" not in gallery_line(capsys)
    monkeypatch.setattr("edge_sim.decision.scorer.MANY_REFERENCES", 3)
    line = gallery_line(capsys)
    assert line.startswith("ok")
    assert "4 references take" in line
    assert "`edge-sim gallery prune --keep 3`" in line


def calibrate() -> None:
    wish = ["--score", "state", "--recall", "0.5", "--write"]
    assert main(["calibrate", "--gallery", "gallery.db", *wish]) == 0


def test_without_a_calibration_nothing_is_said_of_one(capsys: Captured) -> None:
    assert "calibrat" not in gallery_line(capsys)


def test_a_calibration_in_force_is_named_with_its_origin(capsys: Captured) -> None:
    calibrate()
    assert "for recall at least 0.5 on 4 references of gate" in gallery_line(capsys)


def test_a_calibration_of_other_references_is_told(capsys: Captured) -> None:
    calibrate()
    assert main(["gallery", "rm", "r1"]) == 0
    assert "run `edge-sim calibrate` again" in gallery_line(capsys)


def test_one_picture_enrolled_as_two_states_fails_and_is_named(
    tmp_path: Path, capsys: Captured
) -> None:
    saved(tmp_path / "again" / "shut", "open.png", scene(1))
    arguments = ["-c", "config.yaml", "--watch", "gate", "--force"]
    assert main(["gallery", "import", "again", *arguments]) == 0
    capsys.readouterr()
    assert main(["check", "-c", "config.yaml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if "gallery of gate" in line)
    assert line.startswith("FAIL")
    assert "show the same picture" in line
    assert "(open)" in line
    assert "(shut)" in line
    assert main(["gallery", "audit", "-c", "config.yaml"]) == 0
    assert "show the same picture, as open and as shut" in capsys.readouterr().out


def test_references_of_a_watch_that_nobody_configured_name_the_misspelt_one(
    capsys: Captured,
) -> None:
    path = Path("config.yaml")
    path.write_text(path.read_text().replace("{gate: {}}", "{gatte: {}}"))
    capsys.readouterr()
    assert main(["check", "-c", "config.yaml"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    (line,) = [item for item in out.splitlines() if "gallery of" in item]
    assert line.startswith("FAIL")
    assert "did you mean 'gate'?" in line


@pytest.mark.parametrize(
    "section",
    [
        "outbox: {path: in}",
        "score_log: {path: in}",
        "explanations: {path: in}",
        "daemon: {state: in}",
    ],
)
def test_a_folder_in_the_place_of_a_file_fails_before_the_daemon_meets_it(
    section: str, capsys: Captured
) -> None:
    with Path("config.yaml").open("a") as file:
        file.write(f"{section}\n")
    capsys.readouterr()
    assert main(["check", "-c", "config.yaml"]) == 1
    assert "in is a folder; name a file" in capsys.readouterr().out


def test_a_file_in_the_place_of_the_review_folder_fails(capsys: Captured) -> None:
    with Path("config.yaml").open("a") as file:
        file.write("review: {path: gallery.db}\n")
    capsys.readouterr()
    assert main(["check", "-c", "config.yaml"]) == 1
    assert "gallery.db is a file; name a folder" in capsys.readouterr().out


def test_a_light_that_a_state_was_never_taught_in_is_named_with_the_next_picture(
    tmp_path: Path, capsys: Captured
) -> None:
    grey = np.repeat(scene(1).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    saved(tmp_path / "night" / "open", "n.png", grey)
    arguments = ["-c", "config.yaml", "--watch", "gate", "--force"]
    assert main(["gallery", "import", "night", *arguments]) == 0
    line = gallery_line(capsys)
    assert "no reference of shut at night in infrared light" in line
    assert "next take a picture of shut at night in infrared light" in line


def test_pictures_of_one_moment_are_named_with_what_to_do(tmp_path: Path, capsys: Captured) -> None:
    assert "one moment" not in gallery_line(capsys)
    for number in range(6):
        burst = scene(1)
        burst[:2, : 2 + number] = 0
        saved(tmp_path / "burst", f"{number}.png", burst)
    arguments = ["-c", "config.yaml", "--watch", "burst", "--state", "good", "--force"]
    text = Path("config.yaml").read_text()
    Path("config.yaml").write_text(text.replace("{gate: {}}", "{gate: {}, burst: {}}"))
    capsys.readouterr()
    assert main(["gallery", "add", *arguments, "burst"]) == 0
    assert main(["check", "-c", "config.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if "gallery of burst" in line)
    assert "taken in one moment" in line
    assert "add some of other hours or days" in line


def collection_line(capsys: Captured, *, code: int) -> str:
    capsys.readouterr()
    assert main(["check", "-c", "config.yaml"]) == code
    lines = capsys.readouterr().out.splitlines()
    return next(line for line in lines if " collection " in line)


def collect(listen: str) -> None:
    with Path("config.yaml").open("a") as file:
        file.write(f"web: {{collection: photos.index{listen}}}\n")


def test_an_index_of_the_page_is_tried(capsys: Captured) -> None:
    pytest.importorskip("starlette", reason="starlette is not installed: pip install '.[web]'")
    collect(", listen: '127.0.0.1:9713'")
    missing = collection_line(capsys, code=1)
    assert missing.startswith("FAIL")
    assert "`edge-sim index build DIR --out" in missing
    build = ["index", "build", "in", "--model", "thumbnail", "--out", "photos.index"]
    assert main(build) == 0
    line = collection_line(capsys, code=0)
    assert line.startswith("ok")
    assert line.endswith("4 pictures")


def test_an_index_that_no_page_shows_is_named(capsys: Captured) -> None:
    assert main(["index", "build", "in", "--model", "thumbnail", "--out", "photos.index"]) == 0
    collect("")
    assert "no page shows it; set web.listen as well" in collection_line(capsys, code=1)


SINKS = """sinks:
  - {kind: file, path: absent/events.jsonl}
  - {kind: command, argv: [edge-sim-absent]}
  - {kind: unix_socket, path: absent/events.sock}
  - {kind: webhook, url: 'http://127.0.0.1:9/', timeout_s: 5}
  - {kind: mqtt, host: 127.0.0.1, port: 9, timeout_s: 5}
"""
STEPS = re.compile(
    r"`edge-sim [a-z]|\bname (a|an|another)\b|\binstall\b|see that|check the|set (it|the)\b"
    r"|did you mean|enlarge it"
)


@pytest.mark.parametrize(
    "text",
    [
        "sources: {cam: {uri: /dev/video-absent}}\nwatches: {gate: {}}\n",
        "sources: {cam: {uri: absent.mp4}}\nwatches: {gate: {}}\n",
        "sources: {cam: {uri: 'folder:absent'}}\nwatches: {gate: {}}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gat: {}}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gate: {states: [open, shut, ajar]}}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gate: {roi: [0, 0, 0.01, 0.01]}}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gate: {}}\ngallery: {path: absent.db}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gate: {}}\ngallery: {path: in/open/1.png}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gate: {}}\ndaemon: {state: in}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gate: {}}\nreview: {path: gallery.db}\n",
        "sources: {cam: {uri: in/open}}\nwatches: {gate: {}}\n" + SINKS,
    ],
)
def test_whatever_is_wrong_its_line_names_the_next_step(text: str, capsys: Captured) -> None:
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed")
    Path("config.yaml").write_text(f"model: {{path: thumbnail}}\n{text}")
    capsys.readouterr()
    assert main(["check", "-c", "config.yaml"]) in (1, 78)
    shown = capsys.readouterr()
    faults = [line for line in shown.out.splitlines() if line.startswith("FAIL")]
    assert faults
    for fault in faults:
        assert STEPS.search(fault), fault
    assert len(faults) == 5 or "sinks" not in text


def test_a_watch_without_references_names_the_command_that_takes_some(capsys: Captured) -> None:
    assert main(["gallery", "rm", "--gallery", "gallery.db", "r1", "r2", "r3", "r4"]) == 0
    assert "take some with `edge-sim gallery capture`" in gallery_line(capsys)
