"""Time from the shutter of a camera to the event: a camera on loopback with a clock in its picture.

The camera is a process of its own that draws a scene and its monotonic clock, 25 times a second,
and sends it as JPEG; every four seconds the scene changes its state. The device of one watch that
observes every frame reads the clock of the frame with which it reports the change.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench_figures import Effort
from edge_sim.analysis.benchmark import Figure
from edge_sim.core.events import StateChanged
from edge_sim.core.images import encode_jpeg
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.synthetic.source import reference_frames, scene_roi
from edge_sim.runtime.assembly import build
from edge_sim.runtime.config import load_config
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

SCENE, STATES = "parking", ("free", "taken")
SIZE = 1280, 720
FRAME_S = 0.04
STAY_S = 4.0
CHANGES_PER_REPEAT = 4
_BITS, _BLOCK_PX = 40, 16
_TICKS_PER_S = 1e4


def measure(effort: Effort) -> Sequence[Figure]:
    """Return milliseconds from the shutter to the frame in the loop, and to the event."""
    frames_ms: list[float] = []
    events_ms: list[float] = []
    changes_ms: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        _camera() as uri,
        build(load_config(_configured(Path(folder), uri))) as device,
    ):
        for step in device.steps():
            now_s = time.monotonic()
            if step.frame is None:
                continue
            shutter_s = _clock_in(step.frame.pixels)
            frames_ms.append(1000.0 * (now_s - shutter_s))
            if any(isinstance(event, StateChanged) for event in step.events):
                events_ms.append(frames_ms[-1])
                changes_ms.append(1000.0 * (now_s - shutter_s // STAY_S * STAY_S))
            if len(events_ms) > CHANGES_PER_REPEAT * max(effort.repeats, 1):
                break
    return [
        *_both("from the shutter to the decision on a frame", frames_ms[25:]),
        *_both("from the shutter of the deciding frame to the event", events_ms[1:]),
        *_both("from the change of the scene to the event", changes_ms[1:]),
    ]


def _both(name: str, found_ms: Sequence[float]) -> Sequence[Figure]:
    ordered = sorted(found_ms)
    high_ms = ordered[min(round(0.95 * len(ordered)), len(ordered) - 1)]
    return [
        Figure(f"{name}, median", round(statistics.median(ordered), 1), "ms"),
        Figure(f"{name}, 95 of 100", round(high_ms, 1), "ms"),
    ]


def _configured(folder: Path, uri: str) -> Path:
    """Write gallery and configuration of a watch that observes every frame."""
    region = Region(scene_roi(SCENE))
    embedder = open_embedder("default")
    with GalleryStore.open(folder / "gallery.db", create=True) as store:
        for state in STATES:
            shown = [EnrolmentCandidate(f"{state}-{at}", _drawn(state, at)) for at in range(5)]
            plan = EnrolmentPlan(SCENE, state, region=region, force=True)
            enrol(store, embedder, shown, plan=plan)
    roi = region.roi
    path = folder / "config.yaml"
    path.write_text(
        f"sources: {{camera: {{uri: {uri!r}}}}}\n"
        f"watches: {{{SCENE}: {{roi: [{roi.x1}, {roi.y1}, {roi.x2}, {roi.y2}]}}}}\n"
        "sinks: [{kind: file, path: events.jsonl}]\n"
    )
    return path


@contextmanager
def _camera() -> Iterator[str]:
    command = [sys.executable, "-m", "bench_figures.latency"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v"
        finally:
            process.kill()


def serve() -> None:
    """Print the port, and send pictures to whoever connects, one after another."""
    stills = [_drawn(state, 0) for state in STATES]
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    while True:
        with suppress(OSError), server.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(
                b"HTTP/1.0 200 OK\r\n"
                b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            )
            _send(connection, stills)


def _send(connection: socket.socket, stills: Sequence[NDArray[np.uint8]]) -> None:
    rng = np.random.default_rng(0)
    grain = [rng.integers(0, 6, stills[0].shape, np.uint8) for _ in range(8)]
    next_s = time.monotonic()
    for number in range(10**9):
        next_s = max(next_s + FRAME_S, time.monotonic())
        time.sleep(next_s - time.monotonic() if next_s > time.monotonic() else 0.0)
        shutter_s = time.monotonic()
        still = stills[int(shutter_s // STAY_S) % len(stills)]
        shown = np.asarray(cv2.add(still, grain[number % 8]), np.uint8)
        body = encode_jpeg(_with_clock(shown, shutter_s))
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body + b"\r\n")


def _drawn(state: str, seed: int) -> NDArray[np.uint8]:
    picture = reference_frames(SCENE, state, seed + 1)[seed].pixels
    return np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def _with_clock(pixels: NDArray[np.uint8], at_s: float) -> NDArray[np.uint8]:
    """Draw monotonic seconds into the first rows of a picture, bit by bit."""
    ticks = round(at_s * _TICKS_PER_S)
    for bit in range(_BITS):
        left = bit * _BLOCK_PX
        pixels[:_BLOCK_PX, left : left + _BLOCK_PX] = 255 if ticks >> bit & 1 else 0
    return pixels


def _clock_in(pixels: NDArray[np.uint8]) -> float:
    """Return the monotonic seconds that are drawn in a picture."""
    middle = _BLOCK_PX // 2
    levels = pixels[middle, middle : _BITS * _BLOCK_PX : _BLOCK_PX, 0]
    return sum(1 << bit for bit, level in enumerate(levels) if level > 127) / _TICKS_PER_S


if __name__ == "__main__":
    serve()
