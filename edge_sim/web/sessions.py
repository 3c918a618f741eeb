"""Sessions of people who have logged in, kept over a restart."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

import msgspec

from edge_sim.core.files import read_bounded
from edge_sim.errors import ConfigError
from edge_sim.web.accounts import Accounts, write_owned
from edge_sim.web.callers import Role

logger = logging.getLogger(__name__)

LASTS_S = 30 * 86_400.0
"""Time after the login at which a session ends, seconds."""
MAX_SESSIONS = 200
_MAX_BYTES = 1_000_000


class Session(msgspec.Struct, frozen=True):
    """Session of one browser.

    Args:
        key: Digest of the secret in its cookie.
        user: Name of the account.
        stamp: Stamp of its password.
        csrf: Token that the page sends with all that changes something.
        begun_s: Time of the login, seconds since 1970.
    """

    key: str
    user: str
    stamp: str
    csrf: str
    begun_s: float


class Sessions:
    """Sessions by the secret in their cookie; for the thread of the event loop.

    Only digests of the secrets are kept, in memory and on disk.

    Args:
        accounts: Accounts of the device.
        cookie: Name of the cookie.
        path: File that keeps the sessions over a restart; None keeps none.
        now: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        accounts: Accounts,
        cookie: str,
        path: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.accounts = accounts
        self.cookie = cookie
        self._path = path
        self._now = now
        self._known = {item.key: item for item in self._stored()}

    @property
    def needed(self) -> bool:
        """True once there is an account: then everybody logs in."""
        return self.accounts.exist

    def open(self, user: str, stamp: str) -> str:
        """Return the secret of a new session."""
        secret = secrets.token_urlsafe(32)
        key = _key_of(secret)
        self._known[key] = Session(key, user, stamp, secrets.token_urlsafe(24), self._now())
        while len(self._known) > MAX_SESSIONS:
            del self._known[min(self._known.values(), key=lambda item: item.begun_s).key]
        self._store()
        return secret

    def close(self, key: str) -> None:
        """End a session; nothing happens where there is none."""
        if self._known.pop(key, None) is not None:
            self._store()

    def role(self, key: str) -> Role | None:
        """Return the present role of a session; None if it has ended."""
        known = self._known.get(key)
        if known is None:
            return None
        role = self.accounts.role(known.user, known.stamp)
        if role is None or not -86_400.0 <= self._now() - known.begun_s <= LASTS_S:
            del self._known[key]
            return None
        return role

    def of_cookie(self, header: str) -> tuple[Session, Role] | None:
        """Return the session of a Cookie header and its role; None if there is none."""
        secret = _value_of(header, self.cookie)
        return None if not secret else self.of_secret(secret)

    def of_secret(self, secret: str) -> tuple[Session, Role] | None:
        """Return the session of a secret and its role; None if there is none."""
        key = _key_of(secret)
        role = self.role(key)
        return None if role is None else (self._known[key], role)

    def _stored(self) -> list[Session]:
        if self._path is None:
            return []
        try:
            return msgspec.json.decode(read_bounded(self._path, _MAX_BYTES), type=list[Session])
        except (OSError, msgspec.DecodeError):
            return []  # everybody logs in again

    def _store(self) -> None:
        if self._path is None:
            return
        try:
            write_owned(self._path, msgspec.json.encode(list(self._known.values())))
        except ConfigError as error:
            logger.warning("sessions end with the next restart: %s", error)


def _key_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _value_of(header: str, name: str) -> str:
    if name not in header or len(header) > 8192:
        return ""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value
