"""Events handed to a program on its standard input."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from threading import Lock
from typing import IO

import msgspec

from edge_sim.core.events import Event, StateChanged, WatchEvent, tag_of, to_json_line
from edge_sim.errors import ConfigError, EventRejectedError, SinkError
from edge_sim.io.sinks.options import CommandOptions

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Search path of a program without a slash, and its own `PATH`."""

REJECTED = os.EX_DATAERR
"""Exit code 65: the program will never take this event; any other code but 0 is tried again."""

_STDERR = 2
_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.05


class CommandSink:
    """Runs a program once per event, the event as one JSON line on its standard input.

    The arguments are passed as they are: no shell sees them. The program gets a small environment
    of its own, with nothing of this process in it: `PATH`, `LANG`, `EDGE_SIM_EVENT_TYPE`,
    `EDGE_SIM_EVENT_ID`, `EDGE_SIM_WATCH` unless the event is about a source, and for a state change
    `EDGE_SIM_BEFORE` (empty at the first decision) and `EDGE_SIM_AFTER`.
    What it prints goes to this process's standard error.

    Args:
        options: Program, with its full path, its arguments, and the time-out.
    """

    def __init__(self, options: CommandOptions) -> None:
        self._argv = options.argv
        self._timeout_s = options.timeout_s
        self._lock = Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    @classmethod
    def open(cls, options: CommandOptions) -> CommandSink:
        """Check that the program is there.

        Raises:
            ConfigError: There is no program, or it cannot be run.
        """
        argv = options.argv
        if not argv or not argv[0]:
            raise ConfigError("command: `argv` names no program")
        if any("\0" in argument for argument in argv):
            raise ConfigError("command: an argument holds a zero byte")
        program = shutil.which(argv[0], path=SEARCH_PATH)
        if program is None:
            raise ConfigError(
                f"command: there is no program {argv[0]!r} to run (in {SEARCH_PATH}); "
                "install it, or give its whole path"
            )
        return cls(msgspec.structs.replace(options, argv=(program, *argv[1:])))

    @property
    def name(self) -> str:
        """The program, and a digest of its arguments, which may be secret."""
        digest = hashlib.sha256("\0".join(self._argv).encode()).hexdigest()[:6]
        return f"command {self._argv[0]} ({digest})"

    def emit(self, event: Event) -> None:
        """Run the program and wait until it has ended.

        Raises:
            EventRejectedError: It exited with 65.
            SinkError: It could not be started, failed, took too long; or the sink was closed.
        """
        process = self._started(event)
        try:
            _hand_over(process, to_json_line(event), self._timeout_s)
        except subprocess.TimeoutExpired as error:
            raise SinkError(f"{self.name}: killed after {self._timeout_s:g} s") from error
        finally:
            self._finish(process)
        if self._closed and process.returncode:
            raise SinkError(f"{self.name}: cut off, the sink is closed")
        if process.returncode == REJECTED:
            raise EventRejectedError(f"{self.name}: rejected the event (exit code {REJECTED})")
        if process.returncode:
            raise SinkError(f"{self.name}: {_ending(process.returncode)}")

    def close(self) -> None:
        """Kill the program if it is running."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                _kill_group(self._running)

    def _started(self, event: Event) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise SinkError(f"{self.name}: the sink is closed")
            try:
                self._running = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.PIPE,
                    # Standard output may carry events of another sink.
                    stdout=_STDERR,
                    env=_environment(event),
                    start_new_session=True,
                )
            except OSError as error:
                raise SinkError(f"{self.name}: cannot be started ({error.strerror})") from error
            return self._running

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running = None
            # Also what it has started and left behind: its group lives on as long as one of them.
            _kill_group(process)
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        process.wait()


def _hand_over(process: subprocess.Popen[bytes], body: bytes, timeout_s: float) -> None:
    """Write `body` to the program and wait until it has ended, without reaping it.

    As long as it is not reaped, the number of its group cannot be given to another.

    Raises:
        subprocess.TimeoutExpired: It did not end in time.
    """
    until_s = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    pipe = process.stdin
    if pipe is not None:
        os.set_blocking(pipe.fileno(), False)
    while True:
        if pipe is not None:
            body = _written(pipe, body)
            if not body:
                pipe.close()
                pipe = None
        if _has_ended(process.pid):
            return
        left_s = until_s - time.monotonic()
        if left_s <= 0.0:
            raise subprocess.TimeoutExpired(process.args, timeout_s)
        time.sleep(min(pause_s, left_s))
        pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)


def _written(pipe: IO[bytes], body: bytes) -> bytes:
    """Return what the program has not taken yet; nothing if it takes no more."""
    try:
        return body[os.write(pipe.fileno(), body) :]
    except BlockingIOError:
        return body
    except BrokenPipeError:  # it does not read
        return b""


def _has_ended(pid: int) -> bool:
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, pid, flags) is not None


def _environment(event: Event) -> dict[str, str]:
    facts = {
        "PATH": SEARCH_PATH,
        "LANG": "C.UTF-8",
        "EDGE_SIM_EVENT_TYPE": tag_of(event),
        "EDGE_SIM_EVENT_ID": event.id,
    }
    if isinstance(event, StateChanged | WatchEvent):
        facts["EDGE_SIM_WATCH"] = event.watch
    if isinstance(event, StateChanged):
        facts |= {
            "EDGE_SIM_BEFORE": event.before or "",
            "EDGE_SIM_AFTER": event.after,
        }
    return facts


def _ending(code: int) -> str:
    if code > 0:
        return f"failed with exit code {code}"
    return f"ended by signal {signal.Signals(-code).name}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The program itself is not reaped yet, so the number still belongs to this group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
