"""The reader thread: newest frame wins; losses, hangs and garbage are survived and reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from msgspec.structs import replace

from edge_sim.core.backoff import HELD_S
from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.live import MAX_ABANDONED, LiveSource
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import MAX_BAD_READS, Clocks, Mailbox, Reader
from tests.io.sources.devices import PATIENCE_S, Device, Hang, flat

QUICK = SourceOptions(
    name="cam",
    open_timeout_s=PATIENCE_S,
    read_timeout_s=PATIENCE_S,
    reconnect_s=(0.001,),
    warm_up_s=0.0,
)
IMPATIENT = replace(QUICK, read_timeout_s=0.05)


class NotingMailbox(Mailbox):
    """Keeps every pause that was announced."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses_s: list[float | None] = []

    def fail(self, text: str, pause_s: float | None = None, cause: Exception | None = None) -> None:
        self.pauses_s.append(pause_s)


Start = Callable[[Device, SourceOptions], LiveSource]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts sources; lets their devices go and closes them after the test."""
    started: list[tuple[Device, LiveSource]] = []

    def start_one(device: Device, options: SourceOptions = QUICK) -> LiveSource:
        source = LiveSource(device.open, options)
        started.append((device, source))
        source.start()
        return source

    yield start_one
    for device, source in started:
        device.end()
        source.close()


def taken(source: LiveSource) -> Frame:
    frame = source.read()
    assert frame is not None
    return frame


def level(frame: Frame) -> int:
    return int(frame.pixels[0, 0, 0])


def test_making_a_source_opens_nothing() -> None:
    device = Device()
    LiveSource(device.open, QUICK)
    assert device.opened == 0


def test_read_before_start_says_so() -> None:
    with pytest.raises(SourceError, match="not started"):
        LiveSource(Device().open, IMPATIENT).read()


def test_the_newest_frame_wins_and_the_others_are_counted(start: Start) -> None:
    device = Device()
    source = start(device, QUICK)
    device.wait_for("reads", 1)
    device.put(flat(1), flat(2), flat(3))
    frame = taken(source)
    assert (level(frame), frame.index, source.dropped) == (3, 2, 2)


def test_black_frames_after_an_opening_are_skipped_until_the_first_picture_or_the_limit(
    start: Start,
) -> None:
    device = Device()
    source = start(device, replace(QUICK, warm_up_s=3600.0))
    device.wait_for("reads", 1)
    device.put(flat(0), flat(3), flat(40), flat(0))
    assert (level(taken(source)), source.dropped) == (0, 1)


def test_a_camera_that_stays_black_is_read_after_the_limit() -> None:
    device, now_s = Device(), [0.0]
    options = replace(QUICK, warm_up_s=2.0)
    source = LiveSource(device.open, options, clocks=Clocks(lambda: now_s[0], lambda: 0.0))
    source.start()
    device.wait_for("reads", 1)
    device.put(flat(0))
    assert not source.ready
    now_s[0] = 2.0
    device.put(flat(0))
    assert level(taken(source)) == 0
    device.end()
    source.close()


def test_a_source_that_can_never_open_is_an_error_of_the_configuration() -> None:
    device = Device()
    device.openings.put(ConfigError("cam: no such option"))
    source = LiveSource(device.open, QUICK)
    with pytest.raises(ConfigError, match="no such option"):
        source.start()
    device.openings.put(ConfigError("cam: no such option"))
    later = LiveSource(device.open, QUICK)
    later.begin()
    with pytest.raises(ConfigError, match="no such option"):
        later.read()
    assert later.read() is None
    assert device.opened == 0


def test_a_frame_is_given_once(start: Start) -> None:
    device = Device()
    source = start(device, IMPATIENT)
    device.wait_for("reads", 1)
    device.put(flat(1))
    taken(source)
    with pytest.raises(SourceError, match=r"cam: no frame for 0\.05 s"):
        source.read()


def test_frames_carry_the_given_clocks() -> None:
    device = Device()
    source = LiveSource(device.open, QUICK, clocks=Clocks(lambda: 12.5, lambda: 1e9))
    source.start()
    device.wait_for("reads", 1)
    device.put(flat(1))
    frame = taken(source)
    assert (frame.captured_at_s, frame.unix_time_s) == (12.5, 1e9)
    device.end()
    source.close()


def test_the_first_frames_can_be_thrown_away_while_the_exposure_settles(start: Start) -> None:
    device = Device()
    source = start(device, replace(QUICK, warm_up_frames=2))
    device.wait_for("reads", 1)
    device.put(flat(1), flat(2), flat(3))
    frame = taken(source)
    assert (level(frame), frame.index, source.dropped) == (3, 0, 0)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (np.full((4, 6), 9, np.uint8), 9),
        (np.full((4, 6, 4), 9, np.uint8), 9),
        (np.full((4, 6, 1), 9, np.uint8), 9),
        (np.full((4, 6, 3), 9 << 8, np.uint16), 9),
    ],
    ids=["grey", "bgra", "one channel", "16 bit"],
)
def test_any_usual_picture_becomes_bgr(
    start: Start, raw: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], expected: int
) -> None:
    device = Device()
    source = start(device, QUICK)
    device.wait_for("reads", 1)
    device.put(raw)
    frame = taken(source)
    assert frame.pixels.shape == (4, 6, 3)
    assert level(frame) == expected


def test_pictures_are_turned_as_asked(start: Start) -> None:
    device = Device()
    source = start(device, replace(QUICK, rotate=90))
    picture = flat(0)
    picture[0, 0] = 255
    device.wait_for("reads", 1)
    device.put(picture)
    turned = taken(source).pixels
    assert turned.shape == (6, 4, 3)
    assert turned[0, 3].tolist() == [255, 255, 255]


def test_single_empty_and_broken_reads_are_counted_and_passed_over(start: Start) -> None:
    device = Device()
    source = start(device, QUICK)
    device.wait_for("reads", 1)
    device.put(None, np.zeros((2, 2, 7), np.uint8), np.zeros((0, 2, 3), np.uint8), flat(5))
    assert level(taken(source)) == 5
    assert source.rejected == 3
    assert device.opened == 1


def test_a_lost_camera_is_reported_once_opened_again_and_read_on(start: Start) -> None:
    device = Device()
    source = start(device, QUICK)
    device.wait_for("reads", 1)
    device.put(flat(1))
    assert level(taken(source)) == 1
    device.put(*[None] * MAX_BAD_READS)
    with pytest.raises(
        SourceError, match=r"cam: lost, it gives no pictures any more; next try in 0\.001 s"
    ):
        source.read()
    device.wait_for("opened", 2)
    device.put(flat(2))
    frame = taken(source)
    assert (level(frame), frame.index) == (2, 1)
    assert device.released == 1


def test_one_failed_read_that_took_half_the_time_out_is_a_loss() -> None:
    device = Device()
    now_s = [0.0]
    options = replace(QUICK, read_timeout_s=PATIENCE_S)
    source = LiveSource(device.open, options, clocks=Clocks(lambda: now_s[0], lambda: 0.0))
    source.start()
    device.wait_for("reads", 1)
    now_s[0] = PATIENCE_S / 2
    device.script.put(None)
    with pytest.raises(SourceError, match="cam: lost"):
        source.read()
    device.end()
    source.close()


def test_a_frame_taken_before_the_loss_comes_before_its_report(start: Start) -> None:
    device = Device()
    source = start(device, QUICK)
    device.wait_for("reads", 1)
    device.put(flat(1), *[None] * MAX_BAD_READS)
    device.wait_for("opened", 2)
    assert level(taken(source)) == 1
    with pytest.raises(SourceError, match="lost"):
        source.read()


def test_a_loss_is_reported_even_if_frames_came_again_meanwhile(start: Start) -> None:
    device = Device()
    source = start(device, QUICK)
    device.wait_for("reads", 1)
    device.put(*[None] * MAX_BAD_READS)
    device.wait_for("opened", 2)
    device.put(flat(2))
    with pytest.raises(SourceError, match="lost"):
        source.read()
    assert level(taken(source)) == 2


def test_silence_during_a_pause_names_what_was_wrong(start: Start) -> None:
    device = Device()
    source = start(device, replace(IMPATIENT, reconnect_s=(3600.0,)))
    device.wait_for("reads", 1)
    device.script.put(ZeroDivisionError("by zero"))
    with pytest.raises(SourceError, match="next try"):
        source.read()
    with pytest.raises(SourceError, match=r"no frame for 0\.05 s \(cam: ZeroDivisionError"):
        source.read()


def test_pauses_grow_until_the_stream_has_held_for_a_while() -> None:
    """A source that opens, gives a picture and fails, again and again, is tried ever less."""
    device, now_s = Device(), [0.0]
    for _ in range(2):
        device.openings.put(SourceError("cam: gone"))
    mailbox = NotingMailbox()
    options = replace(QUICK, reconnect_s=(0.001, 0.002, 0.003, 0.004))
    clocks = Clocks(lambda: now_s[0], lambda: 0.0)
    reader = Reader(device.open, mailbox, options, clocks=clocks)
    reader.start()
    device.wait_for("reads", 1)
    device.put(flat(1), *[None] * MAX_BAD_READS)
    device.put(flat(2), *[None] * MAX_BAD_READS)
    device.put(flat(3))
    now_s[0] = HELD_S
    device.put(flat(4), *[None] * MAX_BAD_READS)
    reader.leave()
    device.end()
    reader.join(PATIENCE_S)
    assert mailbox.pauses_s == [0.001, 0.002, 0.003, 0.004, 0.001]


def test_opening_that_fails_is_reported_by_start(start: Start) -> None:
    device = Device()
    device.openings.put(SourceError("cam: no such camera"))
    with pytest.raises(SourceError, match=r"^cam: no such camera$"):
        start(device, replace(QUICK, reconnect_s=(3600.0,)))


def test_opening_that_hangs_is_given_up(start: Start) -> None:
    device = Device()
    device.openings.put(Hang())
    with pytest.raises(SourceError, match=r"did not open within 0\.05 s"):
        start(device, replace(QUICK, open_timeout_s=0.05))


def test_a_hanging_read_is_left_behind_and_the_camera_opened_again(start: Start) -> None:
    device = Device()
    source = start(device, IMPATIENT)
    hang = Hang()
    device.script.put(hang)
    assert hang.begun.wait(PATIENCE_S)
    with pytest.raises(SourceError, match="hangs and is opened again"):
        source.read()
    assert source.abandoned == 1
    device.wait_for("opened", 2)
    hang.end.set()
    device.wait_for("released", 1)
    device.wait_for("reads", 2)
    device.wait_for("released", 1)
    device.put(flat(3))
    assert level(taken(source)) == 3


def test_readers_left_behind_are_few(start: Start) -> None:
    device = Device()
    source = start(device, IMPATIENT)
    hangs = [Hang() for _ in range(MAX_ABANDONED + 1)]
    for hang in hangs:
        device.script.put(hang)
    errors = (_error_of(source) for _ in range(200))
    assert any("replug the camera or restart" in error for error in errors)
    assert source.abandoned == MAX_ABANDONED
    assert device.opened == MAX_ABANDONED + 1
    for hang in hangs:
        hang.end.set()
    device.wait_for("released", MAX_ABANDONED + 1)
    device.wait_for("reads", MAX_ABANDONED + 2)
    device.put(flat(4))
    assert "lost" in _error_of(source)
    assert level(taken(source)) == 4


def test_an_unforeseen_error_of_the_device_reaches_the_caller(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device()
    source = start(device, QUICK)
    device.wait_for("reads", 1)
    device.put(ZeroDivisionError("by zero"))
    with pytest.raises(SourceError, match="cam: ZeroDivisionError: by zero") as caught:
        source.read()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "unexpected error in the reader" in caplog.text
    device.put(flat(1))
    assert level(taken(source)) == 1


def test_close_ends_the_thread_even_during_an_hour_of_pause() -> None:
    device = Device()
    options = replace(QUICK, name="sleeper", reconnect_s=(3600.0,))
    source = LiveSource(device.open, options)
    source.start()
    device.wait_for("reads", 1)
    device.put(*[None] * (MAX_BAD_READS - 1))
    device.script.put(None)
    with pytest.raises(SourceError, match="next try in 3600 s"):
        source.read()
    source.close()
    assert "reader sleeper" not in [thread.name for thread in threading.enumerate()]
    assert device.released == device.opened


def test_close_wakes_a_read_that_waits(start: Start) -> None:
    device = Device()
    source = start(device, QUICK)
    errors: list[str] = []
    waiter = threading.Thread(target=lambda: errors.append(_error_of(source)))
    waiter.start()
    device.end()
    source.close()
    waiter.join(PATIENCE_S)
    assert len(errors) == 1


def _error_of(source: LiveSource) -> str:
    try:
        source.read()
    except SourceError as error:
        return str(error)
    return ""
