from __future__ import annotations

import importlib.util
from contextlib import closing

import pytest

from edge_sim.core.protocols import FrameSource
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.cameras import open_csi
from edge_sim.io.sources.options import SourceOptions
from tests.io.sources.devices import Picamera2Module


def test_pictures_come_in_opencvs_channel_order_at_the_size_asked_for() -> None:
    module = Picamera2Module()
    options = SourceOptions(width=32, height=24, fps=5)
    with closing(open_csi("0", options, picamera2=module)) as source:
        frame = source.read()
    assert frame is not None
    assert frame.pixels.shape == (24, 32, 3)
    # The library's "RGB888" is blue first in memory; any other format would swap red and blue.
    assert module.configuration["main"] == {"size": (32, 24), "format": "RGB888"}
    assert module.configuration["controls"] == {"FrameRate": 5}
    assert frame.pixels[0, 0].tolist() == [200, 100, 50]


def test_closing_stops_the_camera_before_it_gives_it_back() -> None:
    module = Picamera2Module()
    open_csi("", SourceOptions(), picamera2=module).close()
    assert module.calls == ["open 0", "start", "stop", "close"]


def test_a_number_without_a_camera_is_reported_with_how_many_there_are() -> None:
    with pytest.raises(SourceError, match="csi:2: no such camera; there are 1"):
        open_csi("2", SourceOptions(), picamera2=Picamera2Module())
    with pytest.raises(SourceError, match="no CSI camera is connected"):
        open_csi("0", SourceOptions(), picamera2=Picamera2Module(cameras=0))


def test_a_camera_in_use_is_reported() -> None:
    busy = Picamera2Module(error=RuntimeError("Camera __init__ sequence did not complete."))
    with pytest.raises(SourceError, match="csi:0: the camera does not start"):
        open_csi("0", SourceOptions(), picamera2=busy)


def test_a_camera_that_stops_is_a_loss() -> None:
    module = Picamera2Module()
    with closing(open_csi("0", SourceOptions(), picamera2=module)) as source:
        module.stopped.set()
        with pytest.raises(SourceError, match="csi:0: lost: Camera frontend has timed out"):
            play(source)


def play(source: FrameSource) -> None:
    while source.read() is not None:
        pass


def test_a_name_in_place_of_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be a number"):
        open_source("csi:front")


@pytest.mark.skipif(
    importlib.util.find_spec("picamera2") is not None, reason="picamera2 is installed here"
)
def test_without_picamera2_the_message_says_how_to_install_it() -> None:
    with pytest.raises(SourceError, match="sudo apt install python3-picamera2"):
        open_source("csi:0")
