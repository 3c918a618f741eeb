"""Run the command of the installed unit under its restrictions, where systemd itself cannot run.

`sudo python tools/packaging/try_service.py` after `edge-sim install-service`: bubblewrap takes the
place of systemd, with the file system read-only but for the state folder, without home folders,
temporary files and devices, as the user of the service without a capability. It waits for READY=1,
asks for a reload, stops the service, and prints what it heard. System call filters and memory
limits are left to `systemd-analyze security`.
"""

from __future__ import annotations

import argparse
import configparser
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

UNIT = Path("/etc/systemd/system/edge_sim.service")
STATE = Path("/var/lib/edge_sim")
WAIT_S = 60.0


def main() -> int:
    """Run the unit's command; return 0 if it became ready, reloaded and ended well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unit", type=Path, default=UNIT)
    unit = parser.parse_args().unit
    service = read_service(unit)
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        address = Path(folder, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
            inbox.bind(str(address))
            inbox.settimeout(WAIT_S)
            address.chmod(0o666)
            Path(folder).chmod(0o755)
            return run(sandboxed(service, address), inbox)


def read_service(unit: Path) -> dict[str, str]:
    """Return the last value of each key of the section [Service]."""
    reader = configparser.ConfigParser(strict=False, interpolation=None)
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string(unit.read_text())
    return dict(reader["Service"])


def sandboxed(service: dict[str, str], address: Path) -> list[str]:
    """Return the command of a unit inside bubblewrap."""
    hidden = ("/home", "/root", "/tmp", "/var/tmp")
    masks = [word for folder in hidden for word in ("--tmpfs", folder)]
    return [
        "bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *masks,
        "--bind", str(STATE), str(STATE), "--chdir", str(STATE), "--unshare-ipc", "--unshare-uts",
        "--clearenv", "--setenv", "PATH", "/usr/bin:/bin",
        "--setenv", "NOTIFY_SOCKET", str(address), "--die-with-parent",
        "setpriv", f"--reuid={service['User']}", f"--regid={service['Group']}", "--clear-groups",
        "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all",
        *shlex.split(service["ExecStart"].replace("%S", "/var/lib")),
    ]  # fmt: skip


def run(command: list[str], inbox: socket.socket) -> int:
    """Run the service until it was ready twice, and stop it; return the exit code."""
    started = subprocess.Popen(command)
    try:
        await_message(inbox, "READY=1")
        daemon = child_of(started.pid)
        os.kill(daemon, signal.SIGHUP)
        await_message(inbox, "RELOADING=1")
        await_message(inbox, "READY=1")
        os.kill(daemon, signal.SIGTERM)
        code = started.wait(timeout=WAIT_S)
    except TimeoutError:
        print("it did not become ready", file=sys.stderr)
        code = 1
    finally:
        started.kill()
    print(f"exit code {code}")
    return code


def await_message(inbox: socket.socket, start: str) -> None:
    """Print what the service reports until a message begins with `start`."""
    while True:
        message = inbox.recv(4096).decode()
        print(f"notified: {message!r}", flush=True)
        if message.startswith(start):
            return


def child_of(pid: int) -> int:
    """Return the process that runs the service: the last in the chain of children."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid


if __name__ == "__main__":
    sys.exit(main())
