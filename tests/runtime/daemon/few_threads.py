"""Run a daemon of some lamps under a real limit of threads: few_threads.py CONFIG EXTRA.

A limit of tasks does not hold for root, so root gives itself another real user and drops the
capabilities that would lift the limit; it keeps the right to read files.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
import threading
from pathlib import Path

from edge_sim.cli.main import main
from edge_sim.core.types import Frame
from edge_sim.io.sources import register_source
from edge_sim.io.sources.options import SourceOptions
from tests.builders import flat_frame

UNUSED_USER = 61_234
_SYS_RESOURCE, _SYS_ADMIN = 24, 21
_VERSION_3 = 0x20080522
LIMIT_S = 20.0


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def give_up_exemption() -> None:
    """Make the limit of tasks hold for this process; it has one thread so far."""
    os.setresuid(UNUSED_USER, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    header, both = _Header(_VERSION_3, 0), (_Capabilities * 2)()
    if libc.capget(ctypes.byref(header), both):
        raise OSError(ctypes.get_errno(), "capget")
    for at in (_SYS_RESOURCE, _SYS_ADMIN):
        both[0].effective &= ~(1 << at)
        both[0].permitted &= ~(1 << at)
    if libc.capset(ctypes.byref(header), both):
        raise OSError(ctypes.get_errno(), "capset")


def tasks_of_user() -> int:
    """Return the number of threads of the real user of this process."""
    user, count = os.getuid(), 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if folder.stat().st_uid == user:
                    count += sum(1 for _ in (folder / "task").iterdir())
            except OSError:
                continue
    return count


class Camera:
    """Live source that gives five frames, and ends once a camera without a thread was reported."""

    def __init__(self, name: str, reported: threading.Event) -> None:
        self.name = name
        self._reported = reported
        self._given = 0

    def read(self) -> Frame | None:
        """Return the next frame; None at the end."""
        self._given += 1
        if self._given > 5:
            self._reported.wait(LIMIT_S)
            return None
        return flat_frame(100 + self._given, index=self._given)

    def close(self) -> None:
        """Release nothing."""


def run(config: str, extra: int) -> int:
    """Run `edge-sim daemon` until all cameras have ended; return its exit code."""
    reported = threading.Event()

    def opener(place: str, options: SourceOptions) -> Camera:
        return Camera(options.name or place, reported)

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "no thread can be started" in record.getMessage():
                reported.set()

    register_source("few", opener)
    logging.getLogger("edge_sim").addHandler(Listener())
    if os.getuid() == 0:
        give_up_exemption()
        present = 1
    else:
        present = tasks_of_user()
    resource.setrlimit(resource.RLIMIT_NPROC, (present + extra, present + extra))
    return main(["daemon", "-c", config])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], int(sys.argv[2])))
