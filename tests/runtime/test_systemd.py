"""What systemd hears, and the unit that it is given."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_sim.runtime.systemd import Notifier, UnitPlan, unit_text

PLAN = UnitPlan(Path("/usr/bin/true"), Path("/etc/edge_sim/config.yaml"), user="root")


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5.0)
        yield made


def heard(inbox: socket.socket) -> list[str]:
    inbox.setblocking(False)
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(inbox.recv(4096).decode())
    return found


def test_every_message_is_as_the_protocol_says(inbox: socket.socket) -> None:
    notifier = Notifier(inbox.getsockname(), 60.0, clock=Time())
    notifier.status("lamp on")
    notifier.status("lamp\non")
    notifier.ready()
    notifier.alive()
    notifier.reloading()
    notifier.stopping()
    assert heard(inbox) == [
        "STATUS=lamp on",
        "READY=1",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=100000000",
        "STOPPING=1",
    ]


def test_beats_come_sooner_than_half_the_watchdog_time_and_no_more_often(
    inbox: socket.socket,
) -> None:
    time = Time()
    notifier = Notifier(inbox.getsockname(), 60.0, clock=time)
    for _ in range(60):
        notifier.alive()
        time.now_s += 1.0
    assert heard(inbox) == ["WATCHDOG=1"] * 3


def test_an_abstract_address_works() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind("\0edge_sim-test-notify")
        Notifier("@edge_sim-test-notify").ready()
        assert heard(inbox) == ["READY=1"]


def test_without_systemd_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier()
    notifier.ready()
    notifier.alive()
    assert notifier.beat_every_s is None
    assert caplog.text == ""


def test_a_systemd_that_went_away_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(str(tmp_path / "gone")).ready()
    assert "systemd was not notified of 'READY=1'" in caplog.text


@pytest.mark.parametrize(
    ("environ", "beat_every_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 24.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 24.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(
    environ: dict[str, str], beat_every_s: float | None
) -> None:
    assert Notifier.from_environment(environ, 7).beat_every_s == beat_every_s


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert "RestartPreventExitStatus=78" in unit_text(PLAN)


def analyze(*arguments: str, unit: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit.write_text(unit_text(PLAN))
    return subprocess.run(
        [program, *arguments, str(unit)], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if not Path("/bin/kill").exists():  # it has to be where the unit says; verify looks
        pytest.skip("procps is not installed")
    done = analyze("verify", "--man=no", unit=tmp_path / "edge_sim.service")
    if "Failed to" in done.stderr and "edge_sim.service" not in done.stderr:
        pytest.skip(f"systemd-analyze cannot run here: {done.stderr.splitlines()[0]}")
    assert [line for line in done.stderr.splitlines() if "edge_sim.service" in line] == []
    assert done.returncode == 0


def test_the_unit_is_well_sandboxed(tmp_path: Path) -> None:
    done = analyze(
        "security", "--offline=yes", "--threshold=25", unit=tmp_path / "edge_sim.service"
    )
    if "unrecognized option" in done.stderr or "Failed to" in done.stderr:
        pytest.skip(f"systemd-analyze cannot judge here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stdout[-300:]
