"""The load of a 1080p camera on loopback, 25 and 5 frames a second."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

from bench_figures import Effort
from edge_sim.analysis.benchmark import Figure
from edge_sim.analysis.camera_load import INTERVALS_S, measure_camera
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import Roi
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.synthetic.source import render
from edge_sim.vision.embedders import open_embedder

SECONDS = 8.0
REGION = Roi(1 / 3, 10 / 36, 2 / 3, 26 / 36)
"""640x480 in the middle."""
EVERY, EACH_SECOND = "all frames", "1 observation a second"
GOALS = {EVERY: 1.5, EACH_SECOND: 1.15}
RATES = {5: EVERY, 25: EACH_SECOND}


def measure(effort: Effort) -> Sequence[Figure]:
    """Return load in percent of a core, and its ratio to decoding alone.

    Raises:
        FileNotFoundError: ffmpeg is not installed.
        ImportError: PyAV is not installed.
    """
    if shutil.which("ffmpeg") is None:
        raise FileNotFoundError("needs ffmpeg; apt install ffmpeg")
    embedder = open_embedder("default")
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for rate, way in RATES.items():
            film = _film(Path(folder), rate)
            for decoder in ("opencv", "pyav"):
                found += _loads(effort, film, rate, way, decoder, embedder)
    return found


def _loads(
    effort: Effort, film: Path, rate: int, way: str, decoder: str, embedder: Embedder
) -> Sequence[Figure]:
    """Return the load of a camera, beside decoding its film and beside PyAV that reads it alone."""
    loads, beside_film, beside_alone = [], [], []
    for _ in range(max(effort.repeats, 1)):
        film_percent = rate * _decoding_ms(film) / 10.0
        with _served(film) as uri:
            load = measure_camera(
                uri,
                SourceOptions(name="bench", decoder=decoder),  # type: ignore[arg-type]
                embedder,
                roi=REGION,
                seconds=SECONDS,
                intervals_s={way: INTERVALS_S[way]},
            )[0].percent_of_core
        with _served(film) as uri:
            alone_percent = _alone_percent(uri)
        loads.append(load)
        beside_film.append(load / film_percent)
        beside_alone.append(load / alone_percent)
    name, goal = f"1080p, {rate} frames/s, {way}, {decoder}", GOALS[way]
    return [
        Figure(name, round(statistics.median(loads), 2), "% of a core"),
        Figure(
            f"{name} / decoding the file", round(statistics.median(beside_film), 3), "ratio", goal
        ),
        Figure(
            f"{name} / PyAV alone on the camera",
            round(statistics.median(beside_alone), 3),
            "ratio",
            goal,
        ),
    ]


def _alone_percent(uri: str) -> float:
    """Return the load of PyAV that reads and decodes a camera, percent of a core."""
    command = [sys.executable, "-m", "bench_figures.alone", uri, str(SECONDS)]
    where = Path(__file__).parent.parent
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=where)
    return float(done.stdout)


def _film(folder: Path, rate: int) -> Path:
    """Write a still drawn scene with noise as H.264, a key frame every four seconds."""
    picture, path = folder / "scene.png", folder / f"{rate}.ts"
    still = cv2.resize(render("parking", "free"), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(picture), still)
    command = ["ffmpeg", "-v", "error", "-loop", "1", "-framerate", str(rate), "-i", str(picture)]
    command += ["-vf", "noise=alls=4:allf=t", "-t", "20", "-c:v", "libx264", "-preset", "fast"]
    command += ["-crf", "27", "-g", str(4 * rate), "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True)
    return path


def _decoding_ms(film: Path) -> float:
    """Return the processor time of decoding one frame by PyAV, without a conversion."""
    import av

    started_s, frames = time.process_time(), 0
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            frames += 1
    return 1000.0 * (time.process_time() - started_s) / frames


@contextmanager
def _served(film: Path) -> Iterator[str]:
    """Serve a film at its own pace, again and again, by a process of its own."""
    uri = f"http://127.0.0.1:{_free_port()}/film.ts"
    command = ["ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", str(film), "-c", "copy"]
    server = subprocess.Popen([*command, "-f", "mpegts", "-listen", "1", uri])
    try:
        time.sleep(1.0)
        yield uri
    finally:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
