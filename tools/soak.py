"""Hours of operation in minutes: four cameras with every kind of fault, one daemon, real sinks.

    python tools/soak.py --frames 1000000 --out soak

Time is data: frames carry times a second apart and come as fast as they are looked at. Cameras are
lost, do not open, freeze, go dark and give noise; the clock jumps by a day; the receiver of the
webhook fails; the configuration is read again all the time. At the end: was an event lost, or told
twice, and did memory, descriptors or threads grow? `soak/report.json` says so, `soak/report.svg`
shows it; the exit code is 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from edge_sim.config import Config, load_config
from edge_sim.daemon import Daemon, World
from edge_sim.domain import Frame
from edge_sim.embedders import open_embedder
from edge_sim.enrolment import Candidate, EnrolmentPlan, enrol
from edge_sim.errors import SourceError
from edge_sim.events import StateChanged, from_json_line
from edge_sim.gallery_store import GalleryStore
from edge_sim.loop import Step

CAMERAS = 4
STATES = ("left", "right", "both")
SIDE_PX = 64
MEAN_STAY = 60
"""Frames in a state."""


def picture(state: str, rng: np.random.Generator) -> np.ndarray:
    """Return (64, 64, 3) uint8: bright halves on a dark ground, with noise."""
    pixels = rng.integers(40, 60, (SIDE_PX, SIDE_PX, 3))
    if state in ("left", "both"):
        pixels[8:56, 6:26] += 120
    if state in ("right", "both"):
        pixels[8:56, 38:58, :2] += 120
    return pixels.astype(np.uint8)


class Camera:
    """Gives a frame when the last one was looked at, and faults now and then.

    Args:
        name: Of the source.
        seed: Of everything random.
        frames: After so many it ends.
    """

    def __init__(self, name: str, seed: int, frames: int) -> None:
        self.name = name
        self.done = threading.Semaphore(1)
        self.faults: dict[str, int] = {}
        self._rng = random.Random(seed)
        self._noise = np.random.default_rng(seed)
        self._frames = frames
        self._index = 0
        self._state = STATES[0]
        self._frozen: tuple[int, np.ndarray] | None = None
        self._dark_until = 0
        self._day_s = 0.0

    def open(self) -> Camera:
        if self._rng.random() < 0.3:
            self._count("open_failed")
            raise SourceError(f"{self.name}: did not open")
        return self

    def read(self) -> Frame | None:
        if self._index >= self._frames:
            return None
        # A step may be about a fault, or a frame may have been replaced: never wait for long.
        self.done.acquire(timeout=0.5)
        index = self._index
        self._index += 1
        if self._rng.random() < 0.001:
            self._count("lost")
            self.done.release()
            raise SourceError(f"{self.name}: no frame for 20 s")
        at_s = float(index)
        return Frame(self._pixels(index), at_s, 1.7e9 + at_s + self._day_s, index, self.name)

    def close(self) -> None:
        self.done.release()

    def _pixels(self, index: int) -> np.ndarray:
        rng = self._rng
        if rng.random() < 1.0 / MEAN_STAY:
            self._state = rng.choice([item for item in STATES if item != self._state])
        if rng.random() < 0.0005:
            self._count("clock_jump")
            self._day_s = rng.choice([-86_400.0, 0.0, 86_400.0])
        if self._frozen is not None and index < self._frozen[0]:
            # Looked at or dropped as frozen: the feeder does not pass it on.
            self.done.release()
            return self._frozen[1]
        pixels = picture(self._state, self._noise)
        if rng.random() < 0.0003:
            self._count("frozen")
            self._frozen = (index + 200, pixels)
        if rng.random() < 0.0003:
            self._count("dark")
            self._dark_until = index + 60
        if rng.random() < 0.001:
            self._count("garbage")
            return self._noise.integers(0, 256, pixels.shape).astype(np.uint8)
        return pixels // 20 if index < self._dark_until else pixels

    def _count(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1


class Receiver(ThreadingHTTPServer):
    """Takes webhooks, and refuses one in fifty."""

    daemon_threads = True

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.rng = random.Random(seed)
        self.bodies: list[bytes] = []
        self.refused = 0


class _Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.rng.random() < 0.02:
            self.server.refused += 1
            self.send_response(503)
        else:
            self.server.bodies.append(body)
            self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:  # noqa: ARG002
        return


@dataclasses.dataclass(frozen=True)
class Sample:
    """Of the process, after so many frames."""

    frames: int
    rss_mb: float
    descriptors: int
    threads: int


def sample(frames: int) -> Sample:
    """Return the figures of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    rss_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return Sample(frames, round(rss_mb, 2), descriptors, threading.active_count())


def make_device(folder: Path, port: int) -> Config:
    """Write gallery and configuration of four watches that look at the same kind of thing."""
    embedder = open_embedder("thumbnail")
    rng = np.random.default_rng(7)
    with GalleryStore.open(folder / "gallery.db", create=True) as store:
        for number in range(CAMERAS):
            for state in STATES:
                shown = [Candidate(f"{state}{at}", picture(state, rng)) for at in range(5)]
                enrol(store, embedder, shown, plan=EnrolmentPlan(f"w{number}", state, force=True))
    lines = ["model: {path: thumbnail}", "sources:"]
    lines += [f"  c{number}: {{uri: 'rtsp://soak/{number}'}}" for number in range(CAMERAS)]
    lines += ["watches:"]
    lines += [f"  w{number}: {{source: c{number}}}" for number in range(CAMERAS)]
    lines += ["sinks:", "  - {kind: file, path: events.jsonl, max_mb: 0}"]
    lines += [f"  - {{kind: webhook, url: 'http://127.0.0.1:{port}/hook'}}"]
    config = folder / "config.yaml"
    config.write_text("\n".join(lines) + "\n")
    return load_config(config)


class Soak:
    """One run."""

    def __init__(self, folder: Path, frames: int, seed: int) -> None:
        self._folder = folder
        self._frames = frames
        self.receiver = Receiver(seed)
        self.cameras = {
            f"c{number}": Camera(f"c{number}", seed + number, frames // CAMERAS)
            for number in range(CAMERAS)
        }
        config = make_device(folder, self.receiver.server_port)
        self.samples: list[Sample] = []
        self._looked = 0
        self._every = max(frames // 200, 1)
        self.reloads = 0
        world = World(
            open_source=lambda _, name: self.cameras[name].open(),
            retry_s=(0.01, 0.05),
            on_step=self._on_step,
        )
        self._daemon = Daemon(config, reload=self._reload, world=world)

    def run(self) -> float:
        """Run until the cameras end and everything is delivered; return the seconds it took."""
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        started_s = time.monotonic()
        self._daemon.run()
        took_s = time.monotonic() - started_s
        # What was not delivered by the end is, after a restart.
        for camera in self.cameras.values():
            camera.done.release()
        again = World(open_source=lambda _, name: _Patient(name, self), is_live=lambda _: False)
        Daemon(load_config(self._folder / "config.yaml"), reload=self._reload, world=again).run()
        self.receiver.shutdown()
        self.receiver.server_close()
        return took_s

    def _reload(self) -> Config:
        self.reloads += 1
        return load_config(self._folder / "config.yaml")

    def _on_step(self, source: str, step: Step) -> None:  # noqa: ARG002
        self.cameras[source].done.release()
        self._looked += 1
        if self._looked % self._every == 0:
            self.samples.append(sample(self._looked))
        if self._looked % (self._every * 20) == 0:
            self._daemon.request_reload()

    def waiting(self) -> bool:
        """Return whether the receiver has less than the file."""
        lines = (self._folder / "events.jsonl").read_bytes().count(b"\n")
        return len(self.receiver.bodies) < lines


class _Patient:
    """A source that ends when everything is delivered."""

    def __init__(self, name: str, soak: Soak) -> None:
        self.name = name
        self._soak = soak
        self._until_s = time.monotonic() + 90.0

    def read(self) -> Frame | None:
        while self._soak.waiting() and time.monotonic() < self._until_s:
            threading.Event().wait(0.1)
        return None

    def close(self) -> None:
        return


def problems_of(bodies: list[bytes]) -> list[str]:
    """Return what is wrong with the events that one sink got: none lost, none told twice."""
    found = []
    events = list(dict.fromkeys(bodies))  # at least once: the same bytes again are no fault
    ids = [from_json_line(body).id for body in events]
    if len(set(ids)) != len(ids):
        found.append(f"{len(ids) - len(set(ids))} ids stand for two different events")
    said: dict[str, str] = {}
    for body in events:
        event = from_json_line(body)
        if not isinstance(event, StateChanged):
            continue
        if event.watch in said and event.before != said[event.watch]:
            found.append(f"{event.id}: {event.watch} was {said[event.watch]}, not {event.before}")
        said[event.watch] = event.after
    return found


def growth(samples: list[Sample], key: str) -> float:
    """Return how much a figure grows over the last two thirds, by a straight line through them."""
    kept = samples[len(samples) // 3 :]
    if len(kept) < 3:
        return 0.0
    x = [item.frames for item in kept]
    per_frame = np.polyfit(x, [getattr(item, key) for item in kept], 1)[0]
    return float(per_frame) * (x[-1] - x[0])


def svg(samples: list[Sample]) -> str:
    """Return a picture of memory, descriptors and threads over frames."""
    rows = []
    for at, key in enumerate(("rss_mb", "descriptors", "threads")):
        values = [float(getattr(item, key)) for item in samples]
        low, high = min(values), max(values)
        top = 20 + 130 * at
        points = " ".join(
            f"{60 + 720 * number / max(len(values) - 1, 1):.1f},"
            f"{top + 100 - 100 * (value - low) / ((high - low) or 1.0):.1f}"
            for number, value in enumerate(values)
        )
        rows.append(
            f'<text x="60" y="{top - 5}">{key}: {low:g} to {high:g}</text>'
            f'<polyline points="{points}" fill="none" stroke="#246"/>'
        )
    body = "".join(rows)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="800" height="400" '
        f'font-family="sans-serif" font-size="12">{body}</svg>\n'
    )


def main(argv: list[str] | None = None) -> int:
    """Run the soak and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("soak"))
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True)
    soak = Soak(args.out, args.frames, args.seed)
    took_s = soak.run()
    filed = [line + b"\n" for line in (args.out / "events.jsonl").read_bytes().splitlines()]
    hooked = [body.rstrip(b"\n") + b"\n" for body in soak.receiver.bodies]
    problems = problems_of(filed) + problems_of(hooked)
    if list(dict.fromkeys(filed)) != list(dict.fromkeys(hooked)):
        problems.append(f"the file has {len(filed)} events, the webhook {len(hooked)}")
    faults: dict[str, int] = {"refused_webhooks": soak.receiver.refused, "reloads": soak.reloads}
    for camera in soak.cameras.values():
        for name, number in camera.faults.items():
            faults[name] = faults.get(name, 0) + number
    report = {
        "frames": args.frames,
        "looked_at": soak.samples[-1].frames if soak.samples else 0,
        "took_s": round(took_s, 1),
        "events": len(filed),
        "faults": faults,
        "problems": problems[:20],
        "growth_after_a_third": {
            key: round(growth(soak.samples, key), 3) for key in ("rss_mb", "descriptors", "threads")
        },
        "last": dataclasses.asdict(soak.samples[-1]) if soak.samples else None,
    }
    text = json.dumps(report, indent=2)
    (args.out / "report.json").write_text(text + "\n")
    (args.out / "report.svg").write_text(svg(soak.samples))
    print(text)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
