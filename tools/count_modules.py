"""Number of edge_sim modules that a frame passes, from the source's read to the sink's emit.

    PYTHONPATH=. python tools/count_modules.py           # run, Device.events and the daemon
    PYTHONPATH=. python tools/count_modules.py --list    # with their names

A drawn lamp is watched with the default model, no change gate and a file sink. Counted are the
modules whose code runs for one frame that gives one event, after the first event: nothing is
imported or opened then. A frame begins where a module of the sources calls `read`, and has passed
where `emit` of a sink returns. The daemon reads, decides and delivers in threads of its own: there
all that runs from one event's delivery to the next counts. Modules that draw the scene are counted
apart, since a camera does not need them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import yaml

import edge_sim
from edge_sim.cli.main import main as edge_sim_main
from edge_sim.io.sources.synthetic.source import reference_frames, scene_roi, scene_states

SCENE = "lamp"
CLIP = f"synthetic:{SCENE}?seed=1&frames=150&dwell_s=6&nuisances=noise"


@dataclass
class Passage:
    """Modules that run between a read and the events of its frame.

    Args:
        ends_at_emit: Whether a frame has passed when a sink has its event, or when the caller has.
    """

    ends_at_emit: bool
    frames: list[frozenset[str]] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)
    _at_emit: frozenset[str] | None = None
    _events: int = 0
    _inside: FrameType | None = None

    def watch(self, frame: FrameType, what: str, _argument: Any) -> None:
        """Take one call or return; for `sys.setprofile`."""
        if what not in ("call", "return"):
            return
        # Methods that dataclasses write for a class have the globals of its module, and no file.
        module = str(frame.f_globals.get("__name__"))
        if not module.startswith("edge_sim."):
            return
        name = frame.f_code.co_name
        if name == "read" and "sources" in module and self._is_outermost(frame, what):
            self._begin()
        self._running.add(module)
        if self.ends_at_emit and name == "emit" and "sinks" in module and what == "return":
            self.event()

    def event(self) -> None:
        """Note that an event of the frame has arrived."""
        self._events += 1
        self._at_emit = frozenset(self._running)

    def _is_outermost(self, frame: FrameType, what: str) -> bool:
        """Return whether a frame begins; a read that another read calls begins none."""
        if what == "return":
            if frame is self._inside:
                self._inside = None
            return False
        if self._inside is not None:
            return False
        self._inside = frame
        return True

    def _begin(self) -> None:
        if self._events == 1 and self._at_emit is not None:
            self.frames.append(self._at_emit)
        self._running, self._at_emit, self._events = set(), None, 0


def device(folder: Path) -> Path:
    """Write gallery and configuration and return the path of the latter."""
    roi = scene_roi(SCENE)
    content = {
        "sources": {"camera": {"uri": CLIP}},
        "watches": {SCENE: {"roi": [roi.x1, roi.y1, roi.x2, roi.y2], "gate": False}},
        "sinks": [{"kind": "file", "path": "events.jsonl"}],
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    for state in scene_states(SCENE):
        (folder / "pictures" / state).mkdir(parents=True)
        for frame in reference_frames(SCENE, state, 5):
            path = folder / "pictures" / state / f"{frame.index}.png"
            cv2.imwrite(str(path), frame.pixels)
    pictures = str(folder / "pictures")
    command("gallery", "import", "-c", str(config), "--watch", SCENE, "--force", pictures)
    return config


def command(*arguments: str) -> None:
    """Run a command of edge_sim without its output.

    Raises:
        RuntimeError: It failed.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = edge_sim_main(list(arguments))
    if code:
        raise RuntimeError(f"edge-sim {' '.join(arguments)}: exit code {code}")


@dataclass
class Stretch:
    """Modules that run, in any thread, from one event's arrival at a sink to the next one's."""

    frames: list[frozenset[str]] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)

    def watch(self, frame: FrameType, what: str, _argument: Any) -> None:
        """Take one call or return; for `sys.setprofile`."""
        module = str(frame.f_globals.get("__name__"))
        if what not in ("call", "return") or not module.startswith("edge_sim."):
            return
        self._running.add(module)
        if frame.f_code.co_name == "emit" and "sinks" in module and what == "return":
            self.frames.append(frozenset(self._running))
            self._running = set()


@contextlib.contextmanager
def profiled(passage: Passage | Stretch, *, threads: bool = False) -> Iterator[None]:
    """Report every call and return of this thread, or of all that begin, to `passage`."""
    sys.setprofile(passage.watch)
    threading.setprofile(passage.watch if threads else None)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def through_run(config: Path) -> Passage:
    """Play the configuration as `edge-sim run` does."""
    passage = Passage(ends_at_emit=True)
    with profiled(passage):
        command("run", "-c", str(config))
    return passage


def through_daemon(config: Path) -> Stretch:
    """Play the configuration as `edge-sim daemon` does; what the device does besides counts too."""
    stretch = Stretch()
    with profiled(stretch, threads=True):
        command("daemon", "-c", str(config))
    return stretch


def through_events(config: Path) -> Passage:
    """Play the configuration as a program that embeds edge_sim does."""
    passage = Passage(ends_at_emit=False)
    with edge_sim.build(edge_sim.load_config(config)) as watched, profiled(passage):
        for _ in watched.events():
            passage.event()
    return passage


WAYS: dict[str, Callable[[Path], Passage | Stretch]] = {
    "edge-sim run": through_run,
    "Device.events": through_events,
    "edge-sim daemon, from event to event, all threads": through_daemon,
}


def count(argv: Sequence[str] | None = None) -> int:
    """Print the number of modules of each way and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print the names of the modules")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        config = device(Path(folder))
        for way, play in WAYS.items():
            frames = play(config).frames[1:]
            if not frames:
                print(f"{way}: no frame gave one event", file=sys.stderr)
                return 1
            found = min(frames, key=len)
            drawing = {name for name in found if ".synthetic" in name}
            print(
                f"{way}: {len(found - drawing)} modules, and {len(drawing)} that draw the scene "
                f"({len(frames)} frames with one event: {min(map(len, frames))} to "
                f"{max(map(len, frames))})"
            )
            if args.list:
                print("\n".join(f"  {name}" for name in sorted(found)))
    return 0


if __name__ == "__main__":
    sys.exit(count())
