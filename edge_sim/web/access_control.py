"""Access control: who sends a request, and whether it may be answered at all.

Everything but the files of the page, the session and the login is denied to callers who are nobody.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_sim.runtime.config.service import WebConfig, is_loopback
from edge_sim.web.answers import error_response
from edge_sim.web.callers import Caller, Role
from edge_sim.web.limits import AddressLimits
from edge_sim.web.sessions import Sessions

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "edge_sim",
}
PUBLIC_PATHS = frozenset({"/api/session", "/api/login"})
PAGE_BURST = 200.0
"""Requests that a page may send at once: its files, and the pictures of a gallery."""
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+){1,20}/?")


class AccessControl:
    """Middleware that names the caller of each request in its scope, or rejects the request.

    Args:
        app: Application behind it.
        config: Section of the configuration.
        sessions: Sessions and accounts.
        public_paths: Paths that everybody may get: the files of the page.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        config: WebConfig,
        sessions: Sessions,
        public_paths: Iterable[str],
    ) -> None:
        self._app = app
        self._config = config
        self._sessions = sessions
        self._public = PUBLIC_PATHS.union(public_paths)
        self._proxies = [
            ipaddress.ip_network(item, strict=False) for item in config.trusted_proxies
        ]
        self._hosts = own_names() | {name.lower() for name in config.hosts}
        self._local_csrf = secrets.token_urlsafe(24)
        per_s = config.requests_per_s
        self._rejected = AddressLimits(per_s)
        self._programs = AddressLimits(per_s)
        self._people = AddressLimits(10.0 * per_s, max(PAGE_BURST, per_s))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or reject one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller, rejection = self._judged(scope)
        scope["caller"] = caller

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (rejection or self._app)(scope, receive, send_secured)

    def _judged(self, scope: Scope) -> tuple[Caller, Response | None]:
        headers = Headers(scope=scope)
        caller, rejection = self._identified(scope, headers)
        if scope["path"] == "/teach" and self._config.token is None:
            rejection = _refusal(scope, 403, "teaching needs web.token in the configuration")
        rejection = rejection or self._forgery(scope, headers, caller)
        if rejection is not None:
            limits = self._rejected
        else:
            limits = self._people if caller.csrf else self._programs
            if caller.role is Role.NOBODY:
                limits = self._people
        if not limits.take(caller.address):
            rejection = _refusal(scope, 429, "too many requests")
        return caller, rejection

    def _identified(self, scope: Scope, headers: Headers) -> tuple[Caller, Response | None]:
        peer = scope["client"][0] if scope.get("client") else ""
        proxied = self._is_proxy(peer)
        caller = Caller(
            address=self._client_of(peer, headers) if proxied else peer,
            is_secure=scope["scheme"] == "https"
            or (proxied and _last(headers, "x-forwarded-proto") == "https"),
            prefix=_prefix_of(headers) if proxied else "",
        )
        given = headers.get("authorization")
        if given is not None and self._config.token is not None and self._has_token(given):
            return replace(caller, role=Role.OPERATOR, is_known=True), None
        host = (_last(headers, "x-forwarded-host") if proxied else "") or headers.get("host", "")
        if not self._is_known_host(host):
            return caller, _refusal(
                scope,
                421,
                "this name is not known: use the address, or list the name in web.hosts",
            )
        if given is None:
            caller = self._person(caller, peer, host, headers)
        if caller.role is Role.NOBODY and not self._is_public(scope):
            return caller, _refusal(scope, 401, "log in first")
        return caller, None

    def _person(self, caller: Caller, peer: str, host: str, headers: Headers) -> Caller:
        """Return the person: that of a session, or somebody at this very machine."""
        found = self._sessions.of_cookie(headers.get("cookie", ""))
        if found is not None:
            session, role = found
            return replace(
                caller,
                role=role,
                user=session.user,
                is_known=True,
                csrf=session.csrf,
                session=session.key,
            )
        is_open = self._config.token is None and not self._proxies and not self._sessions.needed
        forwarded = any(name in headers for name in (*_FORWARDED, "x-ingress-path"))
        if is_open and not forwarded and is_loopback(peer) and is_local(host):
            return replace(caller, role=Role.ADMIN, is_known=True, csrf=self._local_csrf)
        return caller

    def _forgery(self, scope: Scope, headers: Headers, caller: Caller) -> Response | None:
        """Return the rejection of a change that a page of another origin may have sent."""
        if scope["method"] not in _CHANGING or (caller.is_known and not caller.csrf):
            return None  # a program: no browser adds its token by itself
        if scope["path"] == "/teach":
            return _refusal(scope, 401, "a token is needed")
        if not self._is_own_origin(headers, scope):
            return _refusal(scope, 403, "this request comes from another page")
        given = headers.get("x-csrf-token", "")
        if scope["path"] == "/api/login" or hmac.compare_digest(
            given.encode("utf-8", "replace"), caller.csrf.encode()
        ):
            return None
        return _refusal(scope, 403, "the page is out of date: load it again")

    def _is_own_origin(self, headers: Headers, scope: Scope) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") == "same-origin"
        peer = scope["client"][0] if scope.get("client") else ""
        hosts = {headers.get("host", "")}
        if self._is_proxy(peer):
            hosts.add(_last(headers, "x-forwarded-host"))
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        port = {"https": ":443", "http": ":80"}.get(parts.scheme)
        netloc = parts.netloc.lower()
        if port is None or not netloc:
            return False
        known = {host.lower() for host in hosts if host}
        return netloc in known or netloc.removesuffix(port) in known or netloc + port in known

    def _is_public(self, scope: Scope) -> bool:
        path = scope["path"]
        if path in self._public:
            return path == "/api/login" or scope["method"] in ("GET", "HEAD")
        return False

    def _has_token(self, given: str) -> bool:
        wanted = f"Bearer {self._config.token}".encode()
        return hmac.compare_digest(given.encode("utf-8", "replace"), wanted)

    def _is_known_host(self, host: str) -> bool:
        """Return whether a Host header can be meant for this device.

        Another site can point a name of its own at this address, never a numeric address.
        """
        name = host_name(host)
        if name in self._hosts or is_local(host):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            number = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        number = getattr(number, "ipv4_mapped", None) or number
        return any(number in network for network in self._proxies)

    def _client_of(self, peer: str, headers: Headers) -> str:
        """Return the nearest address that is no trusted proxy; the rest could be made up."""
        chain = [item.strip() for item in headers.get("x-forwarded-for", "").split(",")]
        for address in reversed(chain):
            if address and not self._is_proxy(address):
                return address[:64]
        return peer


def own_names() -> frozenset[str]:
    """Return the names of this machine, in lower case."""
    name = socket.gethostname().lower().rstrip(".")
    short = name.partition(".")[0]
    return frozenset({"localhost", name, short, f"{short}.local"} - {""})


def host_name(host: str) -> str:
    """Return the name of a Host header, without its port, in lower case."""
    head, _, port = host.rpartition(":")
    name = head if port.isdecimal() and head else host
    return name.strip("[]").lower().rstrip(".")


def is_local(host: str) -> bool:
    """Return whether a Host header names this machine as only this machine can."""
    return is_loopback(host_name(host))


def _last(headers: Headers, name: str) -> str:
    return headers.get(name, "").rpartition(",")[2].strip()


def _prefix_of(headers: Headers) -> str:
    given = headers.get("x-ingress-path") or headers.get("x-forwarded-prefix") or ""
    return given.rstrip("/") if _PREFIX.fullmatch(given) else ""


def _refusal(scope: Scope, status: int, text: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if scope["path"].startswith("/api/"):
        return error_response(status, text, headers)
    if status == 401:
        text = "a token is needed"
    return PlainTextResponse(f"{text}\n", status, headers)
