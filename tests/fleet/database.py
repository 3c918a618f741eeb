"""A PostgreSQL of the test's own, that can be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

SEARCH_PATH = os.pathsep.join(
    [
        os.environ.get("PATH", ""),
        *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
    ]
)


class Database:
    """A cluster in a folder below /tmp, reached by a socket in it alone.

    PostgreSQL refuses root: there it runs as the user `nobody`.
    """

    def __init__(self) -> None:
        self._initdb, self._postgres, self._ready = (
            shutil.which(name, path=SEARCH_PATH) for name in ("initdb", "postgres", "pg_isready")
        )
        if not (self._initdb and self._postgres and self._ready):
            pytest.skip("there is no PostgreSQL here: apt-get install postgresql")
        # Sockets have short names, and other users may not enter the folders of pytest.
        self.folder = Path(tempfile.mkdtemp(prefix="edge-sim-pg-"))
        self._user: dict[str, object] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.data = self.folder / "data"
        subprocess.run(
            [self._initdb, "-D", self.data, "-U", "edge", "-A", "trust", "-E", "UTF8", "-N"],
            check=True, capture_output=True, cwd="/", **self._user,
        )  # type: ignore[call-overload]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"host={self.folder} user=edge dbname=postgres"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(self._postgres), "-D", self.data, "-k", self.folder, "-c", "listen_addresses="],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self._user,
        )  # type: ignore[call-overload]  # fmt: skip
        for _ in range(200):
            done = subprocess.run(
                [str(self._ready), "-h", self.folder, "-t", "1"], capture_output=True, check=False
            )
            if done.returncode == 0:
                return
            try:
                self._process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        pytest.fail("PostgreSQL did not start")

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it; by default at once, as a power cut would: it recovers from its log."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
        self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
