"""Starts a daemon, kills it at a random instant, and starts it again, many times over.

Run as `python -m tests.runtime.daemon.killed FOLDER ROUNDS SEED`. One process imports everything
and forks a child per round: a round then takes a quarter of a second instead of two.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from edge_sim.core.types import Frame
from edge_sim.runtime.assembly import Environment
from edge_sim.runtime.config import Config, load_config
from edge_sim.runtime.daemon.daemon import Daemon
from tests.runtime.daemon.cameras import pictures

_FRAMES_PER_STATE = 4
_LIMIT_S = 10.0


class Flicker:
    """A lamp that changes all the time, as fast as it is looked at; ends after `frames`."""

    name = "camera"

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._index = 0

    def read(self) -> Frame | None:
        if self._index >= self._frames:
            return None
        index = self._index
        self._index += 1
        state = ("on", "off")[index // _FRAMES_PER_STATE % 2]
        frame = pictures(state)[index % 5]
        return replace(frame, index=index, captured_at_s=time.monotonic(), unix_time_s=time.time())

    def close(self) -> None:
        return


def run(config: Config, log: Path, told: int, *, frames: int) -> None:
    """Run the daemon until the frames end; log the id of every event that counts as emitted.

    Args:
        told: Descriptor that gets a byte for every event.
    """
    world = Environment(open_source=lambda config, name: Flicker(frames), is_live=lambda uri: False)
    daemon = Daemon(config, reload=lambda: config, environment=world)
    scribe = threading.Thread(target=_log_events, args=(daemon, log, told), daemon=True)
    scribe.start()
    daemon.run()


def _log_events(daemon: Daemon, log: Path, told: int) -> None:
    number = 0
    with log.open("ab", buffering=0) as stream:
        while (found := daemon.board.events_after(number, 1.0)) is not None:
            for _, event in found:
                stream.write(event.id.encode() + b"\n")
                os.write(told, b".")
            number = found[-1][0] if found else number


def main(folder: Path, rounds: int, seed: int) -> None:
    """Kill `rounds` children, and let a last one end."""
    config = load_config(folder / "config.yaml")
    for state in ("on", "off"):
        pictures(state)
    rng = random.Random(seed)
    log = folder / "emitted.log"
    for _ in range(rounds):
        hears, told = os.pipe()
        child = os.fork()
        if child == 0:
            run(config, log, told, frames=10**6)
            os._exit(1)
        if rng.random() < 0.8:  # else while it starts
            select.select([hears], [], [], _LIMIT_S)
        threading.Event().wait(rng.uniform(0.0, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(hears)
        os.close(told)
    run(config, log, os.open(os.devnull, os.O_WRONLY), frames=40)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
