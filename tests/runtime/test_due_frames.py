"""A live camera converts the frames that are due, and the others only as a sign of life."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_sim.core.events import SourceLost, SourceRestored, StateChanged
from edge_sim.core.images import encode_jpeg
from edge_sim.core.raw_pictures import (
    JpegPicture,
    PackedPicture,
    RawFrame,
    RawPicture,
    region_of,
)
from edge_sim.core.types import FULL_FRAME, Frame, Roi
from edge_sim.decision.pipeline import ObservationInterval, Pipeline, Watch
from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.cameras import OpenCvCamera, open_camera
from edge_sim.io.sources.http_camera import MjpegCamera, PipedVideo
from edge_sim.io.sources.live import LiveSource
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import Clocks, NoPictureError
from edge_sim.io.sources.stream import OpenCvStream, RelayedStream
from edge_sim.io.sources.synthetic.source import render
from edge_sim.runtime.loop import SourceRunner, Step
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.probe import Region
from tests.builders import BrightnessEmbedder
from tests.core.test_raw_pictures import packed_of
from tests.decision.test_pipeline import LIGHT_AND_DARK, STAGES
from tests.io.sources.devices import PATIENCE_S, V4l2Layer, flat
from tests.io.sources.test_http import PICTURE, parts, site, stream

OPTIONS = SourceOptions(name="cam", warm_up_s=0.0, reconnect_s=(0.001,))
STEP_S = 0.04


class Camera:
    """Camera of 25 frames a second of a clock of its own, one whenever the test lets it.

    `faults` are the numbers of grabs that fail.
    """

    def __init__(self, faults: frozenset[int] = frozenset()) -> None:
        self.now_s = 0.0
        self.grabs = 0
        self.converted: list[int] = []
        self._faults = faults
        self._waits = 0
        self._allowed = 0
        self._changed = threading.Condition()

    def open(self) -> Camera:
        return self

    def grab(self) -> bool:
        with self._changed:
            self._waits += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._allowed > self.grabs, PATIENCE_S)
            self.grabs += 1
            self.now_s += STEP_S
        if self.grabs in self._faults:
            raise SourceError("cam: cable pulled")
        return True

    def retrieve(self) -> NDArray[Any] | RawPicture:
        self.converted.append(self.grabs)
        return flat(self.grabs % 200 + 20)

    def read(self) -> NDArray[Any]:
        raise AssertionError("a camera that can grab is not read")

    def release(self) -> None:
        return

    def go_on(self) -> None:
        """Give the next frame and wait until the reader has delivered it or left it out."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waits > self.grabs, PATIENCE_S)
            self._allowed += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._waits > self._allowed, PATIENCE_S)

    def end(self) -> None:
        with self._changed:
            self._allowed = 1 << 30
            self._faults = frozenset(range(1 << 10))
            self._changed.notify_all()


def live(camera: Camera, options: SourceOptions = OPTIONS) -> LiveSource:
    source = LiveSource(camera.open, options, clocks=Clocks(lambda: camera.now_s, lambda: 1e9))
    source.start()
    return source


def watched(source: LiveSource, *intervals_s: float) -> SourceRunner:
    watches = [
        Watch(f"w{at}", LIGHT_AND_DARK, STAGES, pace=ObservationInterval(interval_s))
        for at, interval_s in enumerate(intervals_s)
    ]
    pipeline = Pipeline(BrightnessEmbedder(), watches, "shed")
    return SourceRunner(source, pipeline, live=True, now=lambda: 0.0, clock=lambda: 0.0)


def play(camera: Camera, runner: SourceRunner, frames: int) -> list[Step]:
    steps = []
    for _ in range(frames):
        camera.go_on()
        while runner.ready:
            steps.append(runner.step())
    return steps


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera()
    yield made
    made.end()


def test_one_frame_in_25_is_converted_for_a_watch_of_one_observation_a_second(
    camera: Camera,
) -> None:
    source = live(camera)
    steps = play(camera, watched(source, 1.0), 101)
    assert camera.converted == [1, 26, 51, 76, 101]
    assert [len(step.outcomes) for step in steps] == [1] * 5
    assert source.skipped == 96
    assert source.dropped == 0
    frames = [step.frame for step in steps if step.frame is not None]
    assert [frame.index for frame in frames] == [0, 25, 50, 75, 100]
    assert [frame.captured_at_s for frame in frames] == pytest.approx(
        [0.04, 1.04, 2.04, 3.04, 4.04]
    )
    camera.end()
    source.close()


def test_a_device_is_told_from_when_on_a_frame_is_wanted() -> None:
    class Told(Camera):
        wanted_at_s = 0.0

        def __init__(self) -> None:
            super().__init__(faults=frozenset({30}))
            self.told: list[float] = []

        def grab(self) -> bool:
            self.told.append(self.wanted_at_s)
            return super().grab()

    camera = Told()
    source = live(camera)
    play(camera, watched(source, 1.0), 33)
    camera.end()
    source.close()
    # Every frame until the first one was observed, and at once after a loss.
    assert camera.told[:2] == [-math.inf] * 2
    assert camera.told[2:26] == pytest.approx([1.04] * 24, abs=2e-3)
    assert camera.told[27:30] == pytest.approx([2.04] * 3, abs=2e-3)
    assert camera.told[30] == -math.inf


def test_the_watch_that_observes_most_often_decides(camera: Camera) -> None:
    source = live(camera)
    steps = play(camera, watched(source, 1.0, 0.2), 26)
    assert camera.converted == [1, 6, 11, 16, 21, 26]
    assert [len(step.outcomes) for step in steps] == [2, 1, 1, 1, 1, 2]
    camera.end()
    source.close()


def test_a_watch_of_every_frame_gets_every_frame(camera: Camera) -> None:
    source = live(camera)
    play(camera, watched(source, 0.0, 60.0), 10)
    assert camera.converted == list(range(1, 11))
    camera.end()
    source.close()


def test_without_an_observation_due_one_frame_a_second_shows_that_the_camera_lives(
    camera: Camera,
) -> None:
    source = live(camera)
    steps = play(camera, watched(source, 600.0), 76)
    assert camera.converted == [1, 26, 51, 76]
    assert [len(step.outcomes) for step in steps] == [1, 0, 0, 0]
    camera.end()
    source.close()


def test_a_camera_with_a_short_time_out_is_not_silent_while_nothing_is_due(camera: Camera) -> None:
    source = live(camera, replace(OPTIONS, read_timeout_s=0.4))
    steps = play(camera, watched(source, 600.0), 76)
    assert {type(event) for step in steps for event in step.events} == {StateChanged}
    camera.end()
    source.close()


def test_the_first_frame_after_a_loss_comes_at_once() -> None:
    camera = Camera(faults=frozenset({5}))
    source = live(camera)
    steps = play(camera, watched(source, 600.0), 10)
    assert camera.converted == [1, 6]
    events = [event for step in steps for event in step.events]
    assert [type(event) for event in events] == [StateChanged, SourceLost, SourceRestored]
    camera.end()
    source.close()


def test_a_reader_whose_caller_says_nothing_converts_every_frame(camera: Camera) -> None:
    source = live(camera)
    for _ in range(5):
        camera.go_on()
        source.read_now()
    assert camera.converted == [1, 2, 3, 4, 5]
    camera.end()
    source.close()


def test_a_usb_camera_converts_no_frame_that_is_not_due(tmp_path: Path) -> None:
    layer = V4l2Layer()
    device = tmp_path / "video0"
    device.touch()
    options = replace(OPTIONS, threaded=False)
    source = open_camera(str(device), options, video_capture=layer)
    assert hasattr(source, "grab")
    for _ in range(24):
        source.grab()
    assert layer.converted == 0
    frame = source.read()
    assert frame is not None
    assert (layer.converted, int(frame.pixels[0, 0, 0])) == (1, 25)


def test_a_jpeg_of_an_http_camera_is_decoded_only_if_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[bytes] = []

    def counted(data: bytes, part: int) -> JpegPicture:
        decoded.append(data)
        return JpegPicture(data, part)

    monkeypatch.setattr("edge_sim.io.sources.http_camera.JpegPicture", counted)
    pages = {"/v": stream(parts(*[PICTURE] * 25, b"no picture"))}
    with site(pages) as camera:
        source = open_source(f"http://{camera.at}/v", replace(OPTIONS, threaded=False))
        assert hasattr(source, "grab")
        for _ in range(24):
            source.grab()
        assert not decoded
        assert source.read() is not None
        assert len(decoded) == 1
        source.close()


@pytest.mark.parametrize(
    "device", [OpenCvCamera, OpenCvStream, RelayedStream, PipedVideo, MjpegCamera]
)
def test_every_device_whose_pictures_are_converted_can_grab(device: type) -> None:
    assert hasattr(device, "grab")
    assert hasattr(device, "retrieve")


class Own:
    """Source of a user that can grab."""

    name = "own"

    def __init__(self) -> None:
        self.at = 0
        self.converted = 0

    def grab(self) -> float | None:
        self.at += 1
        return None if self.at > 101 else self.at * STEP_S

    def retrieve(self) -> Frame:
        self.converted += 1
        pixels = np.full((4, 6, 3), self.at, np.uint8)
        return Frame(pixels, self.at * STEP_S, self.at * STEP_S, self.at, self.name)

    def read(self) -> Frame | None:
        raise AssertionError("not called")

    def close(self) -> None:
        return


def test_a_source_of_ones_own_may_offer_to_grab() -> None:
    own = Own()
    source = LiveSource(lambda: own, OPTIONS)
    source.due_from(1e9)
    source.start()
    taken = [source.read()]
    while taken[-1] is not None:
        taken.append(source.read())
    assert own.converted == 5
    assert source.skipped == 96
    source.close()


def test_a_usb_camera_that_sends_jpeg_is_decoded_at_the_size_its_watches_need(
    tmp_path: Path,
) -> None:
    picture = cv2.resize(render("gate", "open"), (1280, 720))
    layer = V4l2Layer(jpeg=encode_jpeg(np.asarray(picture, np.uint8)))
    (tmp_path / "video0").touch()
    source = open_camera(
        str(tmp_path / "video0"), replace(OPTIONS, threaded=False), video_capture=layer
    )
    assert layer.settings[cv2.CAP_PROP_CONVERT_RGB] == 0
    first = source.read()
    assert first is not None
    assert region_of(first, FULL_FRAME, 160).shape == (720, 1280, 3)
    source.part = Pipeline(  # type: ignore[attr-defined]
        BrightnessEmbedder(), [Watch("w", LIGHT_AND_DARK, STAGES)], "shed"
    ).part_of(first)
    second = source.read()
    assert second is not None
    assert region_of(second, FULL_FRAME, 96).shape[0] < 720
    assert second.pixels.shape == (720, 1280, 3)


@pytest.mark.parametrize("shape", [(480, 640, 2), (1, -1)], ids=["picture", "row of bytes"])
def test_a_usb_camera_that_sends_yuyv_is_converted_only_where_a_watch_looks(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Versions of OpenCV differ in the shape.
    picture = np.asarray(cv2.resize(render("gate", "open"), (640, 480)), np.uint8)
    data = packed_of(picture).data
    layer = V4l2Layer(yuyv=data)
    layer.sent = data.reshape(shape)
    (tmp_path / "video0").touch()
    options = replace(OPTIONS, threaded=False)
    source = open_camera(str(tmp_path / "video0"), options, video_capture=layer)
    assert layer.settings[cv2.CAP_PROP_CONVERT_RGB] == 0
    frame = source.read()
    assert frame is not None
    with monkeypatch.context() as patch:
        patch.setattr(PackedPicture, "pixels", None)
        part = region_of(frame, Roi(0.25, 0.25, 0.5, 0.5), 160)
    assert part.shape == (120, 160, 3)
    assert np.abs(part.astype(int) - picture[120:240, 160:320]).mean() < 3.0
    turned = open_camera(
        str(tmp_path / "video0"), replace(options, rotate=90), video_capture=layer
    ).read()
    assert turned is not None
    assert turned.pixels.shape == (640, 480, 3)


def test_yuyv_of_another_size_than_the_camera_names_is_left_to_opencv(tmp_path: Path) -> None:
    layer = V4l2Layer(yuyv=np.full((48, 64, 2), 128, np.uint8))
    (tmp_path / "video0").touch()
    options = replace(OPTIONS, threaded=False)
    source = open_camera(str(tmp_path / "video0"), options, video_capture=layer)
    layer.sent = np.zeros((1, 48 * 64), np.uint8)
    with pytest.raises(NoPictureError):
        source.read()
    frame = source.read()
    assert frame is not None
    assert frame.pixels.shape == flat(0).shape
    assert layer.settings[cv2.CAP_PROP_CONVERT_RGB] == 1


def test_the_gate_stays_shut_before_a_still_jpeg_camera_whatever_the_corners_of_the_region() -> (
    None
):
    still = cv2.resize(render("gate", "open"), (1280, 720)).astype(np.int16)
    rng = np.random.default_rng(0)
    shots = [
        encode_jpeg(np.asarray(np.clip(still + rng.integers(-4, 5, still.shape), 0, 255), np.uint8))
        for _ in range(4)
    ]
    watch = Watch(
        "w", LIGHT_AND_DARK, STAGES, region=Region(Roi(0.137, 0.291, 0.683, 0.777)), gate=Gate()
    )
    pipeline = Pipeline(BrightnessEmbedder(), [watch], "shed")
    part, parts, embedded = 1, [], []
    for at in range(40):
        picture = JpegPicture(shots[at % 4], part)
        frame = RawFrame(picture, at * 0.5, at * 0.5, at, "cam")
        embedded.append(pipeline.process(frame)[0].embedded)
        part = pipeline.part_of(frame)
        parts.append(part)
    assert not any(embedded[12:])  # the gate has learned the noise of the camera by then
    assert parts[0] < parts[-1] == 8


def test_a_reader_decodes_at_the_part_that_its_caller_asks_for() -> None:
    data = encode_jpeg(np.asarray(cv2.resize(render("gate", "open"), (1280, 720)), np.uint8))

    class JpegDevice(Camera):
        part = 1

        def retrieve(self) -> NDArray[Any] | RawPicture:
            return JpegPicture(data, self.part)

    camera = JpegDevice()
    source = live(camera)
    steps = play(camera, watched(source, 0.0), 3)
    frames = [step.frame for step in steps if step.frame is not None]
    assert [region_of(frame, FULL_FRAME, 80).shape[0] for frame in frames] == [720, 180, 180]
    camera.end()
    source.close()
