"""Load of one camera on this machine: processor time of the whole process, in percent of a core."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import msgspec
import numpy as np

from edge_sim.core.images import crop
from edge_sim.core.protocols import Embedder
from edge_sim.core.raw_pictures import size_of
from edge_sim.core.types import Frame, Roi
from edge_sim.decision.pipeline import ObservationInterval, Pipeline, Watch
from edge_sim.errors import SourceError
from edge_sim.gallery.enrolment import reference_of
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.sources import is_live, open_source
from edge_sim.io.sources.live import LiveSource
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.uri import masked, split_uri
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.loop import Loop, SourceRunner, Wakeup
from edge_sim.runtime.stages import stages_of
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.probe import Region

_REFERENCES = 10
"""Pictures of each of two states: the camera's first frame and its mirror image, with noise."""
SETTLING_S = 1.0
DECODED = frozenset({"rtsp", "rtsps", "http", "https"})
"""Schemes of streams, which a library decodes."""
INTERVALS_S = {
    "decoding, nothing observed": math.inf,
    "1 observation a second": 1.0,
    "all frames": 0.0,
}


class CameraLoad(msgspec.Struct, frozen=True):
    """Load while a camera is watched in one way.

    Args:
        name: How often the watch observes.
        percent_of_core: Processor time of the whole process per second, percent.
        frames_per_s: Frames that the decoder gave; PyAV leaves out some while none is due.
        converted_per_s: Frames of which pixels were made.
        observed_per_s: Observations.
        ms_per_frame: Processor time per frame of the decoder, milliseconds.
        width: Width of a frame, pixels.
        height: Height of a frame, pixels.
    """

    name: str
    percent_of_core: float
    frames_per_s: float
    converted_per_s: float
    observed_per_s: float
    ms_per_frame: float
    width: int
    height: int


def measure_camera(
    uri: str,
    options: SourceOptions,
    embedder: Embedder,
    *,
    roi: Roi,
    seconds: float,
    intervals_s: Mapping[str, float] = INTERVALS_S,
    used: Callable[[], float] = time.process_time,
    settling_s: float = SETTLING_S,
) -> tuple[CameraLoad, ...]:
    """Return the load of a camera for each way of watching one region of it.

    Args:
        uri: Camera or stream.
        options: Options of the source.
        embedder: Embedder of the watch.
        roi: Region of the watch.
        seconds: Time per way of watching.
        intervals_s: Ways of watching, name -> seconds between two observations.
        used: Seconds of processor time of the process.
        settling_s: Time before each way of watching that is not counted.

    Raises:
        ConfigError: The uri can never be opened.
        SourceError: The camera fails, or is a recording, which has no rate of its own.
    """
    if not is_live(uri):
        raise SourceError(f"{masked(uri)}: a recording is read as fast as it can be; name a camera")
    wakeup = Wakeup()
    options = msgspec.structs.replace(options, threaded=False)
    source = LiveSource(lambda: open_source(uri, options), options, wake=wakeup.ring)
    source.start()
    with closing(source):
        first = source.read()
        if first is None:
            raise SourceError(f"{source.name}: it has no frames")
        gallery = _gallery(embedder, first, roi)
        found = []
        for name, interval_s in intervals_s.items():
            pipeline = _pipeline(embedder, gallery, roi, interval_s)
            runner = SourceRunner(source, pipeline, live=True, now=time.time)
            loop = Loop([runner], wakeup=wakeup)
            _run(loop, settling_s)
            found.append(_load(name, source, loop, seconds, used, size_of(first)))
        return tuple(found)


def _load(
    name: str,
    source: LiveSource,
    loop: Loop,
    seconds: float,
    used: Callable[[], float],
    size: tuple[int, int],
) -> CameraLoad:
    """Run one way of watching, and return its load."""
    dropped, left_out = source.dropped, source.skipped
    started_s, used_s = time.monotonic(), used()
    taken, observed = _run(loop, seconds)
    elapsed_s, used_s = time.monotonic() - started_s, used() - used_s
    converted = taken + source.dropped - dropped
    frames = converted + source.skipped - left_out
    if not frames:
        raise SourceError(f"{source.name}: no frame for {seconds:g} s")
    return CameraLoad(
        name,
        percent_of_core=round(100.0 * used_s / elapsed_s, 2),
        frames_per_s=round(frames / elapsed_s, 2),
        converted_per_s=round(converted / elapsed_s, 2),
        observed_per_s=round(observed / elapsed_s, 2),
        ms_per_frame=round(1000.0 * used_s / frames, 3),
        width=size[0],
        height=size[1],
    )


def _run(loop: Loop, seconds: float) -> tuple[int, int]:
    """Run the loop and return the number of frames taken and of observations."""
    taken = observed = 0
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0.0 and not loop.done:
        step = loop.next(left_s)
        if step is not None:
            taken += step.frame is not None
            observed += len(step.outcomes)
    return taken, observed


def _pipeline(embedder: Embedder, gallery: Gallery, roi: Roi, interval_s: float) -> Pipeline:
    watch = Watch(
        "bench",
        gallery,
        stages_of(Config(), WatchConfig()),
        region=Region(roi),
        pace=ObservationInterval(interval_s, interval_s),
        gate=Gate(),
    )
    return Pipeline(embedder, [watch], "bench")


def _gallery(embedder: Embedder, frame: Frame, roi: Roi) -> Gallery:
    seen, rng = crop(frame.pixels, roi), np.random.default_rng(0)
    references = []
    for state, pixels in (("seen", seen), ("mirrored", seen[:, ::-1])):
        for number in range(_REFERENCES):
            noise = rng.integers(0, 9, pixels.shape, np.uint8)
            noisy = np.minimum(pixels, 246) + noise
            references.append(reference_of(embedder, noisy, f"{state}-{number}", state))
    return Gallery(references)


def table_row(loads: Sequence[CameraLoad], uri: str, facts: Mapping[str, str], decoder: str) -> str:
    """Return the row for the table of cameras in docs/benchmarks.md; it names no address.

    Args:
        loads: Result of `measure_camera`.
        uri: Camera or stream.
        facts: Result of `benchmark.machine`.
        decoder: Decoder of a stream.
    """
    scheme, first = split_uri(uri)[0], loads[0]
    kind = f"{scheme}, {decoder}" if scheme in DECODED else scheme
    rate = max(load.frames_per_s for load in loads)
    cells = [facts["cpu"], kind, f"{first.width}x{first.height}", f"{rate:.0f}"]
    cells += [f"{load.percent_of_core:.1f} %" for load in loads]
    return f"| {' | '.join(cells)} |"
