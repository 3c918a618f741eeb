"""A live source that is never waited for: newest frame, every loss, no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources.first_frames import FreezeDetector
from edge_sim.io.sources.live import LiveSource
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import MAX_BAD_READS, Clocks
from edge_sim.runtime.loop import Wakeup
from tests.builders import flat_frame
from tests.runtime.daemon.cameras import LIMIT_S, Camera
from tests.threads import none_left


class Started:
    """A source that reads `camera`, and what it rings."""

    def __init__(
        self,
        camera: FrameSource,
        *,
        frozen_s: float | None = None,
        open_it: Callable[[], FrameSource] | None = None,
    ) -> None:
        self.wakeup = Wakeup()
        options = SourceOptions(name="yard", frozen_timeout_s=frozen_s, reconnect_s=(0.0,))
        self.source = LiveSource(open_it or (lambda: camera), options, wake=self.wakeup.ring)
        self.source.begin()

    def next(self) -> Frame | None:
        while not self.source.ready:
            assert self.wakeup.wait(LIMIT_S), "nothing came"
        return self.source.read_now()


def test_a_frame_arrives_and_rings() -> None:
    camera = Camera()
    started = Started(camera)
    camera.give(flat_frame(index=3))
    frame = started.next()
    assert frame is not None
    assert frame.index == 3
    started.source.close()


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    camera = Camera()
    camera.give(*(flat_frame(index=at) for at in range(5)), None)
    started = Started(camera)
    assert started.source.join(LIMIT_S)
    frame = started.next()
    assert frame is not None
    assert frame.index == 4
    assert started.source.dropped == 4
    assert started.next() is None
    assert not started.source.ready


def test_a_loss_is_reported_in_its_place_between_the_frames() -> None:
    camera = Camera()
    camera.give(flat_frame(index=0), SourceError("gone"), flat_frame(index=1), None)
    started = Started(camera)
    assert started.source.join(LIMIT_S)
    assert started.next() is not None
    with pytest.raises(SourceError, match="gone"):
        started.next()
    after = started.next()
    assert after is not None
    assert after.index == 1


def test_many_losses_take_no_memory() -> None:
    camera = Camera()
    for at in range(4):
        camera.give(flat_frame(index=at), SourceError("gone"))
    camera.give(SourceError("still gone"), None)
    started = Started(camera)
    assert started.source.join(LIMIT_S)
    found = 0
    while started.source.ready:
        found += 1
        try:
            started.source.read_now()
        except SourceError as error:
            last = str(error)
    assert last == "still gone"
    assert found <= 4


def test_a_camera_that_is_missing_at_the_start_is_lost_and_tried_again() -> None:
    camera, attempts = Camera(), list[int]()

    def open_it() -> FrameSource:
        attempts.append(1)
        if len(attempts) < 3:
            raise SourceError("yard: no such camera")
        return camera

    camera.give(flat_frame(index=7), None)
    started = Started(camera, open_it=open_it)
    assert started.source.join(LIMIT_S)
    with pytest.raises(SourceError, match="no such camera; next try in 0 s"):
        started.next()
    frame = started.next()
    assert frame is not None
    assert frame.index == 7


def test_a_frozen_picture_is_a_loss() -> None:
    camera = Camera()
    camera.give(*(flat_frame(index=at) for at in range(3)), None)
    started = Started(camera, frozen_s=2.0)
    assert started.source.join(LIMIT_S)
    assert started.next() is not None
    with pytest.raises(SourceError, match="yard: frozen, the same picture for 2 s"):
        started.next()
    assert started.source.repeated == 2


class Broken(Camera):
    def read(self) -> Frame | None:
        if not self.closed:
            raise RuntimeError("driver bug")
        return None


def test_a_bug_in_a_source_is_a_loss_and_not_silence(caplog: pytest.LogCaptureFixture) -> None:
    started = Started(Broken())
    with pytest.raises(SourceError, match="RuntimeError: driver bug"):
        started.next()
    started.source.close()
    assert started.source.join(LIMIT_S)
    assert "unexpected error in the reader" in caplog.text


def test_a_source_that_fails_again_and_again_is_opened_anew() -> None:
    opened: list[Camera] = []
    again = threading.Event()

    def open_it() -> Camera:
        camera = Camera()
        opened.append(camera)
        if len(opened) == 1:
            camera.give(*[SourceError("cable out")] * MAX_BAD_READS)
        else:
            again.set()
        return camera

    started = Started(Camera(), open_it=open_it)
    assert again.wait(LIMIT_S)
    assert opened[0].closed
    started.source.close()


def test_an_import_that_breaks_in_the_thread_is_a_loss() -> None:
    """As picamera2 does under another numpy: the thread goes on and tries again."""
    attempts = list[int]()

    def open_it() -> FrameSource:
        attempts.append(1)
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    started = Started(Camera(), open_it=open_it)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"yard: ValueError: numpy\.dtype size changed"):
            started.next()
    assert len(attempts) >= 2
    started.source.close()


def test_closing_gives_the_camera_back_and_ends_the_thread() -> None:
    camera = Camera()
    with none_left():
        started = Started(camera)
        camera.give(flat_frame())
        assert started.next() is not None
        started.source.leave()
        started.source.leave()
        assert started.source.join(LIMIT_S)
        assert camera.closed


def test_closing_before_the_start_is_safe() -> None:
    source = LiveSource(Camera, SourceOptions(name="yard"))
    source.leave()
    assert source.join(0.0)
    assert not source.ready


def test_silence_is_a_loss_though_nobody_waits() -> None:
    now_s = [0.0]
    camera = Camera()
    options = SourceOptions(name="yard", read_timeout_s=5.0)
    source = LiveSource(lambda: camera, options, clocks=Clocks(lambda: now_s[0], lambda: 0.0))
    source.start()
    assert not source.ready
    now_s[0] = 4.9
    assert not source.ready
    now_s[0] = 5.0
    assert source.ready
    with pytest.raises(SourceError, match="yard: no frame for 5 s"):
        source.read_now()
    source.close()


def test_without_a_thread_the_source_is_lost_and_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s, wakeup, camera = [0.0], Wakeup(), Camera()
    options = SourceOptions(name="yard", reconnect_s=(7.0,))
    clocks = Clocks(lambda: now_s[0], lambda: 0.0)
    source = LiveSource(lambda: camera, options, clocks=clocks, wake=wakeup.ring)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", _no_thread)
        source.begin()
    assert wakeup.wait(0.0)
    with pytest.raises(SourceError, match=r"yard: no thread can be started.*next try in 7 s"):
        source.read_now()
    assert not source.ready
    camera.give(flat_frame(index=3))
    now_s[0] = 7.0
    while not source.ready:
        assert wakeup.wait(LIMIT_S)
    assert source.read_now() is not None
    source.close()


def _no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_dead_reader_thread_is_a_loss_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, wakeup, camera = [0.0], Wakeup(), Camera()
    source = LiveSource(
        lambda: camera,
        SourceOptions(name="yard", reconnect_s=(1.0,)),
        clocks=Clocks(lambda: now_s[0], lambda: 0.0),
        wake=wakeup.ring,
    )
    with monkeypatch.context() as broken:
        broken.setattr("edge_sim.io.sources.reader.Reader._run", lambda reader: None)
        source.begin()
        assert source.join(LIMIT_S)
    assert source.ready
    with pytest.raises(SourceError, match="its reader thread has died; next try in 1 s"):
        source.read_now()
    camera.give(flat_frame(index=3))
    now_s[0] = 1.0
    while not source.ready:
        assert wakeup.wait(LIMIT_S)
    assert source.read_now() is not None
    source.close()


def noisy(index: int) -> Frame:
    pixels = np.random.default_rng(index).integers(100, 104, (24, 32, 3)).astype(np.uint8)
    return Frame(pixels, float(index), 0.0, index, "fake")


def test_noise_in_a_still_scene_is_not_frozen() -> None:
    freezes = FreezeDetector(5.0)
    assert {freezes.frozen_s(noisy(index)) for index in range(50)} == {None}
    assert freezes.repeated == 0


def test_the_same_picture_for_too_long_is_frozen_until_another_comes() -> None:
    freezes = FreezeDetector(5.0)
    found = [freezes.frozen_s(flat_frame(index=index)) for index in range(7)]
    assert found == [None] * 5 + [5.0, 6.0]
    assert freezes.frozen_s(flat_frame(90, index=7)) is None
    assert freezes.repeated == 6


def test_without_a_limit_nothing_is_frozen() -> None:
    freezes = FreezeDetector(None)
    assert {freezes.frozen_s(flat_frame(index=index * 100)) for index in range(50)} == {None}


def test_time_that_runs_backwards_begins_anew() -> None:
    freezes = FreezeDetector(5.0)
    assert [freezes.frozen_s(flat_frame(index=index)) for index in (100, 0, 4)] == [None] * 3
