"""Application of the web server: all routes behind the access control."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.web import (
    collection,
    corrections,
    gallery,
    history,
    live,
    login,
    monitoring,
    references,
    review,
    scores,
    settings,
    setup,
)
from edge_sim.web.access_control import AccessControl
from edge_sim.web.accounts import Accounts, accounts_path
from edge_sim.web.answers import error_response
from edge_sim.web.context import WebContext
from edge_sim.web.files import PageFiles
from edge_sim.web.sessions import Sessions
from edge_sim.web.stream import Broadcast

PARTS = (
    monitoring,
    login,
    live,
    collection,
    corrections,
    gallery,
    history,
    references,
    review,
    scores,
    settings,
    setup,
)
"""Modules with routes, each of which has a function `routes`."""


def application(device: DeviceAccess, config: Config) -> Starlette:
    """Return the application; to be called in the thread of its event loop.

    Args:
        device: Access to the daemon.
        config: Configuration of the server; that of the device may change later.
    """
    files = PageFiles()
    accounts = Accounts(accounts_path(config))
    kept = accounts.path.with_name(f"{accounts.path.name}.sessions")
    sessions = Sessions(accounts, cookie_of(config), kept)
    control = Middleware(
        AccessControl, config=config.web, sessions=sessions, public_paths=files.paths
    )
    app = Starlette(
        routes=all_routes(files),
        middleware=[control],
        exception_handlers={HTTPException: on_http_error, Exception: on_error},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.context = WebContext(
        device=device,
        sessions=sessions,
        broadcast=Broadcast(
            device, partial(live.watch_views, device), partial(live.device_view, device)
        ),
    )
    return app


def all_routes(files: PageFiles) -> list[BaseRoute]:
    """Return all routes: programs, API, and the files of the page."""
    return [*(item for part in PARTS for item in part.routes()), *files.routes()]


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    context: WebContext = app.state.context
    context.broadcast.close()
    context.workers.close()
    setup.previews_of(context).close_all()


async def on_http_error(request: Request, error: Exception) -> Response:
    """Return the answer to a request that a handler or the router rejects."""
    assert isinstance(error, HTTPException)
    text = error.detail if error.detail != "Not Found" else "not found"
    if request.scope["path"].startswith("/api/"):
        return error_response(error.status_code, text, error.headers)
    return PlainTextResponse(f"{text.lower()}\n", error.status_code, error.headers)


async def on_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Return the answer to a request whose handler broke."""
    return error_response(500, "internal error: the log of the device has it")


def cookie_of(config: Config) -> str:
    """Return the name of the cookie: devices on one host, which share cookies, have their own."""
    digest = hashlib.sha256(f"{config.device}\0{config.web.listen}".encode()).hexdigest()
    return f"edge_sim_{digest[:8]}"
