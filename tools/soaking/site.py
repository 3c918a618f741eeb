"""A site under disturbance: broker, collectors and database are killed while devices report."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from edge_sim.fleet.embedded import EmbeddedServer
from edge_sim.io.sinks.options import MqttOptions
from soaking.simulated_devices import REPEAT_S, Crowd, SimulatedDevice
from soaking.site_broker import PREFIX, SiteBroker

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SITE = "yard"
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_S = 5.0
_SETTLED_S = 600.0
_DOWN_S = {"broker": (1.0, 5.0), "collector": (0.0, 10.0), "database": (0.0, 5.0)}


class Usage:
    """CPU time and memory of the parts, over all their processes."""

    def __init__(self) -> None:
        self._cpu_s: dict[tuple[str, int], float] = {}
        self.most_mb: dict[str, float] = {}

    def sample(self, part: str, pids: list[int]) -> None:
        """Note the processes of a part as they are now."""
        total_mb = 0.0
        for pid in pids:
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self._cpu_s[part, pid] = (int(fields[11]) + int(fields[12])) / _TICKS
                pages = Path(f"/proc/{pid}/statm").read_text().split()
                total_mb += (int(pages[1]) - int(pages[2])) * _PAGE_MB
                if part != "database" or pid == min(pids):
                    total_mb += int(pages[2]) * _PAGE_MB  # the server's processes share the rest
        self.most_mb[part] = max(self.most_mb.get(part, 0.0), total_mb)

    def cpu_s(self, part: str) -> float:
        """Return the CPU seconds of a part."""
        return sum(used for (name, _), used in self._cpu_s.items() if name == part)


class SiteTrial:
    """Broker, two collectors, a database, and devices that report.

    Args:
        folder: Folder for everything.
        devices: Number of devices.
        rate: Events a second, of all together.
        seed: Seed of everything random.
    """

    def __init__(self, folder: Path, devices: int, rate: float, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self.broker = SiteBroker(folder)
        self._server = EmbeddedServer(_servers_folder(folder))
        self._collectors: list[subprocess.Popen[bytes] | None] = [None, None]
        self._logs = [(folder / f"collector-{number}.log").open("ab") for number in (1, 2)]
        self._login = self.broker.options("collector")
        self.crowd = Crowd([self._device(f"device-{at:04}") for at in range(devices)], rate, seed)
        self.usage = Usage()
        self.kills = dict.fromkeys(_DOWN_S, 0)
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._next_sample_s = 0.0

    def _device(self, name: str) -> SimulatedDevice:
        return SimulatedDevice(MqttOptions(**self.broker.options(name), repeat_s=REPEAT_S))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run everything inside the block."""
        self.broker.start()
        self._server.start()
        try:
            for number in (0, 1):
                self._start_collector(number)
            yield
        finally:
            for process in self._collectors:
                if process is not None:
                    process.terminate()
                    process.wait(60)
            self.broker.kill(signal.SIGTERM)
            self._server.close()
            for log in self._logs:
                log.close()

    def run(self, minutes: float, every_s: float) -> dict[str, Any]:
        """Let the devices report, kill something every so many seconds, and return the report."""
        self._turn_until(lambda: self.crowd.up == len(self.crowd.devices), "devices to connect")
        self._turn_until(self._all_available, "collectors to hear of all devices")
        started_s, connects = time.monotonic(), self.crowd.connects
        self.crowd.is_reporting = True
        next_kill_s = started_s + every_s
        while time.monotonic() < started_s + 60.0 * minutes:
            self._turn()
            if every_s and time.monotonic() >= next_kill_s:
                next_kill_s += self._random.expovariate(1.0 / every_s)
                self._disturb()
        self.crowd.is_reporting = False
        took_s = time.monotonic() - started_s
        self._turn_until(lambda: not self._due and not self.crowd.unconfirmed, "confirmations")
        with contextlib.suppress(TimeoutError):
            self._turn_until(lambda: self._stored() >= len(self.crowd.sent), "the last events")
        settled_s = time.monotonic() - started_s - took_s
        return self._report(took_s, settled_s, self.crowd.connects - connects)

    def _report(self, took_s: float, settled_s: float, connects: int) -> dict[str, Any]:
        with psycopg.connect(self._server.address) as connection:
            rows = connection.execute(
                "SELECT id, extract(epoch FROM received_at - at)::float FROM edge_sim_events "
                "WHERE type = 'state_changed'"
            ).fetchall()
            others = connection.execute(
                "SELECT type, count(*) FROM edge_sim_events WHERE type <> 'state_changed' "
                "GROUP BY type"
            ).fetchall()
        ids = [row[0] for row in rows]
        lags = sorted(row[1] for row in rows)
        sent = set(self.crowd.sent)
        return {
            "devices": len(self.crowd.devices),
            "minutes": round(took_s / 60.0, 2),
            "sent": len(self.crowd.sent),
            "stored": len(ids),
            "lost": len(sent - set(ids)),
            "twice": len(ids) - len(set(ids)),
            "unknown": len(set(ids) - sent),
            "kills": self.kills,
            "connections_after_the_first": connects,
            "settled_s": round(settled_s, 1),
            "lag_s": {
                name: round(lags[int(share * (len(lags) - 1))], 3) if lags else None
                for name, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1.0))
            },
            "cpu_share_of_a_core": {
                part: round(self.usage.cpu_s(part) / took_s, 4) for part in self.usage.most_mb
            },
            "most_mb": {part: round(value, 1) for part, value in self.usage.most_mb.items()},
            "other_events": dict(others),
        }

    def _turn(self) -> None:
        self.crowd.turn()
        now_s = time.monotonic()
        for item in [item for item in self._due if item[0] <= now_s]:
            self._due.remove(item)
            item[1]()
        if now_s >= self._next_sample_s:
            self._next_sample_s = now_s + _SAMPLE_S
            self._sample()
            for number, process in enumerate(self._collectors):
                # One that finds no broker or database at its start ends: systemd starts it again.
                if process is not None and process.poll() is not None:
                    self._start_collector(number)

    def _turn_until(self, condition: Callable[[], bool], what: str) -> None:
        until_s, next_s = time.monotonic() + _SETTLED_S, 0.0
        while True:
            self._turn()
            if time.monotonic() < next_s:
                continue
            next_s = time.monotonic() + 0.5
            if condition():
                return
            if time.monotonic() > until_s:
                raise TimeoutError(f"waited {_SETTLED_S:g} s for {what}")

    def _all_available(self) -> bool:
        return self._count("SELECT count(*) FROM edge_sim_devices WHERE available") >= len(
            self.crowd.devices
        )

    def _stored(self) -> int:
        return self._count("SELECT count(*) FROM edge_sim_events WHERE type = 'state_changed'")

    def _count(self, statement: str) -> int:
        try:
            with psycopg.connect(self._server.address, connect_timeout=5) as connection:
                row = connection.execute(statement.encode()).fetchone()
        except psycopg.Error:
            return 0
        return 0 if row is None else int(row[0])

    def _sample(self) -> None:
        if self.broker.pid is not None:
            self.usage.sample("broker", [self.broker.pid])
        for number, process in enumerate(self._collectors, start=1):
            if process is not None:
                self.usage.sample(f"collector {number}", [process.pid])
        self.usage.sample("database", self._database_pids())
        self.usage.sample("devices", [os.getpid()])

    def _database_pids(self) -> list[int]:
        """Return the server and its children, the server first."""
        pid = self._database_pid()
        if pid is None:
            return []
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [pid, *map(int, children)]
        return [pid]

    def _database_pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            path = _servers_folder(self._folder) / "data/postmaster.pid"
            return int(path.read_text().splitlines()[0])
        return None

    def _disturb(self) -> None:
        """Kill one part that runs, and start it again after a while."""
        part = self._random.choice(list(_DOWN_S))
        self._sample()
        restart = getattr(self, f"_kill_{part}")()
        if restart is not None:
            self.kills[part] += 1
            self._due.append((time.monotonic() + self._random.uniform(*_DOWN_S[part]), restart))

    def _kill_broker(self) -> Callable[[], None] | None:
        if self.broker.pid is None:
            return None
        self.broker.kill()
        return self.broker.start

    def _kill_collector(self) -> Callable[[], None] | None:
        number = self._random.randrange(2)
        process = self._collectors[number]
        if process is None:
            return None
        process.kill()
        process.wait(60)
        self._collectors[number] = None
        return lambda: self._start_collector(number)

    def _kill_database(self) -> Callable[[], None] | None:
        pid = self._database_pid()
        if pid is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)  # all of its processes at once, without saving
        return self._server.start

    def _start_collector(self, number: int) -> None:
        login = self._login
        words = [
            "--host", login["host"], "--port", login["port"], "--tls", "--prefix", PREFIX,
            "--ca-file", login["ca_file"], "--cert-file", login["cert_file"],
            "--key-file", login["key_file"], "--client-id", f"collector-{number}",
        ]  # fmt: skip
        self._collectors[number] = subprocess.Popen(
            [sys.executable, "-m", "edge_sim", "collect", "run", *map(str, words)],
            cwd=REPOSITORY,
            env={**os.environ, "EDGE_SIM_DATABASE": self._server.address},
            stdout=self._logs[number],
            stderr=self._logs[number],
        )


def _servers_folder(folder: Path) -> Path:
    """Return the folder of the database: sockets have short names, and PostgreSQL refuses root."""
    link = folder / "database"
    if not link.is_symlink():
        made = Path(tempfile.mkdtemp(prefix="edge-sim-pg-"))
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(made, nobody.pw_uid, nobody.pw_gid)
        link.symlink_to(made)
    return link.resolve()


def run(
    folder: Path, *, devices: int, rate: float, minutes: float, every_s: float, seed: int
) -> dict[str, Any]:
    """Run a trial, write its report to `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    trial = SiteTrial(folder, devices, rate, seed)
    with trial.running():
        report = trial.run(minutes, every_s)
    (folder / "site.json").write_text(f"{json.dumps(report, indent=1)}\n")
    return report
