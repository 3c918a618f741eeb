"""A real stream on loopback, broken and brought back over and over, read by a real daemon."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_sim.core.events import SourceLost, SourceRestored
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.synthetic.source import render
from edge_sim.runtime.assembly import Environment
from edge_sim.runtime.config import load_config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.vision.embedders import open_embedder
from soaking.stream_server import FAULTS, FINE, StreamServer

FPS = 10.0
READ_S, OPEN_S, FROZEN_S = 2.0, 4.0, 2.0
_NOTICED_S = 30.0
_HELD_S = 0.1
"""Faults come every few seconds here: what held so long counts as steady."""
_FRAMES_AFTER = 3
"""Looked at after a recovery, before the next fault."""
SPARE_S = 5.0
"""For opening the stream and looking at it, beside the pause before the attempt."""


@dataclass(frozen=True)
class Cycle:
    """One fault and the way back.

    Args:
        fault: One of `FAULTS`.
        noticed_s: Until the daemon said that the source is lost.
        held_s: The fault went on so long after that.
        recovered_s: From the end of the fault to the next frame that was looked at.
        allowed_s: The longest pause that may be under way then, and what opening takes.
        descriptors: Open after it.
        threads: Running after it.
    """

    fault: str
    noticed_s: float
    held_s: float
    recovered_s: float
    allowed_s: float
    descriptors: int
    threads: int


def pictures() -> list[bytes]:
    """Return the drawn lamp as JPEG files, with noise that no two share."""
    rng = np.random.default_rng(1)
    found = []
    for number in range(20):
        clean = render("lamp", "on", number % 4).astype(np.int16)
        noisy = clean + rng.integers(-8, 9, clean.shape, np.int16)
        encoded = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8))[1]
        found.append(encoded.tobytes())
    return found


def make_device(folder: Path, port: int) -> Path:
    """Write gallery and configuration of one watch on the stream."""
    embedder = open_embedder("thumbnail")
    with GalleryStore.open(folder / "gallery.db", create=True) as store:
        for state in ("on", "off"):
            shown = [
                EnrolmentCandidate(f"{state}{at}", render("lamp", state, at)) for at in range(4)
            ]
            enrol(store, embedder, shown, plan=EnrolmentPlan("lamp", state, force=True))
    path = folder / "config.yaml"
    path.write_text(
        "model: {path: thumbnail}\n"
        f"sources:\n  camera: {{uri: 'http://127.0.0.1:{port}/stream.mjpg',"
        f" open_timeout_s: {OPEN_S}, read_timeout_s: {READ_S}, frozen_timeout_s: {FROZEN_S}}}\n"
        "watches:\n  lamp: {}\n"
        "sinks:\n  - {kind: file, path: events.jsonl}\n"
    )
    return path


class StreamTrial:
    """A daemon and its camera.

    Args:
        folder: Takes the device.
        seed: Seed of the order of faults and how long they last.
        faults: To draw from.
    """

    def __init__(self, folder: Path, seed: int, faults: tuple[str, ...] = FAULTS) -> None:
        self.problems: list[str] = []
        self.cycles: list[Cycle] = []
        self._rng = random.Random(seed)
        self._faults = faults
        self._server = StreamServer(pictures(), FPS)
        path = make_device(folder, self._server.port)
        self._daemon = Daemon(
            load_config(path),
            reload=lambda: load_config(path),
            environment=Environment(held_s=_HELD_S),
        )
        self._thread = threading.Thread(target=self._daemon.run)

    def run(self, cycles: int, longest_hold_s: float = 8.0) -> None:
        """Break the stream so often; each time for some seconds more than it takes to notice."""
        self._thread.start()
        try:
            if not self._await_frames(_FRAMES_AFTER):
                self.problems.append("no frame at the start")
                return
            # Every kind as often as the others, in a random order.
            plan = [self._faults[at % len(self._faults)] for at in range(cycles)]
            self._rng.shuffle(plan)
            for fault in plan:
                held_s = self._rng.choice((0.0, 0.0, self._rng.uniform(0.0, longest_hold_s)))
                self.cycles.append(self._cycle(fault, held_s))
        finally:
            self._daemon.request_stop()
            self._thread.join(20.0)
            self._server.close()
        if self._thread.is_alive():
            self.problems.append("the daemon did not end")

    def report(self) -> dict[str, Any]:
        """Return what came of it; `problems` is empty if all is well."""
        by_fault: dict[str, dict[str, float]] = {}
        for fault in dict.fromkeys(item.fault for item in self.cycles):
            own = [item for item in self.cycles if item.fault == fault]
            by_fault[fault] = {
                "cycles": len(own),
                "noticed_s_most": round(max(item.noticed_s for item in own), 2),
                "recovered_s_median": round(float(np.median([i.recovered_s for i in own])), 2),
                "recovered_s_most": round(max(item.recovered_s for item in own), 2),
            }
        late = [item for item in self.cycles if item.recovered_s > item.allowed_s]
        problems = self.problems + [f"late: {item}" for item in late] + self._leaks()
        return {
            "cycles": len(self.cycles),
            "faults": by_fault,
            "late": len(late),
            "descriptors": _ends([item.descriptors for item in self.cycles]),
            "threads": _ends([item.threads for item in self.cycles]),
            "problems": problems,
        }

    def _cycle(self, fault: str, held_s: float) -> Cycle:
        started_s = time.monotonic()
        number = self._daemon.board.last_event
        self._server.set_mode(fault)
        if not self._await_event(SourceLost, number):
            self.problems.append(f"{fault}: not noticed within {_NOTICED_S:g} s")
        noticed_s = time.monotonic() - started_s
        threading.Event().wait(held_s)
        number = self._daemon.board.last_event
        healed_s = time.monotonic()
        self._server.set_mode(FINE)
        if not self._await_event(SourceRestored, number):
            self.problems.append(f"{fault}: not back within {_NOTICED_S:g} s")
        recovered_s = time.monotonic() - healed_s
        self._await_frames(_FRAMES_AFTER)
        return Cycle(
            fault,
            noticed_s,
            held_s,
            recovered_s,
            _longest_pause_s(fault, held_s) + SPARE_S,
            len(list(Path("/proc/self/fd").iterdir())),
            threading.active_count(),
        )

    def _await_event(self, kind: type, number: int) -> bool:
        until_s = time.monotonic() + _NOTICED_S
        while (left_s := until_s - time.monotonic()) > 0:
            found = self._daemon.board.events_after(number, left_s)
            if found is None:
                return False
            if any(isinstance(event, kind) for _, event in found):
                return True
            number = found[-1][0] if found else number
        return False

    def _await_frames(self, more: int) -> bool:
        start = sum(item.frames for item in self._daemon.board.sources)
        until_s = time.monotonic() + _NOTICED_S
        while time.monotonic() < until_s:
            if sum(item.frames for item in self._daemon.board.sources) >= start + more:
                return True
            threading.Event().wait(0.05)
        return False

    def _leaks(self) -> list[str]:
        found = []
        for key in ("descriptors", "threads"):
            values = [getattr(item, key) for item in self.cycles]
            if len(values) >= 4 and min(values[len(values) // 2 :]) > max(values[:2]):
                found.append(f"{key} grew: {values}")
        return found


def _longest_pause_s(fault: str, held_s: float) -> float:
    """Return the longest pause between attempts that a fault of this length can lead to."""
    if fault == "frozen":
        return 0.0  # the connection stands
    tried_s, pauses = 0.0, SourceOptions().reconnect_s
    for pause_s in pauses:
        tried_s += pause_s
        if tried_s >= held_s:
            return pause_s
    return pauses[-1]


def _ends(values: list[int]) -> dict[str, int]:
    if not values:
        return {}
    half = len(values) // 2
    return {
        "first": values[0],
        "most_first_half": max(values[: half + 1]),
        "least_second_half": min(values[half:]),
        "last": values[-1],
    }
