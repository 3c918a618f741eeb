"""Sessions of people who have logged in."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie

from edge_sim.web.callers import Role

LASTS_S = 30 * 86_400.0
"""Time after which a session that was not used ends, seconds."""
MAX_SESSIONS = 200


@dataclass(frozen=True, slots=True)
class Session:
    """Session of one browser.

    Args:
        key: Digest of the secret in its cookie.
        user: Name of the account.
        role: Role of the account.
        csrf: Token that the page sends with all that changes something.
        used_s: Time of the last request, monotonic seconds.
    """

    key: str
    user: str
    role: Role
    csrf: str
    used_s: float


class Sessions:
    """Sessions by the secret in their cookie; for the thread of the event loop.

    Args:
        cookie: Name of the cookie.
        clock: Monotonic seconds.
    """

    def __init__(self, cookie: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.cookie = cookie
        self._clock = clock
        self._known: dict[str, Session] = {}

    @property
    def needed(self) -> bool:
        """True once there is an account: then everybody logs in."""
        return False

    def open(self, user: str, role: Role) -> str:
        """Return the secret of a new session."""
        secret = secrets.token_urlsafe(32)
        key = _key_of(secret)
        self._known[key] = Session(key, user, role, secrets.token_urlsafe(24), self._clock())
        if len(self._known) > MAX_SESSIONS:
            self.close(min(self._known.values(), key=lambda item: item.used_s).key)
        return secret

    def close(self, key: str) -> None:
        """End a session; nothing happens where there is none."""
        self._known.pop(key, None)

    def has(self, key: str) -> bool:
        """Return whether a session is open."""
        return key in self._known

    def of_cookie(self, header: str) -> Session | None:
        """Return the session of a Cookie header; None if there is none."""
        secret = _value_of(header, self.cookie)
        return None if not secret else self.of_secret(secret)

    def of_secret(self, secret: str) -> Session | None:
        """Return the session of a secret; None if there is none."""
        known = self._known.get(_key_of(secret))
        if known is None:
            return None
        now_s = self._clock()
        if now_s - known.used_s > LASTS_S:
            self.close(known.key)
            return None
        known = self._known[known.key] = replace(known, used_s=now_s)
        return known


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
