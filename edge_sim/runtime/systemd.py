"""Notifications to systemd, and its unit file. A plain datagram; no package is needed.

Protocol: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_sim.errors import ConfigError

logger = logging.getLogger(__name__)

_SHARE_OF_WATCHDOG = 0.4
"""Share of the watchdog time between two notifications: systemd wants half of it or less."""


class Notifier:
    """Notifier of systemd; does nothing where systemd does not listen.

    Args:
        address: Value of `$NOTIFY_SOCKET`: a path, or `@name` in the abstract namespace; None
            without systemd.
        watchdog_s: Watchdog time, seconds; None without a watchdog.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        address: str | None = None,
        watchdog_s: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._clock = clock
        self._beat_s: float | None = None
        self._status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> Notifier:
        """Return the notifier that the variables of systemd configure."""
        watchdog_s = None
        usec = environ.get("WATCHDOG_USEC", "")
        is_meant = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        if is_meant and usec.isascii() and usec.isdecimal():
            watchdog_s = int(usec) / 1e6 or None
        return cls(environ.get("NOTIFY_SOCKET") or None, watchdog_s)

    @property
    def beat_every_s(self) -> float | None:
        """Interval between calls of `alive`, seconds; None without a watchdog."""
        return None if self._watchdog_s is None else _SHARE_OF_WATCHDOG * self._watchdog_s

    def ready(self) -> None:
        """Report that the service has started."""
        self._send("READY=1")

    def alive(self) -> None:
        """Report that the service is healthy; sent no more often than needed."""
        if self.beat_every_s is None:
            return
        now_s = self._clock()
        if self._beat_s is None or now_s - self._beat_s >= self.beat_every_s:
            self._beat_s = now_s
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows; sent when it changes."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def reloading(self) -> None:
        """Report that the configuration is read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock() * 1e6)}")

    def stopping(self) -> None:
        """Report that the service is about to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1.0)
                channel.sendto(message.encode(), address)
        except OSError as error:
            logger.warning("systemd was not notified of %r: %s", message.partition("\n")[0], error)


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """Values of the unit file of one installation.

    Args:
        program: Absolute path of `edge-sim`.
        config: Absolute path of the configuration.
        user: User of the service.
        devices: Device nodes besides cameras that the service may use, such as `/dev/dma_heap`.
        memory_max_mb: Memory above which the kernel ends the service, megabytes; systemd starts it
            again.
    """

    program: Path
    config: Path
    user: str = "edge_sim"
    devices: tuple[str, ...] = ()
    memory_max_mb: int = 400

    def __post_init__(self) -> None:
        for what, path in (("program", self.program), ("config", self.config)):
            if not path.is_absolute() or not re.fullmatch(r"[\w./@+:-]+", str(path)):
                raise ConfigError(
                    f"{what} {str(path)!r}: a unit needs an absolute path of letters, digits and "
                    f"._/@+:- only"
                )
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", self.user):
            raise ConfigError(f"{self.user!r} is no user name")
        for device in self.devices:
            if not re.fullmatch(r"/dev/[\w./-]+", device) or ".." in device:
                raise ConfigError(f"{device!r} is no device below /dev")


UNIT_NAME = "edge_sim.service"


def unit_text(plan: UnitPlan) -> str:
    """Return the unit file."""
    devices = "".join(f"DeviceAllow={device} rw\n" for device in plan.devices)
    return _UNIT.format(
        program=plan.program,
        config=plan.config,
        user=plan.user,
        devices=devices,
        memory=plan.memory_max_mb,
    )


def user_text(plan: UnitPlan) -> str:
    """Return the sysusers.d file that creates the user of the service."""
    return f'u {plan.user} - "edge_sim" /var/lib/edge_sim\n'


_UNIT = """\
[Unit]
Description=edge_sim: reports the state of what the cameras watch
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} daemon -c {config} --state-dir %S/edge_sim
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=60
# Until the first good picture; a camera that is missing for long is no reason to fail.
TimeoutStartSec=infinity
TimeoutStopSec=10
Restart=always
RestartSec=5
# A wrong configuration does not get better by starting again.
RestartPreventExitStatus=78
# Passwords of cameras and brokers, NAME=value a line, readable by root only. Optional.
EnvironmentFile=-/etc/edge_sim/secrets.env

User={user}
Group={user}
SupplementaryGroups=video
StateDirectory=edge_sim
StateDirectoryMode=0750
WorkingDirectory=%S/edge_sim
UMask=0027
Nice=10
MemoryMax={memory}M
TasksMax=64
LimitCORE=0

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=char-video4linux rw
{devices}ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
# Not ProcSubset=pid: the model's runtime reads /proc/cpuinfo to choose its kernels.
RemoveIPC=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
