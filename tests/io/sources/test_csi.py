from __future__ import annotations

import importlib.util
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from edge_sim.core.images import crop
from edge_sim.core.protocols import FrameSource
from edge_sim.core.raw_pictures import RawFrame, region_of, sample_of, size_of
from edge_sim.core.types import FULL_FRAME, Roi
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.csi import open_csi
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import CaptureSource
from edge_sim.io.sources.synthetic.source import render
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import FrameFeatures, Region
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


def unthreaded(module: Picamera2Module, **settings: Any) -> CaptureSource:
    options = SourceOptions(threaded=False, **settings)
    source = open_csi("0", options, picamera2=module)
    assert isinstance(source, CaptureSource)
    return source


SCENE = np.asarray(render("gate", "open"), np.uint8)


def test_a_small_picture_is_for_the_gate_and_a_region_is_copied_to_be_embedded() -> None:
    module = Picamera2Module(shown=SCENE)
    source = unthreaded(module, width=1280, height=720)
    assert module.configuration["lores"] == {"size": (320, 180), "format": "YUV420"}
    frame = source.read()
    assert frame is not None
    assert module.copied == [("lores", (270, 320))]
    whole = module.picture("main", 1)
    roi = Roi(0.25, 0.25, 0.75, 0.75)
    features = FrameFeatures(frame, open_embedder(None)).of(Region(roi))
    _ = features.coarse_image, sample_of(frame), size_of(frame)
    assert module.copied == [("lores", (270, 320))]
    np.testing.assert_array_equal(region_of(frame, roi, 160), whole[180:540, 320:960])
    np.testing.assert_array_equal(frame.pixels, whole)
    assert module.copied == [("lores", (270, 320)), ("main", (720, 1280, 3))]
    del frame, features
    source.grab()
    assert module.out == 1


@pytest.mark.parametrize("size", [(100, 80), (642, 482), (1920, 1080)])
def test_the_coarse_image_of_the_small_picture_is_like_that_of_the_whole(
    size: tuple[int, int],
) -> None:
    module = Picamera2Module(shown=SCENE)
    frame = unthreaded(module, width=size[0], height=size[1]).read()
    assert isinstance(frame, RawFrame)
    assert frame.picture is not None
    for roi in (FULL_FRAME, Roi(0.1, 0.2, 0.9, 0.7), Roi(0.5, 0.5, 0.6, 0.6)):
        found = frame.picture.coarse(roi).mean()
        assert found == pytest.approx(crop(frame.pixels, roi).mean(), abs=3.0)


def test_frames_that_nobody_looks_at_are_not_copied_and_give_their_buffers_back() -> None:
    module = Picamera2Module(shown=SCENE)
    source = unthreaded(module)
    for _ in range(20):
        source.grab()
    assert module.copied == []
    source.close()
    assert module.out == 0


def test_frames_that_are_kept_take_no_buffers_from_the_camera() -> None:
    module = Picamera2Module(shown=SCENE)
    source = unthreaded(module)
    kept = [source.read() for _ in range(9)]
    source.close()
    assert module.out == 0
    for frame in kept:
        assert frame is not None
        np.testing.assert_array_equal(frame.pixels, module.picture("main", 1))


def test_a_camera_without_a_second_stream_gives_its_pictures_whole() -> None:
    module = Picamera2Module(shown=SCENE, has_small=False)
    frame = unthreaded(module).read()
    assert frame is not None
    assert not isinstance(frame, RawFrame)
    assert frame.pixels.shape == (480, 640, 3)
    assert module.out == 0


def test_frames_of_a_camera_that_hangs_upside_down_are_turned() -> None:
    module = Picamera2Module(shown=SCENE)
    frame = unthreaded(module, rotate=180).read()
    assert frame is not None
    np.testing.assert_array_equal(frame.pixels, module.picture("main", 1)[::-1, ::-1])


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
