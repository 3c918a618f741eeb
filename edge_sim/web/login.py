"""API of the login: session, login and logout."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.version import __version__
from edge_sim.web.answers import ApiRequest, JsonResponse, route
from edge_sim.web.callers import Caller, Role
from edge_sim.web.limits import AddressLimits, RateLimit
from edge_sim.web.sessions import LASTS_S

ATTEMPTS = 5.0
"""Attempts of one address that are answered at once; then one in ten seconds."""
ATTEMPTS_PER_S = 0.1
ALL_ATTEMPTS = 30.0
"""Attempts of all addresses together; then one a second."""


class LoginLimits:
    """Limits of the attempts to log in, by address and for all of them."""

    def __init__(self) -> None:
        self._each = AddressLimits(ATTEMPTS_PER_S, ATTEMPTS)
        self._all = RateLimit(1.0, ALL_ATTEMPTS)

    def take(self, address: str) -> bool:
        """Take one attempt; return whether it may be made now."""
        return self._each.take(address) and self._all.take()


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/session", session, role=Role.NOBODY),
        route("/api/login", login, method="POST", role=Role.NOBODY, max_bytes=8192),
        route("/api/logout", logout, method="POST", role=Role.VIEWER),
    ]


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST api/login`."""

    user: str
    password: str


async def session(asked: ApiRequest) -> dict[str, Any]:
    """Return who the caller is."""
    return session_view(asked, asked.caller)


def session_view(asked: ApiRequest, caller: Caller) -> dict[str, Any]:
    """Return the session of a caller; who is nobody learns the version of nothing."""
    is_nobody = caller.role is Role.NOBODY
    return {
        "user": caller.user,
        "role": caller.role.name.lower(),
        "csrf": caller.csrf,
        "needs_login": is_nobody,
        "has_accounts": asked.context.sessions.needed,
        "version": None if is_nobody else __version__,
        **({"device": None, "collection": False} if is_nobody else asked.context.described),
    }


async def login(asked: ApiRequest) -> Response:
    """Open a session for name and password."""
    context, request = asked.context, asked.read(LoginRequest)
    limits: LoginLimits = context.shared.setdefault("logins", LoginLimits())
    if not limits.take(asked.caller.address):
        raise HTTPException(429, "too many attempts: wait a minute")
    accounts = context.sessions.accounts
    if not accounts.exist:
        raise HTTPException(
            403, "there is no account yet: make one on the device with `edge-sim web passwd NAME`"
        )
    found = await context.workers.run(accounts.verify, request.user, request.password)
    if found is None:
        raise HTTPException(401, "name or password is wrong")
    role, stamp = found
    if asked.caller.session:
        context.sessions.close(asked.caller.session)
    secret = context.sessions.open(request.user, stamp)
    opened = context.sessions.of_secret(secret)
    csrf = "" if opened is None else opened[0].csrf
    view = session_view(asked, Caller(role=role, user=request.user, is_known=True, csrf=csrf))
    response = JsonResponse(view)
    _set_cookie(response, asked, secret, LASTS_S)
    return response


async def logout(asked: ApiRequest) -> Response:
    """End the session."""
    asked.context.sessions.close(asked.caller.session)
    response = Response(status_code=204)
    _set_cookie(response, asked, "", 0.0)
    return response


def _set_cookie(response: Response, asked: ApiRequest, secret: str, lasts_s: float) -> None:
    response.set_cookie(
        asked.context.sessions.cookie,
        secret,
        max_age=int(lasts_s),
        path=f"{asked.caller.prefix}/",
        secure=asked.caller.is_secure,
        httponly=True,
        samesite="strict",
    )
