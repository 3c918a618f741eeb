"""The daemon as a process: signals, systemd, and an end that nobody announced."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sim.cli.daemon import _note_reloads, configured
from edge_sim.core.events import StateChanged, from_json_line
from edge_sim.errors import ConfigError
from tests.runtime.daemon.cameras import LIMIT_S, device, lamp_config

REPOSITORY = Path(__file__).resolve().parent.parent.parent.parent


def endless(folder: Path) -> Path:
    """The configuration of a lamp whose clip does not end while a test lasts."""
    text, gallery = device()
    (folder / "gallery.db").write_bytes(gallery)
    config = folder / "config.yaml"
    config.write_text(text.replace("frames=120", "frames=100000"))
    return config


class Started:
    """`edge-sim daemon` with systemd's socket, as the test plays it."""

    def __init__(self, config: Path, inbox: socket.socket) -> None:
        self.inbox = inbox
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_sim", "daemon", "-c", str(config)],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "NOTIFY_SOCKET": inbox.getsockname(),
                "WATCHDOG_USEC": "1000000",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def await_message(self, message: str) -> None:
        while True:
            if self.inbox.recv(4096).decode().startswith(message):
                return

    def end(self) -> tuple[list[str], str]:
        out, err = self.process.communicate(timeout=LIMIT_S)
        return out.decode().splitlines(), err.decode()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(tmp_path / "notify"))
        inbox.settimeout(LIMIT_S)
        running = Started(endless(tmp_path), inbox)
        yield running
        running.process.kill()
        running.process.communicate()


def test_sigterm_ends_it_within_two_seconds(started: Started, tmp_path: Path) -> None:
    started.await_message("READY=1")
    started.await_message("WATCHDOG=1")
    assert started.process.stdout is not None
    first = json.loads(started.process.stdout.readline())
    assert first["before"] is None
    asked_s = time.monotonic()
    started.process.send_signal(signal.SIGTERM)
    started.process.wait(timeout=2.0)
    assert time.monotonic() - asked_s < 2.0
    _, err = started.end()
    assert started.process.returncode == 0
    assert "Traceback" not in err
    started.await_message("STOPPING=1")
    assert json.loads((tmp_path / "state.json").read_text())["watches"]["lamp"]["state"]


def test_sighup_refuses_nonsense_and_takes_what_makes_sense(
    started: Started, tmp_path: Path
) -> None:
    started.await_message("READY=1")
    config = tmp_path / "config.yaml"
    good = config.read_text()
    config.write_text(good + "wtches: {}\n")
    started.process.send_signal(signal.SIGHUP)
    started.await_message("RELOADING=1")
    started.await_message("READY=1")
    config.write_text(good + "sinks:\n  - {kind: file, path: events.jsonl}\n")
    started.process.send_signal(signal.SIGHUP)
    started.await_message("RELOADING=1")
    started.await_message("READY=1")
    started.process.send_signal(signal.SIGTERM)
    _, err = started.end()
    assert started.process.returncode == 0
    assert "config.yaml:6: unknown key 'wtches'" in err
    assert "is in force" in err
    assert (tmp_path / "events.jsonl").exists()


def test_a_sighup_while_it_starts_is_not_its_end() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        noted = _note_reloads()
        os.kill(os.getpid(), signal.SIGHUP)
        assert noted == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_wrong_configuration_is_exit_code_78_so_that_systemd_does_not_try_again(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("devise: x\n")
    done = subprocess.run(
        [sys.executable, "-m", "edge_sim", "daemon", "-c", str(config)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert "did you mean 'device'?" in done.stderr


@pytest.mark.parametrize(
    ("kills", "limit_s"), [(24, 3 * LIMIT_S), pytest.param(500, 3600.0, marks=pytest.mark.slow)]
)
def test_no_event_is_lost_or_told_twice_however_often_it_is_killed(
    tmp_path: Path, kills: int, limit_s: float
) -> None:
    lamp_config(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.daemon.killed", str(tmp_path), str(kills), "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
    )
    assert done.returncode == 0, done.stderr
    delivered = deliveries(tmp_path)
    emitted = (tmp_path / "emitted.log").read_text().split()
    assert len(emitted) >= kills // 2
    assert set(emitted) <= delivered.keys()
    said = None
    for event in delivered.values():
        assert event.before == said
        said = event.after
    remembered = json.loads((tmp_path / "state.json").read_text())
    assert remembered["watches"]["lamp"]["state"] == said


def deliveries(folder: Path) -> dict[str, StateChanged]:
    """Return the delivered events by id, in order; one id never stands for two events."""
    delivered: dict[str, StateChanged] = {}
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        try:
            event = from_json_line(line)
        except ValueError:
            continue  # cut short by a kill; the event comes again, whole
        assert isinstance(event, StateChanged)
        assert delivered.setdefault(event.id, event) == event
    return delivered


def test_a_state_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    config, missing = endless(tmp_path), tmp_path / "missing"
    with pytest.raises(ConfigError) as caught:
        configured(config, missing)
    assert str(caught.value) == f"--state-dir {missing}: there is no such folder; make it first"
    missing.mkdir()
    assert configured(config, missing).daemon.state == str(missing / "state.json")
