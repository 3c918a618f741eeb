"""Configuration file as the pages change it: comments stay, and nothing invalid is ever written.

An edit is a function of the table of the file. It is applied twice: to the table with comments,
which is written, and to the values as they are written in it. Where the two differ afterwards,
or the reader rejects the result, the file stays as it was.
"""

from __future__ import annotations

import copy
import difflib
import io
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

import msgspec
import yaml

from edge_sim.core.files import PRIVATE_MODE, is_file, read_bounded, sync_folder
from edge_sim.errors import ConfigError
from edge_sim.io.sources.uri import masked
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.config.yaml_reader import MAX_PARTS, MAX_TEXT, compose
from edge_sim.secrets import mask_secrets

Table = MutableMapping[str, Any]
ConfigEdit = Callable[[Table], None]
"""Change of the table of a configuration file, in place; raises `ConfigError` if it cannot be."""

BACKUP = ".bak"
"""Suffix of the copy of the file before the last change."""
HEADER = "# Configuration of edge_sim. Every key with its default is in default.yaml of edge_sim.\n"
_ITEM = re.compile(r"^[A-Za-z_]+:[^\S\n]*(?:#.*)?\n(?:[^\S\n]*#.*\n|\n)*([^\S\n]*)- ", re.M)
_FAULT = re.compile(r"^(?P<where>.*?)(?::(?P<line>\d+))?: (?P<text>.*)$", re.DOTALL)
_KEY = re.compile(r"^(?:(?:unknown|the) key '(?P<quoted>[^']+)'|(?P<key>[A-Za-z0-9_.\[\]-]+): )")


@dataclass(frozen=True, slots=True)
class Written:
    """Result of a change.

    Args:
        config: Configuration in the file now.
        before: Text before; empty if there was no file.
        after: Text now.
        diff: Changed lines as `diff -u` prints them, secrets masked.
    """

    config: Config
    before: str
    after: str
    diff: tuple[str, ...]


class ConfigFault(msgspec.Struct, frozen=True):
    """Error in a configuration text; `line` counts from 1, null where none is known."""

    line: int | None
    key: str | None
    text: str


class ConfigFile:
    """Configuration file of a device; may be used from any thread.

    Args:
        path: Path of the file; it may be made by the first change. A link is followed.
        environ: Values for `${NAME}`; None takes the environment of the process.
    """

    def __init__(self, path: Path, environ: Mapping[str, str] | None = None) -> None:
        self.path = path.resolve()
        self._shown = path
        self._environ = os.environ if environ is None else environ
        self._lock = RLock()

    def text(self) -> str:
        """Return the text of the file; empty if there is none.

        Raises:
            ConfigError: It cannot be read.
        """
        if not is_file(self.path):
            return ""
        try:
            return read_bounded(self.path, MAX_TEXT).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise ConfigError(f"{self._shown}: cannot read the configuration ({reason})") from error

    def checked(self, text: str) -> Config:
        """Return the configuration that a text would be.

        Raises:
            ConfigError: It cannot be used.
        """
        return parse_config(
            text, where=str(self._shown), folder=str(self.path.parent), environ=self._environ
        )

    def edit(self, change: ConfigEdit) -> Written:
        """Change the file, comments and all else as they are.

        Raises:
            ConfigError: The result would be invalid, the change cannot be made without changing
                other parts, or the file cannot be written.
        """
        with self._lock:
            before = self.text()
            after = edited_text(before, change, where=str(self._shown))
            return self._put(before, after)

    def replace(self, text: str, *, base: str | None = None) -> Written:
        """Replace the whole text.

        Args:
            text: New text.
            base: Text that the new one was made from; None does not compare.

        Raises:
            ConfigError: It is invalid, the file has changed since `base`, or cannot be written.
        """
        with self._lock:
            before = self.text()
            if base is not None and base != before:
                raise ConfigError(
                    f"{self._shown}: has been changed by somebody else meanwhile; read it again"
                )
            return self._put(before, text)

    def restore(self, written: Written) -> bool:
        """Take a change back, unless the file was changed again since; return whether it did.

        Raises:
            ConfigError: The file cannot be written.
        """
        with self._lock:
            if self.text() != written.after:
                return False
            if written.before:
                self._write(written.before)
            else:
                with suppress(OSError):
                    self.path.unlink(missing_ok=True)
            return True

    def _put(self, before: str, after: str) -> Written:
        config = self.checked(after)
        if after != before:
            if before:
                self._write(before, self.path.with_name(self.path.name + BACKUP))
            self._write(after)
        return Written(config, before, after, diff_of(before, after))

    def _write(self, text: str, path: Path | None = None) -> None:
        path = path or self.path
        try:
            write_with_mode(path, text.encode("utf-8"), like=self.path)
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot write the configuration ({error.strerror}); the page changes only "
                "a file in a folder that the user of edge_sim may write to, such as "
                "/var/lib/edge_sim"
            ) from error


def write_with_mode(path: Path, content: bytes, *, like: Path) -> None:
    """Write a file whole, with the mode and, where allowed, the owner of another one.

    A power cut leaves the old or the new content. Without that other file it is private.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    status = like.stat() if like.exists() else None
    mode = PRIVATE_MODE if status is None else stat.S_IMODE(status.st_mode)
    fresh = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            with suppress(OSError):  # a file system that knows no modes or owners
                if status is not None:
                    os.fchown(stream.fileno(), status.st_uid, status.st_gid)
            with suppress(OSError):
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def edited_text(text: str, change: ConfigEdit, *, where: str = "configuration") -> str:
    """Return the text after a change of its table; comments and all other lines stay.

    Raises:
        ConfigError: The text is not YAML, the change raises, or it would change other parts too.
    """
    plain = _plain_table(text, where)
    wanted = copy.deepcopy(plain)
    change(wanted)
    if wanted == plain:
        return text
    handler = _round_trip(text)
    try:
        commented = handler.load(text) if text.strip() else None
    except Exception as error:  # ruamel raises many kinds; our reader has taken the text already
        raise ConfigError(f"{where}: cannot be changed here ({_line_of(error)})") from error
    if commented is None:
        from ruamel.yaml.comments import CommentedMap

        commented = CommentedMap()
        text = text or HEADER
        head = text if text.endswith("\n") else text + "\n"
    else:
        head = ""
    change(commented)
    stream = io.StringIO()
    handler.dump(commented, stream)
    result = head + stream.getvalue() if head else _in_place(text, stream.getvalue())
    if _as_written(_plain_table(result, where)) != _as_written(wanted):
        raise ConfigError(
            f"{where}: the change cannot be made without changing other parts; edit it by hand"
        )
    return result


def _in_place(before: str, after: str) -> str:
    """Return `after` with new lines above the comments that belong to what follows them.

    A new entry at the end of a table is written after all comments that follow the table, those on
    the next section included.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for tag, _, _, start, end in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        if tag != "insert":
            continue
        added, place = new[start:end], start
        indent = _indent_of(added[0])
        while place and _is_passed(new[place - 1], indent):
            place -= 1
        del new[start:end]
        new[place:place] = added
    return "".join(new)


def _is_passed(line: str, indent: int) -> bool:
    return not line.strip() or (line.lstrip().startswith("#") and _indent_of(line) < indent)


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())


def diff_of(before: str, after: str) -> tuple[str, ...]:
    """Return the changed lines, secrets and passwords in addresses masked."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=1
    )
    return tuple(masked_text(line) for line in lines)


def masked_text(text: str) -> str:
    """Return lines of a configuration without secrets and passwords in addresses."""
    return mask_secrets(re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+", _masked_address, text))


def faults_of(error: ConfigError) -> tuple[ConfigFault, ...]:
    """Return the errors with their lines and keys."""
    faults = []
    for message in error.messages:
        found = _FAULT.match(message)
        line = found["line"] if found else None
        text = found["text"] if found and line else message
        key = _KEY.match(text)
        name = (key["quoted"] or key["key"]) if key else None
        faults.append(ConfigFault(int(line) if line else None, name, text))
    return tuple(faults)


def _masked_address(found: re.Match[str]) -> str:
    return masked(found[0])


def _plain_table(text: str, where: str) -> dict[str, Any]:
    """Return the values of a text as they are written, all scalars as text; nothing is shared."""
    if compose(text, where) is None:
        return {}
    try:
        table = yaml.load(text, Loader=yaml.BaseLoader)
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: needs `key: value` lines")
        unshared: dict[str, Any] = _unshared(table, itertools.count(), where)
        return unshared
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{where}: cannot be changed here ({_line_of(error)})") from error


def _unshared(value: Any, parts: Iterator[int], where: str) -> Any:
    """Return a copy in which what aliases share is written out, as the reader takes it.

    A change of a shared table would otherwise be wanted at every place of it.

    Raises:
        ConfigError: It has more parts than any configuration: a few aliases of aliases stand for
            millions.
    """
    if next(parts) > MAX_PARTS:
        raise ConfigError(f"{where}: more than {MAX_PARTS} keys and values")
    if isinstance(value, dict):
        return {key: _unshared(item, parts, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item, parts, where) for item in value]
    return value


def _as_written(value: Any) -> Any:
    """Return a value with all scalars as the text that stands for them."""
    if isinstance(value, Mapping):
        return {str(key): _as_written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_written(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _round_trip(text: str) -> Any:
    try:
        from ruamel.yaml import YAML
    except ImportError as error:
        raise ConfigError(
            "the configuration cannot be changed without ruamel.yaml; pip install 'edge_sim[web]'"
        ) from error
    handler = YAML(typ="rt")
    handler.preserve_quotes = True
    handler.width = 4096
    handler.version = None
    handler.representer.add_representer(type(None), _represent_null)
    handler.representer.add_representer(list, _represent_list)
    item = _ITEM.search(text)
    offset = len(item[1]) if item else 2
    handler.indent(mapping=2, sequence=offset + 2, offset=offset)
    return handler


def _represent_null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _represent_list(representer: Any, items: list[Any]) -> Any:
    short = not any(isinstance(item, list | dict) for item in items)
    return representer.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


def _line_of(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
