"""Web server: uvicorn in a thread of the daemon, with an event loop of its own."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from edge_sim.core.backoff import pause_s
from edge_sim.errors import ConfigError
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.service import WebConfig, is_loopback
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.web.accounts import Accounts, accounts_path
from edge_sim.web.app import application
from edge_sim.web.connections import HANDSHAKE_S, MAX_CONNECTIONS, BoundedProtocol, ConnectionTable

logger = logging.getLogger(__name__)

_CLOSE_S = 2.0
_END_S = 0.3
_QUIET_S = 60.0
_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def open_server(config: Config, device: DeviceAccess) -> WebServer:
    """Return the running server of `config`.

    Raises:
        ConfigError: It cannot listen, or its certificate cannot be read.
    """
    server = WebServer(config, device)
    server.start()
    host, _ = config.web.address or ("", 0)
    scheme = "http" if config.web.certificate is None else "https"
    place = f"[{host}]" if ":" in host else host
    logger.info("the page is at %s://%s:%d/", scheme, place, server.port)
    return server


def tls_context(config: Config) -> ssl.SSLContext | None:
    """Return the TLS context of `config`; None without a certificate.

    Raises:
        ConfigError: The certificate or its key cannot be used.
    """
    web = config.web
    if web.certificate is None or web.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.path(web.certificate), config.path(web.key))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"web.certificate, web.key: cannot be used ({reason}); name PEM files that may be read "
            "and belong together"
        ) from error
    return context


def check_reach(config: Config) -> None:
    """Check that a server that can be reached from outside lets nobody in without an account.

    Raises:
        ConfigError: There is neither an account nor a token.
    """
    web = config.web
    if web.address is None or is_loopback(web.address[0]) or web.token is not None:
        return
    if not Accounts(accounts_path(config)).exist:
        raise ConfigError(
            f"web.listen: {web.address[0]} can be reached from outside; make an account with "
            "`edge-sim web passwd NAME -c CONFIG`, set web.token, or listen on 127.0.0.1"
        )


def listening_socket(web: WebConfig) -> socket.socket:
    """Return a socket that listens on the address of `web`.

    Raises:
        ConfigError: It cannot listen there.
    """
    address = web.address
    if address is None:
        raise ConfigError("web.listen: no address is configured")
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        listener = socket.create_server(address, family=family, backlog=MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        raise ConfigError(
            f"web.listen: cannot listen on {address[0]}:{address[1]} ({reason})"
        ) from error
    listener.setblocking(False)
    return listener


class WebServer:
    """Web server with a thread of its own, from `start` to `close`.

    Args:
        config: Configuration; port 0 takes a free one.
        device: Access to the daemon.

    Raises:
        ConfigError: The address cannot be used, or the certificate cannot be read.
    """

    def __init__(self, config: Config, device: DeviceAccess) -> None:
        check_reach(config)
        self._tls = tls_context(config)
        self._listener = listening_socket(config.web)
        self._config = config
        self._device = device
        self.fault = ""
        """Error while the server does not answer; empty otherwise. It restarts by itself."""
        self._closing = threading.Event()
        self._stop: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    @property
    def port(self) -> int:
        """Port of the socket."""
        return self._port

    def start(self) -> None:
        """Start answering."""
        self._port = int(self._listener.getsockname()[1])
        self._thread.start()

    def close(self) -> None:
        """Stop answering and close all connections. Safe to call twice."""
        with self._lock:
            self._closing.set()
            if self._stop is not None:
                self._stop()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)
        self._listener.close()

    def _serve(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                asyncio.run(self._answer())
            except Exception as error:  # noqa: PERF203 - the edge of the thread
                failures += 1
                self.fault = f"{type(error).__name__}: {error} (failure {failures})"
                logger.error(
                    "the web server broke and is started again: %s",
                    self.fault,
                    exc_info=None if isinstance(error, OSError) else error,
                )
                self._closing.wait(pause_s(failures))
                self.fault = ""

    async def _answer(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if self._closing.is_set():
                return
            self._stop = partial(loop.call_soon_threadsafe, stopped.set)
        try:
            server = AnsweringServer(application(self._device, self._config), self._tls)
            await server.run_until(stopped, self._listener.dup())
        finally:
            with self._lock:
                self._stop = None


class ConnectionFaults:
    """Log of errors of the event loop: a lack of descriptors, once a second, is one line a minute.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until_s = -1.0

    def note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of the loop."""
        error = context.get("exception")
        if not isinstance(error, OSError):
            loop.default_exception_handler(context)
        elif error.errno not in _OUT_OF_DESCRIPTORS:
            logger.debug("web: a connection broke off: %s", error)
        elif self._clock() >= self._quiet_until_s:
            self._quiet_until_s = self._clock() + _QUIET_S
            logger.error("web: no connection can be taken: %s", error.strerror)


class AnsweringServer:
    """Connections of uvicorn's HTTP protocol on one socket, in the present event loop.

    Args:
        app: ASGI application.
        tls: TLS context; None for plain HTTP.
    """

    def __init__(self, app: object, tls: ssl.SSLContext | None) -> None:
        self._config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=10,
        )
        self._config.load()
        # Below errors it writes a line for every start, and for every request that is none.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._tls = tls
        self._server = uvicorn.Server(self._config)
        self._table = ConnectionTable()

    async def run_until(self, stopped: asyncio.Event, listener: socket.socket) -> None:
        """Answer until `stopped` is set; then cut off all connections."""
        state = self._server.server_state
        lifespan = self._config.lifespan_class(self._config)
        await lifespan.startup()
        protocol = partial(BoundedProtocol, self._table, self._config, state)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(ConnectionFaults().note)
        handshake_s = None if self._tls is None else HANDSHAKE_S
        server = await loop.create_server(
            protocol,
            sock=listener,
            ssl=self._tls,
            ssl_handshake_timeout=handshake_s,
            backlog=MAX_CONNECTIONS,
        )
        try:
            while not stopped.is_set():
                self._table.close_late(loop.time())
                try:
                    await asyncio.wait_for(stopped.wait(), 1.0)
                except asyncio.TimeoutError:
                    continue
        finally:
            server.close()
            self._table.close_all()
            await self._end_requests()
            await lifespan.shutdown()

    async def _end_requests(self) -> None:
        """Wait for the requests whose connections are closed; cancel those that wait for more."""
        tasks = self._server.server_state.tasks
        if tasks:
            await asyncio.wait(tuple(tasks), timeout=_END_S)
        # Each that is cancelled would be logged as an error.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tuple(tasks), timeout=_END_S)
