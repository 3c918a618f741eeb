"""Program: take a pack again and again, and be killed one step later each time.

A step is an operation on a file below the folder of the device, or a statement of its gallery.
After each kill the device must be as it was or have the whole pack, and end with it at the next
start. Prints the number of steps that were tried.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_sim.core.events import Event, from_json_line, to_json_line
from edge_sim.fleet import updater
from edge_sim.fleet.installed import standings
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.daemon.teaching import Flip
from edge_sim.runtime.health.status import StatusBoard
from tests.fleet.depot import EMBEDDER, states_of
from tests.fleet.test_updater import AFTER, BEFORE, Fleet

_OPERATIONS = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link",
     "shutil.rmtree", "sqlite3.connect"}
)  # fmt: skip


class Access:
    """The daemon's side: events go to a file, as to an outbox."""

    def __init__(self, path: Path) -> None:
        self.board = StatusBoard("porch")
        self._path = path

    def report(self, event: Event) -> None:
        with self._path.open("ab") as file:
            file.write(to_json_line(event))

    def recent_pictures(self, watch: str) -> int:
        return 0

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        return ()


class KillSwitch:
    """Counts steps below a folder, and kills the process before one of them."""

    def __init__(self, folder: Path, at: int) -> None:
        self._folder = str(folder)
        self._left = at
        sys.addaudithook(self._heard)
        connect = sqlite3.connect

        def watched(*values: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*values, **options)
            connection.set_trace_callback(lambda _statement: self._step())
            return connection

        vars(sqlite3)["connect"] = watched

    def _heard(self, name: str, values: tuple[Any, ...]) -> None:
        if name in _OPERATIONS and any(self._is_below(value) for value in values):
            self._step()

    def _is_below(self, value: object) -> bool:
        return isinstance(value, str | bytes | Path) and os.fsdecode(value).startswith(self._folder)

    def _step(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


@contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    """Give a copy of the device's folder."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    yield copy
    shutil.rmtree(copy)


def turn(fleet: Fleet, folder: Path, kill_at: int | None) -> int:
    """Let a process take its turn; return its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    config = fleet.config(every_s=1.0)
    made = updater.Updater(
        config, Access(folder / "events.jsonl"), clock=fleet.clock, monotonic=fleet.clock,
        spread=lambda: 0.0,
    )  # fmt: skip
    if kill_at is not None:
        KillSwitch(folder, kill_at)
    made.turn()
    os._exit(0 if made._failures == 0 else 1)


def check(fleet: Fleet, folder: Path) -> None:
    """Check that the device has the old gallery or the new one, and at last the new one."""
    found = states_of(folder / "gallery.db")  # checks the file as well
    assert found in (BEFORE, AFTER), found
    assert turn(fleet, folder, None) == 0
    assert states_of(folder / "gallery.db") == AFTER
    with GalleryStore.open(folder / "gallery.db", read_only=True) as store:
        assert [item.verb for item in store.log()].count("pack") == 1
    policy = updater.policy_of(fleet.config(), None)
    assert [(item.version, item.outcome) for item in standings(policy)] == [(1, "activated")]
    assert not list(folder.glob(".*")), list(folder.glob(".*"))
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    assert len({from_json_line(line).id for line in lines}) == 1, lines


def main(base: Path, every: int) -> int:
    """Try every step of that number; return how many were tried."""
    vars(updater)["open_model"] = lambda _config: EMBEDDER
    fleet = Fleet(base)
    device = base / "device"
    device.mkdir()
    (base / "gallery.db").rename(device / "gallery.db")
    step = tried = 0
    while True:
        with copy_of(device) as folder:
            fleet.base = folder
            status = turn(fleet, folder, step)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                return tried
            assert os.WTERMSIG(status) == signal.SIGKILL
            check(fleet, folder)
        tried, step = tried + 1, step + every


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), int(sys.argv[2]))}\n")
