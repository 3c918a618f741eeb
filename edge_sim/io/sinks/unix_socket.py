"""Events streamed to every program that is connected to a Unix socket."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import selectors
import socket
import stat
from pathlib import Path
from threading import Lock, Thread

from edge_sim.core.events import Event, to_json_line
from edge_sim.errors import SinkError
from edge_sim.io.sinks.options import UnixSocketOptions

logger = logging.getLogger(__name__)

MAX_CLIENTS = 16
"""More are turned away; every client costs a descriptor and a send buffer."""

_BACKLOG = 16
_JOIN_S = 2.0
_DOOR_S = 5.0
_PROBE_S = 1.0
_WAKES = 4096


class UnixSocketSink:
    """Sends one JSON line per event to every client; with no client it goes nowhere.

    A stream remembers nothing: a client gets the events from its connection on. The kernel's send
    buffer (about 200 kB) is all that a slow client may be behind; beyond that it is dropped, so
    that it holds up neither the others nor the device. Clients only listen: one that sends
    anything is dropped too.

    Args:
        path: Path of the socket.
        server: Listening on it.
    """

    def __init__(self, path: Path, server: socket.socket) -> None:
        self._path = path
        self._server = server
        self._inode = path.stat().st_ino
        self._lock = Lock()
        self._clients: set[socket.socket] = set()
        self._unwatched: list[socket.socket] = []
        self._closed = False
        self._dropped = 0
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._thread = Thread(target=self._watch, name=f"unix_socket {path}", daemon=True)

    @classmethod
    def open(cls, options: UnixSocketOptions) -> UnixSocketSink:
        """Listen at the path; what a crashed process left there is replaced.

        Raises:
            SinkError: Another process serves there, or the path is no socket.
        """
        path = Path(options.path)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _clear(path)
            server.bind(str(path))
            path.chmod(int(options.mode, 8))  # before `listen`
            server.listen(_BACKLOG)
            server.setblocking(False)
            sink = cls(path, server)
        except OSError as error:
            server.close()
            reason = error if isinstance(error, SinkError) else error.strerror or error
            raise SinkError(f"unix_socket {path}: cannot listen ({reason})") from error
        sink._thread.start()
        return sink

    @property
    def name(self) -> str:
        """The path."""
        return f"unix_socket {self._path}"

    @property
    def clients(self) -> int:
        """Connected now."""
        with self._lock:
            return len(self._clients)

    @property
    def dropped_clients(self) -> int:
        """Clients cut off since the start: too slow, too many, or talking."""
        return self._dropped

    def emit(self, event: Event) -> None:
        """Send one line to everybody, without waiting for anybody.

        Raises:
            SinkError: The sink is closed.
        """
        line = to_json_line(event)
        with self._lock:
            if self._closed:
                raise SinkError(f"{self.name}: the sink is closed")
            self._accept_all()  # clients that connected before this event get it
            for client in tuple(self._clients):
                self._send(client, line)

    def close(self) -> None:
        """Disconnect everybody and remove the socket."""
        with self._lock:
            if self._closed:
                return
            # In this order: the thread closes both ends once it sees that the sink is closed.
            self._wake_in.send(b"\0")
            self._closed = True
        self._thread.join(_JOIN_S)

    def _send(self, client: socket.socket, line: bytes) -> None:
        try:
            is_whole = client.send(line) == len(line)
        except BlockingIOError:
            is_whole = False
        except OSError:
            self._forget(client)  # went away
            return
        if not is_whole:
            self._dropped += 1
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        """Cut a client off; the watching thread sees the end of its stream and closes it."""
        self._clients.discard(client)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _watch(self) -> None:
        """Let clients in and out until the sink is closed; the only user of the selector."""
        self._selector.register(self._server, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        while not self._closed:
            for key, _ in self._selector.select():
                if key.fileobj is self._server:
                    with self._lock:
                        is_served = self._accept_all()
                    if not is_served:  # asking again at once would be no use
                        select.select([self._wake_out], [], [], _DOOR_S)
                elif key.fileobj is self._wake_out:
                    self._wake_out.recv(_WAKES)
                elif isinstance(key.fileobj, socket.socket):
                    self._let_out(key.fileobj)
            self._watch_newcomers()
        self._release()

    def _accept_all(self) -> bool:
        """Let in all who wait, under the lock; return False if there is no descriptor for them."""
        while True:
            try:
                client, _ = self._server.accept()
            except ConnectionError:
                continue  # gone before it was let in
            except BlockingIOError:
                return True
            except OSError as error:
                logger.warning("%s: cannot let a client in (%s)", self.name, error.strerror)
                return False
            if len(self._clients) >= MAX_CLIENTS:
                self._dropped += 1
                client.close()
                continue
            client.setblocking(False)
            self._clients.add(client)
            self._unwatched.append(client)
            self._wake_in.send(b"\0")

    def _watch_newcomers(self) -> None:
        with self._lock:
            newcomers, self._unwatched = self._unwatched, []
        for client in newcomers:
            self._selector.register(client, selectors.EVENT_READ)

    def _let_out(self, client: socket.socket) -> None:
        try:
            is_talking = bool(client.recv(1))
        except BlockingIOError:
            return
        except OSError:
            is_talking = False
        with self._lock:
            self._dropped += is_talking
            self._clients.discard(client)
        self._selector.unregister(client)
        client.close()

    def _release(self) -> None:
        self._watch_newcomers()
        sockets = [key.fileobj for key in self._selector.get_map().values()]
        self._selector.close()
        for each in (*sockets, self._wake_in):
            if isinstance(each, socket.socket):
                each.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def _clear(path: Path) -> None:
    """Remove a socket without a listener."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise SinkError("something that is no socket is there; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SinkError("another process serves there")
