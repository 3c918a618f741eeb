"""Server of the page over all devices of a collection, in the foreground."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from edge_sim.fleet.queries import QueryEncoder
from edge_sim.runtime.config import Config
from edge_sim.web import fleet_api, login
from edge_sim.web.access_control import AccessControl
from edge_sim.web.accounts import Accounts, accounts_path
from edge_sim.web.app import cookie_of, on_error, on_http_error
from edge_sim.web.files import PageFiles
from edge_sim.web.fleet_api import CollectionPool, FleetContext
from edge_sim.web.server import AnsweringServer, check_reach, listening_socket, tls_context
from edge_sim.web.sessions import Sessions

FLEET_FOLDER = Path(__file__).resolve().parent / "fleet_pages"


def fleet_application(config: Config, pool: CollectionPool, encoder: QueryEncoder) -> Starlette:
    """Return the application; to be called in the thread of its event loop.

    Args:
        config: Configuration whose section `web` says how the page is reached, and by whom.
        pool: Collections.
        encoder: Model for queries.
    """
    files = PageFiles(others={"fleet": FLEET_FOLDER}, index=FLEET_FOLDER)
    accounts = Accounts(accounts_path(config))
    kept = accounts.path.with_name(f"{accounts.path.name}.sessions")
    sessions = Sessions(accounts, cookie_of(config), kept)
    app = Starlette(
        routes=[*login.routes(), *fleet_api.routes(), *files.routes()],
        middleware=[
            Middleware(
                AccessControl, config=config.web, sessions=sessions, public_paths=files.paths
            )
        ],
        exception_handlers={HTTPException: on_http_error, Exception: on_error},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.context = FleetContext(
        sessions=sessions, pool=pool, encoder=encoder, name=config.device
    )
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    context: FleetContext = app.state.context
    context.workers.close()
    context.pool.close()


class FleetServer:
    """Server of a collection; `run` it.

    Args:
        config: Configuration with a section `web`; port 0 takes a free one.
        pool: Collections.
        encoder: Model for queries.

    Raises:
        ConfigError: The address or the certificate cannot be used, or it can be reached from
            outside and nobody has an account.
    """

    def __init__(self, config: Config, pool: CollectionPool, encoder: QueryEncoder) -> None:
        check_reach(config)
        self._tls = tls_context(config)
        self._listener = listening_socket(config.web)
        self._config, self._pool, self._encoder = config, pool, encoder
        self._stopped: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def address(self) -> str:
        """Address of the page."""
        host, port = self._listener.getsockname()[:2]
        place = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{place}:{port}/"

    def run(self, *, with_signals: bool = True) -> None:
        """Answer until SIGTERM or SIGINT, or `stop` in another thread."""
        try:
            asyncio.run(self._answer(with_signals))
        finally:
            self._listener.close()

    def stop(self) -> None:
        """End `run`."""
        if self._stopped is not None:
            loop, stopped = self._stopped
            loop.call_soon_threadsafe(stopped.set)

    async def _answer(self, with_signals: bool) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stopped = loop, stopped
        if with_signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopped.set)
        app = fleet_application(self._config, self._pool, self._encoder)
        await AnsweringServer(app, self._tls).run_until(stopped, self._listener.dup())
