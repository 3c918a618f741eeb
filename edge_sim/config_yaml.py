"""YAML nodes read beside msgspec structs, so that every error names the key and its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import yaml

from edge_sim.domain import is_reserved, pixels_hint
from edge_sim.errors import ConfigError
from edge_sim.options import SECRETS, keys_of


def compose(text: str, where: str) -> yaml.Node | None:
    """Return the root node of YAML text; None if it is empty.

    Raises:
        ConfigError: The text is not YAML.
    """
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{where}{line}: {problem}") from error
    return root


class YamlReader:
    """Reads one file; remembers the line of every key for later errors.

    Args:
        where: Name of the file, for errors.
        environ: Values for `${NAME}` in the keys of `SECRETS`.
        section_of: Returns the section of a `kind` that no union names; None if there is none.
    """

    def __init__(
        self,
        where: str,
        environ: Mapping[str, str],
        *,
        section_of: Callable[[str], type[msgspec.Struct] | None] = lambda kind: None,  # noqa: ARG005
    ) -> None:
        self._where = where
        self._environ = environ
        self._section_of = section_of
        self._lines: dict[str, int] = {}

    def value(self, node: yaml.Node, kind: Any, path: str) -> Any:
        """Return the plain value of `node`, checked against `kind`."""
        self._lines[path] = node.start_mark.line + 1
        kind = self._bare(kind, node, path)
        if _is_section(kind):
            return self._section(node, kind, path)
        if get_origin(kind) is dict:
            return self._table(node, get_args(kind), path)
        if get_origin(kind) is tuple and isinstance(node, yaml.SequenceNode):
            return self._row(node, get_args(kind), path)
        # YAML reads a bare `on`, `off` or `12` as no text; as a name it is meant as written.
        plain = node.value if _is_text(kind, node) else self._plain(node, path)
        if path.rpartition(".")[2] in SECRETS and isinstance(plain, str):
            plain = self._with_secrets(plain, path)
        try:
            msgspec.convert(plain, kind)
        except msgspec.ValidationError as error:
            hint = nearest(plain, _words_of(kind))
            if ".roi[" in path and isinstance(plain, int | float):
                hint = pixels_hint((float(plain),))
            raise self.error(path, f"{path}: {_readable(error)}{hint}") from error
        return plain

    def _section(self, node: yaml.Node, kind: type[msgspec.Struct], path: str) -> Any:
        fields = keys_of(kind)
        tag = kind.__struct_config__.tag_field
        found: dict[str, Any] = {}
        for key, child in self._pairs(node, path):
            here = f"{path}.{key}" if path else key
            if key == tag:
                found[key] = child.value
                continue
            if key not in fields:
                hint = nearest(key, fields)
                self._lines[here] = child.start_mark.line + 1
                raise self.error(here, f"unknown key {here!r}{hint}")
            if not _is_empty(child):
                found[key] = self.value(child, fields[key].type, here)
            elif type(None) in get_args(fields[key].type):
                found[key] = None  # said, not left out: it switches a default off
        for name, field in fields.items():
            if field.required and name not in found:
                raise self.error(path, f"{path}: the key {name!r} is missing")
        if hasattr(kind, "__post_init__"):  # its keys may contradict each other
            try:
                msgspec.convert(found, kind)
            except (msgspec.ValidationError, ConfigError) as error:
                raise self.error(path, f"{path}: {_readable(error)}") from error
        return found

    def _table(self, node: yaml.Node, kinds: tuple[Any, ...], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, child in self._pairs(node, path):
            here = f"{path}.{key}"
            self._lines[here] = child.start_mark.line + 1
            if is_reserved(key):
                raise self.error(here, f"{here}: the name {key!r} is reserved")
            try:
                msgspec.convert(key, kinds[0])
            except msgspec.ValidationError as error:
                raise self.error(
                    here, f"{here}: a name has 1 to 64 letters, digits, _ or -, got {key!r}"
                ) from error
            found[key] = self.value(child, kinds[1], here)
        return found

    def _row(self, node: yaml.SequenceNode, kinds: tuple[Any, ...], path: str) -> list[Any]:
        kind_of = kinds[:1] * len(node.value) if kinds[-1] is Ellipsis else kinds
        if len(kind_of) != len(node.value):
            raise self.error(path, f"{path}: needs {len(kind_of)} values, got {len(node.value)}")
        pairs = zip(node.value, kind_of, strict=True)
        return [self.value(child, kind, f"{path}[{at}]") for at, (child, kind) in enumerate(pairs)]

    def _pairs(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node]]:
        if _is_empty(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            raise self.error(path, f"{path or 'the file'}: needs `key: value` lines")
        pairs = [(str(key.value), child) for key, child in node.value]
        for at, (key, child) in enumerate(pairs):
            if key in [earlier for earlier, _ in pairs[:at]]:
                here = f"{path}.{key}" if path else key
                self._lines[here] = child.start_mark.line + 1
                raise self.error(here, f"the key {here!r} is given twice")
        return pairs

    def _with_secrets(self, text: str, path: str) -> str:
        def value_of(match: re.Match[str]) -> str:
            if match[1] not in self._environ:
                raise self.error(path, f"{path}: the environment has no {match[1]}")
            return self._environ[match[1]]

        return re.sub(r"\$\{(\w+)\}", value_of, text)

    def _bare(self, kind: Any, node: yaml.Node, path: str) -> Any:
        """Return the one struct that a tagged union means at `node`, else `kind` itself."""
        members = [member for member in get_args(kind) if member is not type(None)]
        if get_origin(kind) in (tuple, dict) or not all(map(_is_section, members)):
            return kind
        of_tag = {member.__struct_config__.tag: member for member in members}
        if not of_tag:
            return kind
        tag = dict(self._pairs(node, path)).get("kind")
        if tag is None:
            raise self.error(path, f"{path}: the key 'kind' is missing")
        if tag.value in of_tag:
            return of_tag[tag.value]
        try:
            section = self._section_of(tag.value)
        except ConfigError as error:
            raise self.error(path, f"{path}: {error}") from error
        if section is None:
            raise self.error(
                path, f"{path}: unknown kind {tag.value!r}{nearest(tag.value, of_tag)}"
            )
        return section

    def _plain(self, node: yaml.Node, path: str) -> Any:
        try:
            return yaml.SafeLoader("").construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, TypeError) as error:
            problem = getattr(error, "problem", None) or str(error)
            raise self.error(path, f"{path}: {problem}") from error

    def error(self, path: str, message: str) -> ConfigError:
        """Return the error that says `message` about the key at `path`."""
        line = self._lines.get(path)
        one_line = " ".join(message.split())  # a key may hold line ends
        return ConfigError(f"{self._where}{f':{line}' if line else ''}: {one_line}")


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _words_of(kind: Any) -> list[str]:
    """Return the words that may stand where one of a few is wanted."""
    is_choice = isinstance(kind, type) and issubclass(kind, Enum)
    return [str(member.value) for member in kind] if is_choice else []


def nearest(word: object, known: Iterable[str]) -> str:
    """Return a hint that names the nearest of the known words, or all of them."""
    known = list(known)
    if not known:
        return ""
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


def _readable(error: Exception) -> str:
    return str(error).replace("`", "")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_text(kind: Any, node: yaml.Node) -> bool:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    wants_text = str in [get_args(item)[0] if get_args(item) else item for item in members]
    return wants_text and isinstance(node, yaml.ScalarNode) and not _is_empty(node)
