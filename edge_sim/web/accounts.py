"""Accounts of people: names, roles and hashed passwords in one private file."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_sim.core.files import read_bounded, sync_folder
from edge_sim.core.options import Name
from edge_sim.errors import ConfigError
from edge_sim.runtime.config import Config
from edge_sim.web.callers import Role

logger = logging.getLogger(__name__)

LEAST_PASSWORD = 8
LONGEST_PASSWORD = 1024
MAX_ACCOUNTS = 100
_MAX_BYTES = 1_000_000
# RFC 7914, section 2: N, r and p; 16 MB and about 50 ms, 0.3 s on a small board.
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
_MAX_COST = 2**17
_SALT_BYTES, _HASH_BYTES = 16, 32
_MODE = 0o600


class PasswordHash(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Salted hash of a password by scrypt, with its parameters."""

    salt: bytes
    hash: bytes
    cost: int = _COST
    block: int = _BLOCK
    parallel: int = _PARALLEL

    def matches(self, password: str) -> bool:
        """Return whether this is the password."""
        return hmac.compare_digest(self.hash, _scrypt(password, self))


class UserAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Account of one person."""

    role: str
    password: PasswordHash


class AccountTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of the file."""

    accounts: dict[Name, UserAccount] = {}
    schema: int = 1


def accounts_path(config: Config) -> Path:
    """Return the path of the accounts of a device."""
    return config.path(config.web.accounts)


def hashed(password: str) -> PasswordHash:
    """Return the hash of a password with a new salt."""
    bare = PasswordHash(salt=secrets.token_bytes(_SALT_BYTES), hash=b"")
    return msgspec.structs.replace(bare, hash=_scrypt(password, bare))


def _scrypt(password: str, given: PasswordHash) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=given.salt,
        n=given.cost,
        r=given.block,
        p=given.parallel,
        maxmem=2 * 128 * given.block * given.cost,
        dklen=_HASH_BYTES,
    )


class Accounts:
    """Accounts of a device; the file is read again when it has changed. Safe in any thread.

    A file that cannot be read lets nobody in.

    Args:
        path: Path of the file; without it there is no account.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version: tuple[int, int] | None = None
        self._known: Mapping[str, UserAccount] = {}
        self._is_broken = False
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._nobody = UserAccount("viewer", PasswordHash(b"\0" * _SALT_BYTES, b""))

    @property
    def exist(self) -> bool:
        """True if there is an account, or a file that may hold one."""
        return bool(self._present()) or self._is_broken

    @property
    def roles(self) -> Mapping[str, Role]:
        """Roles of the accounts, by name."""
        return {name: role_of(item.role) for name, item in self._present().items()}

    def role(self, name: str, stamp: str) -> Role | None:
        """Return the role of an account whose password is still that of `stamp`; None otherwise."""
        found = self._present().get(name)
        return None if found is None or stamp_of(found) != stamp else role_of(found.role)

    def verify(self, name: str, password: str) -> tuple[Role, str] | None:
        """Return role and stamp of the account with this password; None if there is none.

        Takes as long for a name that is unknown.
        """
        found = self._present().get(name)
        checked = self._nobody if found is None else found
        with self._hashing:  # one at a time: each takes 16 MB
            is_right = checked.password.matches(password[:LONGEST_PASSWORD])
        if found is None or not is_right:
            return None
        return role_of(found.role), stamp_of(found)

    def put(self, name: str, password: str, role: Role) -> None:
        """Add an account, or give it another password and role.

        Raises:
            ConfigError: Name or password cannot be used, or the file cannot be written.
        """
        check_name(name)
        if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise ConfigError(f"a password has {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters")
        if role is Role.NOBODY:
            raise ConfigError("an account needs a role: viewer, operator or admin")
        known = {**self._checked(), name: UserAccount(role.name.lower(), hashed(password))}
        if len(known) > MAX_ACCOUNTS:
            raise ConfigError(f"{self.path}: holds {MAX_ACCOUNTS} accounts already; remove one")
        self._write(known)

    def change_role(self, name: str, role: Role) -> None:
        """Give an account another role.

        Raises:
            ConfigError: There is no such account, or the file cannot be written.
        """
        known = dict(self._checked())
        if name not in known:
            raise ConfigError(f"there is no account {name[:64]!r}")
        known[name] = msgspec.structs.replace(known[name], role=role.name.lower())
        self._write(known)

    def remove(self, name: str) -> None:
        """Remove an account; its sessions end.

        Raises:
            ConfigError: There is no such account, or the file cannot be written.
        """
        known = dict(self._checked())
        if known.pop(name, None) is None:
            raise ConfigError(f"there is no account {name[:64]!r}")
        self._write(known)

    def _checked(self) -> Mapping[str, UserAccount]:
        """Return the accounts of a file that can be read.

        Raises:
            ConfigError: It cannot.
        """
        found = self._present()
        if self._is_broken:
            raise ConfigError(f"{self.path}: the accounts cannot be read; move the file away")
        return found

    def _present(self) -> Mapping[str, UserAccount]:
        with self._lock:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                self._version, self._known, self._is_broken = None, {}, False
                return self._known
            except OSError as error:
                self._break(error.strerror or str(error))
                return self._known
            version = status.st_mtime_ns, status.st_size
            if version != self._version:
                self._read()
                self._version = version
            return self._known

    def _read(self) -> None:
        try:
            table = msgspec.json.decode(read_bounded(self.path, _MAX_BYTES), type=AccountTable)
            for item in table.accounts.values():
                role_of(item.role)
                if not 2 <= item.password.cost <= _MAX_COST or item.password.block != _BLOCK:
                    raise ValueError("a password has an unusual hash")
            self._known, self._is_broken = table.accounts, False
        except OSError as error:
            self._break(error.strerror or str(error))
        except ValueError as error:
            self._break(str(error))

    def _break(self, reason: str) -> None:
        if not self._is_broken:
            logger.error(
                "%s: the accounts cannot be read, nobody can log in: %s", self.path, reason
            )
        self._known, self._is_broken = {}, True

    def _write(self, accounts: Mapping[str, UserAccount]) -> None:
        table = AccountTable({name: accounts[name] for name in sorted(accounts)})
        write_owned(self.path, msgspec.json.format(msgspec.json.encode(table)) + b"\n")
        self._version = None


def stamp_of(account: UserAccount) -> str:
    """Return a short digest of a password's hash: sessions end when it changes."""
    return base64.b64encode(hashlib.sha256(account.password.hash).digest()[:9]).decode()


def role_of(name: str) -> Role:
    """Return the role of a name.

    Raises:
        ValueError: There is none of this name.
    """
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        if role.name.lower() == name:
            return role
    raise ValueError(f"there is no role {name[:20]!r}")


def check_name(name: str) -> None:
    """Check the name of an account.

    Raises:
        ConfigError: It cannot be used.
    """
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{name[:64]!r} is no name: a name has 1 to 64 letters, digits, _ or -"
        ) from error


def write_owned(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; the owner is that of the folder.

    So the service can read what root writes for it.

    Raises:
        ConfigError: It cannot be written; an older file is as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _MODE)
        with os.fdopen(descriptor, "wb") as stream:
            if os.geteuid() == 0:
                folder = path.parent.stat()
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
