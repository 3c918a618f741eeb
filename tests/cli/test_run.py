"""`run` and `check` as their user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery.records import Enrolled
from edge_sim.gallery.store import GalleryStore
from tests.devices import make_device


def test_run_prints_events_and_a_summary(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-c", str(make_device(tmp_path))]) == 0
    out, err = capfd.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert {event["watch"] for event in events} == {"lamp"}
    total, lamp = err.splitlines()[-2:]
    assert total == f"120 frames, {len(events)} events"
    assert lamp.startswith("  lamp: ")


def test_run_plays_another_source_on_request(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_device(tmp_path)
    assert main(["run", "-c", str(config), "--source", "synthetic:lamp?seed=2&frames=30"]) == 0
    assert "30 frames" in capfd.readouterr().err


def test_run_draws_a_timeline(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "timeline.html"
    config = make_device(tmp_path)
    assert main(["run", "-c", str(config), "--max-frames", "40", "--report", str(report)]) == 0
    assert report.stat().st_size > 1000


def test_a_report_of_an_unknown_kind_is_refused_before_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_device(tmp_path)
    assert main(["run", "-c", str(config), "--report", str(tmp_path / "timeline.pdf")]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "ends in .html" in err


def test_a_truncated_video_still_reports_what_came_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"not a picture")
    config = make_device(tmp_path)
    assert main(["run", "-c", str(config), "--source", str(folder)]) == 1
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "edge-sim: " in err


def test_check_finds_everything_in_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(make_device(tmp_path)), "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["ok"]
    parts = {item["part"]: item["detail"] for item in report["findings"]}
    counts, _, advice = parts["gallery of lamp"].partition("; ")
    assert counts == "off 5, on 5"
    assert advice.startswith("the references of off and on look as if taken in one moment")
    assert parts["source camera"].startswith("640x480; regions: lamp ")


def test_check_tells_which_light_no_picture_of_a_state_was_taken_in(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_device(tmp_path)
    with GalleryStore.open(tmp_path / "gallery.db") as store:
        lamp = store.gallery("lamp").of_state("on")[0]
        store.add(
            "lamp",
            [
                Enrolled(
                    state="on",
                    embedding=lamp.embedding,
                    thumbnail=lamp.thumbnail,
                    crop=b"png",
                    condition="ir",
                    enrolled_at=lamp.enrolled_at,
                    metadata={},
                )
            ],
        )
    assert main(["check", "-c", str(config), "--json"]) == 0
    (found,) = [
        item
        for item in json.loads(capfd.readouterr().out)["findings"]
        if item["part"] == "gallery of lamp"
    ]
    assert found["coverage"]["on"]["ir"] == 1
    assert found["coverage"]["off"]["ir"] == 0
    assert found["detail"].startswith("off 5, on 6; ")
    assert "no reference of off at night in infrared light" in found["detail"]
    assert main(["check", "-c", str(config)]) == 0
    table = capfd.readouterr().out.splitlines()
    heading = next(line for line in table if line.startswith("gallery of lamp"))
    assert heading.split()[3:] == sorted(found["coverage"]["on"])


def test_check_tells_every_fault_not_only_the_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_device(tmp_path, uri="missing.mp4")
    (tmp_path / "gallery.db").unlink()
    assert main(["check", "-c", str(config)]) == 1
    out = capfd.readouterr().out
    assert "FAIL" in out
    assert "gallery.db" in out
    assert "missing.mp4" in out
    assert not (tmp_path / "gallery.db").exists()
