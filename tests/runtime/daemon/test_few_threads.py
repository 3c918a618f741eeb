"""Under a real limit of threads the cameras that fit run, and the others are reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_sim.core.events import SourceLost, SourceRestored, from_json_line
from tests.conftest import REPOSITORY
from tests.devices import make_gallery

CAMERAS = 6


def played(folder: Path, threads: int) -> subprocess.CompletedProcess[str]:
    """Run the daemon over six cameras with at most so many more threads than its first."""
    names = [f"c{number}" for number in range(CAMERAS)]
    make_gallery(folder / "gallery.db", "lamp", watch="w0")
    config = folder / "config.yaml"
    config.write_text(
        "model: {path: thumbnail}\nsources:\n"
        + "".join(f"  {name}: {{uri: 'few:{name}'}}\n" for name in names)
        + "watches:\n"
        + "".join(f"  w{at}: {{source: {name}}}\n" for at, name in enumerate(names))
        + "sinks:\n  - {kind: file, path: events.jsonl}\n"
    )
    command = [sys.executable, "-m", "tests.runtime.daemon.few_threads", str(config), str(threads)]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_cameras_that_fit_run_and_the_others_follow(tmp_path: Path) -> None:
    done = played(tmp_path, 4)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    events = [from_json_line(line) for line in lines]
    lost = [event for event in events if isinstance(event, SourceLost)]
    without = {event.source for event in lost if "no thread can be started" in event.error}
    assert 1 <= len(without) < CAMERAS
    assert all("raise the limit of" in event.error for event in lost if event.source in without)
    restored = {event.source for event in events if isinstance(event, SourceRestored)}
    assert without <= restored, "they run once another camera has ended"


def test_a_limit_without_any_thread_is_one_line(tmp_path: Path) -> None:
    done = played(tmp_path, 0)
    assert done.returncode == 1, done.stderr
    assert "no thread can be started: raise the limit of tasks" in done.stderr
    assert "Traceback" not in done.stderr
