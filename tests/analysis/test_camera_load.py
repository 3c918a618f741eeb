"""The load of a camera is measured for each way of watching it."""

from __future__ import annotations

import json
from itertools import count

import pytest

from edge_sim.analysis.camera_load import measure_camera
from edge_sim.cli.main import main
from edge_sim.core.types import FULL_FRAME
from edge_sim.errors import SourceError
from edge_sim.io.sources.options import SourceOptions
from edge_sim.vision.embedders import open_embedder
from tests.io.sources.devices import network_camera

OPTIONS = SourceOptions(name="cam")


def test_what_is_observed_more_often_is_converted_more_often() -> None:
    used_s = count()
    with network_camera() as camera:
        found = measure_camera(
            camera.uri,
            OPTIONS,
            open_embedder("thumbnail"),
            roi=FULL_FRAME,
            seconds=1.2,
            intervals_s={"often": 0.0, "seldom": 0.5},
            used=lambda: float(next(used_s)),
            settling_s=0.1,
        )
    often, seldom = found
    assert often.name == "often"
    assert often.observed_per_s > seldom.observed_per_s > 0.0
    assert often.converted_per_s > seldom.converted_per_s
    assert often.frames_per_s >= often.converted_per_s
    # The given processor time passes by a second from call to call.
    assert 0.0 < often.percent_of_core <= 100.0 / 1.2


def test_a_recording_is_no_camera() -> None:
    with pytest.raises(SourceError, match="synthetic:bowl: a recording is read as fast"):
        measure_camera(
            "synthetic:bowl", OPTIONS, open_embedder("thumbnail"), roi=FULL_FRAME, seconds=1.0
        )


def test_the_command_prints_json_and_the_uri_without_a_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with network_camera() as camera:
        arguments = ["--camera", camera.uri, "--seconds", "1", "--model", "thumbnail", "--json"]
        assert main(["bench", *arguments]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [load["name"] for load in found["loads"]] == [
        "decoding, nothing observed",
        "1 observation a second",
        "all frames",
    ]
    assert "s3cret" not in out + err
    assert {(load["width"], load["height"]) for load in found["loads"]} == {(160, 120)}


def test_the_command_ends_with_a_row_for_the_table_of_the_documentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with network_camera() as camera:
        arguments = ["--camera", camera.uri, "--seconds", "1", "--model", "thumbnail"]
        assert main(["bench", *arguments]) == 0
    row = capsys.readouterr().err.splitlines()[-1]
    kind, size, *figures = [cell.strip() for cell in row.strip("|").split("|")][1:]
    assert (kind, size) == ("http, opencv", "160x120")
    assert int(figures[0]) > 0
    assert [figure.endswith(" %") for figure in figures[1:]] == [True] * 3
    assert "127.0.0.1" not in row


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--camera", "synthetic:bowl"], 1),
        (["--camera", "nosuch:x"], 78),
        (["--camera", "/dev/video77"], 1),
        (["--camera", "0", "--roi", "1,2,3"], 2),
        (["--camera", "0", "--size", "1080p"], 2),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(["bench", "--model", "thumbnail", *arguments])
    except SystemExit as error:
        found = int(str(error.code))
    err = capsys.readouterr().err
    assert found == code, err
    assert "Traceback" not in err
    assert arguments[1].split("/")[-1] in err or arguments[2] in err
