"""Callers of the web server: who they are and what they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """Role of an account; each may all that those before it may."""

    NOBODY = 0
    """Not logged in: the page and the login, nothing of the device."""
    VIEWER = 1
    """States, pictures and history."""
    OPERATOR = 2
    """Corrections and references as well."""
    ADMIN = 3
    """The configuration as well."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Sender of a request.

    Args:
        role: Role.
        user: Name of the account; None without one.
        is_known: Whether it is somebody: an account, a program with the token, or a person at this
            machine.
        csrf: Token that a page must send with all that changes something; empty for programs.
        address: Address, that of the client of a trusted proxy included.
        is_secure: Whether the connection of the client is encrypted.
        prefix: Path prefix of a trusted proxy, without a slash at its end.
        session: Key of the session; empty without one.
    """

    role: Role = Role.NOBODY
    user: str | None = None
    is_known: bool = False
    csrf: str = ""
    address: str = ""
    is_secure: bool = False
    prefix: str = ""
    session: str = ""
