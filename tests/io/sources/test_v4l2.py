from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import cv2
import pytest

from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.cameras import Camera, list_cameras, open_camera
from edge_sim.io.sources.options import SourceOptions
from tests.io.sources.devices import V4l2Layer


@pytest.fixture
def device(tmp_path: Path) -> str:
    path = tmp_path / "video0"
    path.touch()
    return str(path)


def test_a_camera_is_opened_by_its_path_with_the_v4l2_backend(device: str) -> None:
    layer = V4l2Layer()
    with closing(open_camera(f"//{device}", SourceOptions(), video_capture=layer)) as source:
        assert source.read() is not None
    assert layer.asked == [(device, cv2.CAP_V4L2)]
    assert layer.released == 1


def test_size_and_rate_are_asked_for_and_no_queue_is_kept(
    device: str, caplog: pytest.LogCaptureFixture
) -> None:
    layer = V4l2Layer()
    options = SourceOptions(width=1280, height=720, fps=10)
    open_camera(device, options, video_capture=layer).close()
    assert layer.settings == {
        cv2.CAP_PROP_BUFFERSIZE: 1,
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_FPS: 10,
    }
    assert "1280 x 720 is configured, the camera gives 640 x 480" in caplog.text


def test_a_missing_camera_is_one_line_that_names_it() -> None:
    with pytest.raises(SourceError, match="/dev/video98765") as caught:
        open_source("/dev/video98765", SourceOptions(name="front"))
    assert str(caught.value).startswith("front (/dev/video98765): no such camera; ")
    assert "\n" not in str(caught.value)


def test_a_bare_number_is_the_camera_of_that_number() -> None:
    with pytest.raises(SourceError, match="/dev/video98765"):
        open_source("98765")


def test_a_camera_that_does_not_open_is_given_back_and_reported(device: str) -> None:
    layer = V4l2Layer(opens=False)
    with pytest.raises(SourceError, match="another program may be using it"):
        open_camera(device, SourceOptions(), video_capture=layer)
    assert layer.released >= 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every camera")
def test_a_camera_of_another_group_says_how_to_join_it(device: str) -> None:
    Path(device).chmod(0)
    with pytest.raises(SourceError, match="sudo usermod -aG video USER"):
        open_camera(device, SourceOptions(), video_capture=V4l2Layer())


def test_cameras_are_listed_with_the_path_that_survives_a_replug(tmp_path: Path) -> None:
    devices, system = tmp_path / "dev", tmp_path / "sys"
    links = devices / "v4l" / "by-id"
    links.mkdir(parents=True)
    for name in ("video0", "video2", "video10"):
        (devices / name).touch()
    (links / "usb-Cam-video-index0").symlink_to(devices / "video2")
    (system / "video2").mkdir(parents=True)
    (system / "video2" / "name").write_text("Cam\n")
    assert list_cameras(devices, system) == (
        Camera(str(links / "usb-Cam-video-index0"), str(devices / "video2"), "Cam"),
        Camera(str(devices / "video0"), str(devices / "video0"), ""),
        Camera(str(devices / "video10"), str(devices / "video10"), ""),
    )


def test_a_machine_without_cameras_has_an_empty_list(tmp_path: Path) -> None:
    assert list_cameras(tmp_path / "none", tmp_path) == ()
