"""A camera of its own thread: the newest frame, every loss, and no thread left behind."""

from __future__ import annotations

import pytest

from edge_sim.daemon.bell import Bell
from edge_sim.daemon.feeder import Feeder
from edge_sim.domain import Frame
from edge_sim.errors import SourceError
from edge_sim.protocols import FrameSource
from tests.builders import flat_frame
from tests.daemon.cameras import LIMIT_S, Camera
from tests.threads import none_left


class Started:
    """A feeder that runs, and what rings when there is something to read."""

    def __init__(self, camera: Camera, *, frozen_s: float | None = None) -> None:
        self.bell = Bell()
        self.camera = camera
        self.feeder = Feeder("yard", lambda: camera, self.bell.ring, frozen_s=frozen_s)
        self.feeder.start()

    def next(self) -> Frame | None:
        while not self.feeder.ready:
            assert self.bell.wait(LIMIT_S), "nothing came"
        return self.feeder.read()


def test_a_frame_arrives_and_rings() -> None:
    started = Started(Camera())
    started.camera.give(flat_frame(index=3))
    frame = started.next()
    assert frame is not None
    assert frame.index == 3
    started.feeder.close()


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    started = Started(Camera())
    started.camera.give(*(flat_frame(index=at) for at in range(5)), None)
    started.feeder.join(LIMIT_S)
    frame = started.next()
    assert frame is not None
    assert frame.index == 4
    assert started.feeder.dropped == 4
    assert started.next() is None


def test_a_loss_is_told_in_its_place_between_the_frames() -> None:
    started = Started(Camera())
    started.camera.give(flat_frame(index=0), SourceError("gone"), flat_frame(index=1), None)
    started.feeder.join(LIMIT_S)
    assert started.next() is not None
    with pytest.raises(SourceError, match="gone"):
        started.next()
    after = started.next()
    assert after is not None
    assert after.index == 1


def test_many_losses_take_no_memory() -> None:
    started = Started(Camera())
    for at in range(20):
        started.camera.give(flat_frame(index=at))
    started.camera.give(SourceError("gone"), SourceError("still gone"), None)
    started.feeder.join(LIMIT_S)
    found = 0
    while started.feeder.ready:
        found += 1
        try:
            started.feeder.read()
        except SourceError as error:
            assert str(error) == "still gone"  # noqa: PT017 - one of several kinds of item
    assert found <= 4


def test_a_camera_that_is_missing_at_the_start_is_lost_and_tried_again() -> None:
    camera = Camera()
    attempts: list[int] = []

    def open_it() -> FrameSource:
        attempts.append(1)
        if len(attempts) < 3:
            raise SourceError("yard: no such camera")
        return camera

    bell = Bell()
    feeder = Feeder("yard", open_it, bell.ring, retry_s=(0.0,))
    camera.give(flat_frame(index=7), None)
    feeder.start()
    feeder.join(LIMIT_S)
    with pytest.raises(SourceError, match="no such camera; next try in 0 s"):
        feeder.read()
    frame = feeder.read()
    assert frame is not None
    assert frame.index == 7


def test_a_frozen_picture_is_a_loss() -> None:
    started = Started(Camera(), frozen_s=2.0)
    started.camera.give(*(flat_frame(index=at) for at in range(3)), None)
    started.feeder.join(LIMIT_S)
    assert started.next() is not None
    with pytest.raises(SourceError, match="frozen"):
        started.next()


def test_a_bug_in_a_source_is_a_loss_and_not_silence(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Camera):
        def read(self) -> Frame | None:
            if not self.closed:
                raise RuntimeError("driver bug")
            return None

    started = Started(Broken())
    with pytest.raises(SourceError, match="RuntimeError: driver bug"):
        started.next()
    started.feeder.close()
    assert started.feeder.join(LIMIT_S)


def test_closing_gives_the_camera_back_and_ends_the_thread() -> None:
    with none_left():
        started = Started(Camera())
        started.feeder.close()
        started.feeder.close()
        assert started.feeder.join(LIMIT_S)
        assert started.camera.closed


def test_closing_before_the_start_is_safe() -> None:
    feeder = Feeder("yard", Camera, Bell().ring)
    feeder.close()
    assert feeder.join(0.0)


def test_reading_nothing_is_an_error_and_never_waits() -> None:
    feeder = Feeder("yard", Camera, Bell().ring)
    with pytest.raises(SourceError, match="nothing to read"):
        feeder.read()
