"""A PostgreSQL of the tests' own, that can be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.fleet.embedded import EmbeddedServer
from tests.io.sinks.waiting import wait_until

if TYPE_CHECKING:
    from edge_sim.fleet.collection import SiteCollection


def own_folder() -> Path:
    """Return a new folder for a server; PostgreSQL refuses root, there it is of `nobody`."""
    # Sockets have short names, and other users may not enter the folders of pytest.
    folder = Path(tempfile.mkdtemp(prefix="edge-sim-pg-"))
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return folder


class Database:
    """An embedded server in a folder below /tmp."""

    def __init__(self) -> None:
        self.folder = own_folder()
        self._server = EmbeddedServer(self.folder)

    @property
    def address(self) -> str:
        return self._server.address

    def start(self) -> None:
        self._server.start()

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it; by default at once, as a power cut would: it recovers from its log."""
        lines = (self.folder / "data/postmaster.pid").read_text().splitlines()
        os.kill(int(lines[0]), number)
        wait_until(lambda: not Path("/proc", lines[0]).exists())

    def remove(self) -> None:
        self._server.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def forget_everything(opened: SiteCollection) -> None:
    """Delete what other tests have left."""
    run = opened._connection.execute
    names = ("events", "devices", "states", "pictures", "sites", "models")
    parts = run(
        "SELECT relname FROM pg_class WHERE relname ~ '^edge_sim_(vectors_[0-9]+|events_[0-9_]+)$' "
        "AND relkind = 'r'"
    ).fetchall()
    for (part,) in parts:
        run(f"DROP TABLE {part}".encode())
    run(f"TRUNCATE {', '.join(f'edge_sim_{name}' for name in names)}".encode())
    opened._connection.commit()
