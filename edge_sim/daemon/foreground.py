"""The daemon's loop for `edge-sim run`: the same fair worker, events straight to the sinks."""

from __future__ import annotations

from collections.abc import Callable, Generator

from edge_sim.assembly import Device
from edge_sim.daemon.bell import Bell
from edge_sim.daemon.feeder import Feeder
from edge_sim.daemon.worker import Worker
from edge_sim.loop import Lane, Step, deliver
from edge_sim.protocols import FrameSource

_TICK_S = 1.0


def foreground_steps(
    device: Device, *, stop: Callable[[], bool], bell: Bell
) -> Generator[Step, None, None]:
    """Yield one step per frame; the events in it have been delivered to the sinks.

    Args:
        device: From `build`; its live sources are read in threads of their own until the end.
        stop: Whether to end before the next frame.
        bell: Rung by whoever wants `stop` to be asked at once.

    Raises:
        SourceError: A file or folder cannot be read to its end.
    """
    worker = Worker(bell)
    lanes = [_fed(lane, bell) for lane in device.lanes]
    worker.use(lanes, None)
    try:
        while not stop() and not worker.done:
            device.refresh()
            turn = worker.turn(_TICK_S)
            if turn is not None:
                deliver(turn.step.events, device.sinks)
                yield turn.step
    finally:
        for lane in lanes:
            lane.source.close()


def _fed(lane: Lane, bell: Bell) -> Lane:
    if not lane.live:
        return lane
    feeder = Feeder(lane.source.name, _opened(lane.source), bell.ring)
    feeder.start()
    return Lane(feeder, lane.pipeline, live=True, now=lane.now, clock=lane.clock)


def _opened(source: FrameSource) -> Callable[[], FrameSource]:
    return lambda: source
