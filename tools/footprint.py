"""Measure the resources of the daemon: one camera, three watches, a still scene.

    python tools/footprint.py --seconds 60 --out footprint
    python tools/footprint.py --references 1000 --out many
    python tools/footprint.py --frames 100000 --fps 100 --size 160x120 --out flat

The camera is an MJPEG stream from another process, the daemon a process of its own as systemd would
start it; both are measured from outside, in /proc. With --frames it runs until so many frames were
processed and reports whether memory grows, in `footprint/report.json` and `footprint.html`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cv2
import numpy as np
from soaking.samples import Sample, draw, growth
from soaking.stream_server import StreamServer

from edge_sim.core.types import Roi
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.synthetic.source import render
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

REGIONS = {
    "left": (0.10, 0.20, 0.40, 0.85),
    "middle": (0.34, 0.16, 0.67, 0.82),
    "right": (0.60, 0.20, 0.95, 0.90),
}
_WARM_UP_S = 10.0
_PORT_LINE = "port "


@dataclass(frozen=True)
class Usage:
    """Resources of a process since its start; memory now."""

    cpu_s: float
    rss_mb: float
    private_mb: float
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Row:
    """State at one moment: frames processed so far, monotonic seconds, the process."""

    frames: int
    at_s: float
    usage: Usage


def usage(pid: int) -> Usage:
    """Return the resources of a process; RSS includes shared libraries, private does not."""
    root = Path("/proc") / str(pid)
    fields = (root / "stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    rollup = dict(
        (line.split(":")[0], int(line.split()[1]))
        for line in (root / "smaps_rollup").read_text().splitlines()[1:]
    )
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / ticks,
        rss_mb=round(rollup["Rss"] * 1024 / 1e6, 2),
        private_mb=round((rollup["Private_Clean"] + rollup["Private_Dirty"]) * 1024 / 1e6, 2),
        threads=int(fields[17]),
        descriptors=len(list((root / "fd").iterdir())),
    )


def serve(size: tuple[int, int], fps: float) -> None:
    """Run the camera: print the port, and stream until standard input is closed."""
    rng = np.random.default_rng(1)
    clean = cv2.resize(render("parking", "free", 0), size, interpolation=cv2.INTER_AREA)
    pictures = []
    for _ in range(25):
        noisy = clean.astype(np.int16) + np.rint(rng.normal(0.0, 2.0, clean.shape))
        encoded = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8))[1]
        pictures.append(encoded.tobytes())
    server = StreamServer(pictures, fps)
    print(f"{_PORT_LINE}{server.port}", flush=True)
    sys.stdin.read()
    server.close()


def make_device(folder: Path, camera: int, health: int, references: int) -> Path:
    """Write gallery and configuration of three watches on the stream.

    Args:
        folder: Folder of the files.
        camera: Port of the stream.
        health: Port of the HTTP server of the daemon.
        references: Number of references, over all watches and states.
    """
    each = -(-references // len(REGIONS) // 2)
    embedder = open_embedder("default")
    rng = np.random.default_rng(2)
    with GalleryStore.open(folder / "gallery.db", create=True) as store:
        for watch, roi in REGIONS.items():
            for state in ("free", "taken"):
                shown = []
                for number in range(each):
                    pixels = render("parking", state, number % 5).astype(np.int16)
                    noisy = pixels + np.rint(rng.normal(0.0, 4.0, pixels.shape))
                    shown.append(
                        EnrolmentCandidate(
                            f"{state}{number}", np.clip(noisy, 0, 255).astype(np.uint8)
                        )
                    )
                plan = EnrolmentPlan(watch, state, region=Region(Roi(*roi)), force=True)
                enrol(store, embedder, shown, plan=plan)
    watches = "".join(f"  {name}: {{roi: {list(roi)}}}\n" for name, roi in REGIONS.items())
    path = folder / "config.yaml"
    path.write_text(
        f"sources: {{camera: {{uri: 'http://127.0.0.1:{camera}/stream.mjpg'}}}}\n"
        f"watches:\n{watches}sinks:\n  - {{kind: file, path: events.jsonl}}\n"
        f"web: {{listen: '127.0.0.1:{health}'}}\n"
    )
    return path


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def frames_looked_at(health: int) -> int:
    """Return the frames of the camera as the daemon reports them; 0 while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/state", timeout=10.0) as answer:
            return int(json.load(answer)["sources"]["camera"]["frames"])
    except OSError:
        return 0


def measure(pid: int, health: int, *, seconds: float | None, frames: int) -> list[Row]:
    """Sample the daemon for some time after warming up or until a number of frames."""
    wait = threading.Event().wait
    while frames_looked_at(health) == 0:
        wait(0.5)
    wait(_WARM_UP_S)
    rows = [Row(frames_looked_at(health), time.monotonic(), usage(pid))]
    until_s = float("inf") if seconds is None else rows[0].at_s + seconds
    every_s = 5.0 if seconds is None else max(seconds / 20.0, 1.0)
    while time.monotonic() < until_s and (seconds is not None or rows[-1].frames < frames):
        wait(every_s)
        rows.append(Row(frames_looked_at(health), time.monotonic(), usage(pid)))
    return rows


def report_of(rows: list[Row]) -> dict[str, Any]:
    """Return the figures of a run."""
    first, last = rows[0], rows[-1]
    took_s = last.at_s - first.at_s
    looked_at = last.frames - first.frames
    cpu_s = last.usage.cpu_s - first.usage.cpu_s
    samples = samples_of(rows)
    return {
        "seconds": round(took_s, 1),
        "frames": last.frames,
        "frames_per_s": round(looked_at / took_s, 2),
        "cpu_share": round(cpu_s / took_s, 4),
        "cpu_ms_per_frame": round(1000.0 * cpu_s / max(looked_at, 1), 3),
        "rss_mb_most": max(row.usage.rss_mb for row in rows),
        "rss_mb_growth_after_a_third": round(growth(samples, "rss_mb"), 3),
        "first": asdict(first.usage),
        "last": asdict(last.usage),
        "load": round(os.getloadavg()[0], 1),
    }


def samples_of(rows: list[Row]) -> list[Sample]:
    """Return the rows as samples of the plot."""
    return [
        Sample(
            row.frames,
            row.usage.rss_mb,
            row.usage.descriptors,
            row.usage.threads,
            row.usage.cpu_s,
        )
        for row in rows
    ]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Start camera and daemon, measure, end both, and return the report."""
    script = Path(__file__).resolve()
    camera = subprocess.Popen(
        [sys.executable, str(script), "--serve", f"{args.size}@{args.fps}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert camera.stdout is not None
    port = int(camera.stdout.readline().removeprefix(_PORT_LINE))
    health = free_port()
    config = make_device(args.out, port, health, args.references)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "edge_sim", "daemon", "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=(args.out / "daemon.log").open("wb"),
    )
    try:
        seconds = None if args.frames else args.seconds
        rows = measure(daemon.pid, health, seconds=seconds, frames=args.frames)
    finally:
        daemon.send_signal(signal.SIGTERM)
        code = daemon.wait(30.0)
        camera.kill()
        camera.wait()
    if code:
        raise SystemExit(f"the daemon ended with {code}; see {args.out / 'daemon.log'}")
    draw(samples_of(rows), args.out / "footprint.html", title=f"{args.size} at {args.fps:g} fps")
    return report_of(rows)


def main(argv: list[str] | None = None) -> int:
    """Measure and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="after warming up")
    parser.add_argument("--frames", type=int, default=0, help="run until so many instead")
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--references", type=int, default=30, help="of three watches, two states")
    parser.add_argument("--out", type=Path, default=Path("footprint"), help="a new folder")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        size, _, fps = args.serve.partition("@")
        width, _, height = size.partition("x")
        serve((int(width), int(height)), float(fps))
        return 0
    args.out.mkdir(parents=True)
    text = json.dumps(run(args), indent=2)
    (args.out / "report.json").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
