"""`doctor` tells what will run, and names every fault with its fix instead of failing on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_sim.cli.doctor import (
    DoctorReport,
    ModelReport,
    RuntimeReport,
    examine,
    find_cameras,
    notes_on,
)
from edge_sim.cli.main import main
from tests.models import write_verified
from tests.vision.embedders.tiny_models import grid_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_verified(tmp_path / "m.tflite", grid_model("float32"))


def examined(model: object, tmp_path: Path, *, runtime: str = "auto") -> DoctorReport:
    return examine(str(model), threads=1, runtime=runtime, dev=tmp_path / "dev")


def test_a_sound_installation_is_described(model: Path, tmp_path: Path) -> None:
    report = examined(model, tmp_path)
    assert report.ok
    assert report.problems == ()
    assert report.runtime is not None
    assert report.runtime.version[0].isdigit()
    assert report.model is not None
    assert report.model.model_id.startswith("m@")
    assert (report.model.dimension, report.model.partitions) == (48, 1)
    assert report.model.embed_ms > 0.0
    assert report.model.card == "none"
    assert any("no card" in note for note in report.notes)


def test_json_has_the_same_keys_as_the_report(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--model", str(model), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert tuple(printed) == DoctorReport.__struct_fields__
    assert printed["schema"] == 1


def test_text_names_runtime_and_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", str(model)]) == 0
    out, err = capsys.readouterr()
    assert "runtime" in out
    assert "m@" in out
    assert out.endswith("\nok\n")
    assert err == ""


def test_the_thumbnail_needs_no_graph(tmp_path: Path) -> None:
    report = examined("thumbnail", tmp_path)
    assert report.model is not None
    assert (report.model.partitions, report.model.invoke_ms) == (None, None)


def test_a_broken_model_is_a_problem_with_its_fix(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.write_bytes(grid_model()[:200])
    assert main(["doctor", "--model", str(model)]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM: " in out
    assert "copy or download" in out
    assert out.endswith("\n1 problem(s)\n")


def test_a_runtime_that_cannot_be_had_is_one_problem_not_two(model: Path, tmp_path: Path) -> None:
    report = examined(model, tmp_path, runtime="onnx")
    assert report.runtime is None
    assert report.model is None
    assert len(report.problems) == 1
    assert not report.ok


def test_cameras_are_listed_stable_names_first_and_by_number(tmp_path: Path) -> None:
    by_id = tmp_path / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-Maker_Camera-video-index0").touch()
    for number in (10, 2, 0):
        (tmp_path / f"video{number}").touch()
    assert [Path(camera).name for camera in find_cameras(tmp_path)] == [
        "usb-Maker_Camera-video-index0",
        "video0",
        "video2",
        "video10",
    ]


def test_no_camera_is_not_a_fault(tmp_path: Path) -> None:
    report = examined("thumbnail", tmp_path)
    assert report.cameras == ()
    assert report.ok


@pytest.mark.parametrize(
    ("runtime", "partitions", "words"),
    [
        ("tflite-runtime", 0, "runs on XNNPACK here; ai-edge-litert is faster"),
        ("ai-edge-litert", 0, "runs on XNNPACK here, several times slower; it may not know"),
        ("ai-edge-litert", 1, ""),
        ("ai-edge-litert", 21, "cut into 21 XNNPACK parts"),
    ],
)
def test_a_graph_that_runs_slowly_is_noted(runtime: str, partitions: int, words: str) -> None:
    report = ModelReport(
        model_id="m@0/p1",
        card="matches the file",
        dimension=3,
        partitions=partitions,
        load_ms=1.0,
        embed_ms=1.0,
        invoke_ms=1.0,
    )
    notes = notes_on(report, RuntimeReport(name=runtime, version="1", reason="chosen"))
    assert words in "; ".join(notes)
    assert bool(notes) == bool(words)
