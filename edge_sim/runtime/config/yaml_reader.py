"""Reader of YAML nodes by msgspec structs: every error names the key and its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from itertools import islice
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import yaml

from edge_sim.core.files import is_text
from edge_sim.core.options import SECRETS, WHOLLY_SECRET, in_words, keys_of
from edge_sim.core.types import is_reserved, pixels_hint
from edge_sim.errors import ConfigError
from edge_sim.secrets import register_secret

MAX_TEXT = 400_000
MAX_PARTS = 20_000
MAX_DEPTH = 20
_MAX_FAULTS = 20
_MAX_KNOWN = 200  # names a wrong one is compared with, each time
_MERGE = "tag:yaml.org,2002:merge"
_LONGEST_WORD = 80  # of a message or a hint


def compose(text: str, where: str) -> yaml.Node | None:
    """Return the root node of YAML text; None if it is empty.

    Raises:
        ConfigError: The text is not YAML, or larger, deeper or of more parts than any
            configuration.
    """
    if len(text) > MAX_TEXT:
        raise ConfigError(f"{where}: {len(text)} letters are more than the {MAX_TEXT} allowed")
    try:
        _bound(text, where)
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise ConfigError(f"{where}{line}: {' '.join(str(problem).split())}") from error
    return root


def _bound(text: str, where: str) -> None:
    """Raise for a text that is too deep or has too many parts, before it is built."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        mark = event.start_mark
        line = mark.line + 1 if mark is not None else 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}:{line}: deeper than {MAX_DEPTH} levels")
        if count > MAX_PARTS:
            raise ConfigError(f"{where}:{line}: more than {MAX_PARTS} keys and values")
        if not is_text(getattr(event, "value", "")):  # an escape such as "\\ud800"
            raise ConfigError(f"{where}:{line}: holds a letter that no text can have")


class YamlReader:
    """Reader of one file; keeps the line of every key for later errors.

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
        self._faults: list[ConfigError] = []
        self._parts = 0
        self.hints: list[str] = []
        """Earlier keys that were read, each with its present name."""

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep an error for `finish` and continue, so that one reading finds all of them."""
        try:
            yield
        except ConfigError as error:
            if self._parts > MAX_PARTS:
                raise
            self._faults.append(error)

    def finish(self) -> None:
        """Raise all kept errors in one.

        Raises:
            ConfigError: There is at least one.
        """
        messages = [message for fault in self._faults for message in fault.messages]
        if len(messages) > _MAX_FAULTS:
            more = f"{self._where}: {len(messages) - _MAX_FAULTS} more errors"
            messages = [*messages[:_MAX_FAULTS], more]
        if messages:
            raise ConfigError(*messages)

    def value(self, node: yaml.Node, kind: Any, path: str) -> Any:
        """Return the plain value of `node`, checked against `kind`."""
        self._lines[path] = node.start_mark.line + 1
        self._parts += 1
        if self._parts > MAX_PARTS:  # a few aliases of aliases stand for millions of parts
            raise self.error(path, f"{path}: more than {MAX_PARTS} keys and values")
        kind = self._bare(kind, node, path)
        if _is_section(kind):
            return self._section(node, kind, path)
        if get_origin(kind) is dict:
            return self._table(node, get_args(kind), path)
        if get_origin(kind) is tuple and isinstance(node, yaml.SequenceNode):
            return self._row(node, get_args(kind), path)
        # YAML reads a bare `on`, `off` or `12` as no text; a name is taken as written.
        plain = node.value if _is_text(kind, node) else self._plain(node, path)
        if path.rpartition(".")[2] in SECRETS and isinstance(plain, str):
            plain = self._with_secrets(plain, path)
            if path.rpartition(".")[2] in WHOLLY_SECRET:
                register_secret(plain)
        try:
            msgspec.convert(plain, kind)
        except msgspec.ValidationError as error:
            raise self.error(path, f"{path}: {_reason(error, plain, kind)}") from error
        return plain

    def _section(self, node: yaml.Node, kind: type[msgspec.Struct], path: str) -> Any:
        fields = keys_of(kind)
        tag = kind.__struct_config__.tag_field
        found: dict[str, Any] = {}
        faults = len(self._faults)
        given = self._present_keys(self._pairs(node, path), kind, path)
        for key, child in given:
            here = f"{path}.{key}" if path else key
            with self.collecting():
                if key == tag:
                    found[key] = child.value
                elif key not in fields:
                    self._lines[here] = child.start_mark.line + 1
                    raise self.error(here, f"unknown key {_cut(here)!r}{nearest(key, fields)}")
                elif not _is_empty(child):
                    found[key] = self.value(child, fields[key].type, here)
                elif type(None) in get_args(fields[key].type):
                    found[key] = None  # written, not left out: it switches a default off
        names = {key for key, child in given if key in found or not _is_empty(child)}
        for name, field in fields.items():
            if field.required and name not in names:
                with self.collecting():
                    raise self.error(path, f"{path}: the key {name!r} is missing")
        # Keys that are valid alone may contradict each other.
        if hasattr(kind, "__post_init__") and len(self._faults) == faults:
            try:
                msgspec.convert(found, kind)
            except (msgspec.ValidationError, ConfigError) as error:
                raise self.error(path, f"{path}: {_readable(error)}") from error
        return found

    def _present_keys(
        self, given: list[tuple[str, yaml.Node]], kind: type[msgspec.Struct], path: str
    ) -> list[tuple[str, yaml.Node]]:
        """Return the keys of a section with earlier names replaced by the present ones."""
        present_of: Mapping[str, str] = getattr(kind, "earlier_keys", {})
        keys = {key for key, _ in given}
        present = []
        for key, child in given:
            name = present_of.get(key, key)
            if name != key:
                line = child.start_mark.line + 1
                here = f"{path}.{key}" if path else key
                if name in keys:
                    raise self._error_at(line, f"{here}: {name} is given as well; remove {key}")
                self.hints.append(f"{self._where}:{line}: {here} is named {name} now")
            present.append((name, child))
        return present

    def _table(self, node: yaml.Node, kinds: tuple[Any, ...], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, child in self._pairs(node, path):
            here = f"{path}.{key}"
            self._lines[here] = child.start_mark.line + 1
            with self.collecting():
                self._check_name(key, kinds[0], here)
                found[key] = self.value(child, kinds[1], here)
        return found

    def _check_name(self, key: str, kind: Any, here: str) -> None:
        if is_reserved(key):
            raise self.error(here, f"{here}: the name {key!r} is reserved")
        try:
            msgspec.convert(key, kind)
        except msgspec.ValidationError as error:
            raise self.error(here, f"{_cut(here)}: {_reason(error, key, kind)}") from error

    def _row(self, node: yaml.SequenceNode, kinds: tuple[Any, ...], path: str) -> list[Any]:
        kind_of = kinds[:1] * len(node.value) if kinds[-1] is Ellipsis else kinds
        if len(kind_of) != len(node.value):
            raise self.error(path, f"{path}: needs {len(kind_of)} values, got {len(node.value)}")
        if path.endswith(".roi") and (hint := pixels_hint(_numbers_in(node))):
            raise self.error(path, f"{path}: needs fractions of the frame, 0 to 1{hint}")
        found = []
        for at, (child, kind) in enumerate(zip(node.value, kind_of, strict=True)):
            with self.collecting():
                found.append(self.value(child, kind, f"{path}[{at}]"))
        return found

    def _pairs(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node]]:
        if _is_empty(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            raise self.error(path, f"{path or 'the file'}: needs `key: value` lines")
        pairs: dict[str, yaml.Node] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error_at(line, f"{path or 'the file'}: a key must be a word")
            key = str(key_node.value)
            here = f"{path}.{key}" if path else key
            if key_node.tag == _MERGE:
                raise self._error_at(line, f"{here}: merge keys are not read; write the keys out")
            if key in pairs:
                raise self._error_at(line, f"the key {_cut(here)!r} is given twice")
            pairs[key] = child
        return list(pairs.items())

    def _with_secrets(self, text: str, path: str) -> str:
        def value_of(match: re.Match[str]) -> str:
            if match[1] not in self._environ:
                raise self.error(
                    path,
                    f"{path}: the environment has no {match[1]}; set it: {match[1]}=... before the "
                    "command, or a line of secrets.env of the service",
                )
            register_secret(self._environ[match[1]])
            return self._environ[match[1]]

        return re.sub(r"\$\{(\w+)\}", value_of, text)

    def _bare(self, kind: Any, node: yaml.Node, path: str) -> Any:
        """Return the struct of a tagged union that `node` selects, else `kind` itself."""
        members = [member for member in get_args(kind) if member is not type(None)]
        if get_origin(kind) in (tuple, dict) or not all(map(_is_section, members)):
            return kind
        of_tag = {member.__struct_config__.tag: member for member in members}
        if not of_tag:
            return kind
        tag = dict(self._pairs(node, path)).get("kind")
        if tag is None:
            raise self.error(path, f"{path}: the key 'kind' is missing")
        if not isinstance(tag, yaml.ScalarNode):
            raise self._error_at(tag.start_mark.line + 1, f"{path}.kind: must be one word")
        if tag.value in of_tag:
            return of_tag[tag.value]
        try:
            section = self._section_of(tag.value)
        except ConfigError as error:
            raise self.error(path, f"{path}: {error}") from error
        if section is None:
            raise self.error(
                path, f"{path}: unknown kind {_cut(tag.value)!r}{nearest(tag.value, of_tag)}"
            )
        return section

    def _plain(self, node: yaml.Node, path: str) -> Any:
        try:
            return yaml.SafeLoader("").construct_object(node, deep=True)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or str(error)
            raise self.error(path, f"{path}: {problem}") from error
        except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError) as error:
            # The constructor of a tag, as in `!!int ""`, does not check what it is given.
            problem = f"{_cut(str(node.value))!r} is no {node.tag.rpartition(':')[2]}"
            raise self.error(path, f"{path}: {problem}") from error

    def places(self) -> dict[str, str]:
        """Return FILE:LINE of every key that was read, by its path."""
        return {path: f"{self._where}:{line}" for path, line in self._lines.items() if path}

    def error(self, path: str, message: str) -> ConfigError:
        """Return an error with the line of the key at `path`."""
        return self._error_at(self._lines.get(path), message)

    def _error_at(self, line: int | None, message: str) -> ConfigError:
        one_line = " ".join(message.split())  # a key may hold line ends
        return ConfigError(f"{self._where}{f':{line}' if line else ''}: {one_line}")


def _numbers_in(node: yaml.SequenceNode) -> tuple[float, ...]:
    """Return the numbers of a list; what is none is left out."""
    found = []
    for child in node.value:
        with suppress(ValueError, TypeError):
            found.append(float(child.value))
    return tuple(found)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WORD else f"{text[:_LONGEST_WORD]}..."


def _reason(error: msgspec.ValidationError, plain: object, kind: Any) -> str:
    """Return the reason against a value; a pattern in words, where its kind has a description."""
    text = str(error)
    if " matching regex" not in text:
        return f"{in_words(error)}{nearest(plain, _words_of(kind))}"
    rule = _rule_of(kind) or text.partition(" matching regex")[0].replace("`", "")
    return f"{rule}, got {_cut(str(plain))!r}"


def _rule_of(kind: Any) -> str:
    """Return the description of a kind of text; empty without one."""
    for item in (kind, *get_args(kind)):
        for note in getattr(item, "__metadata__", ()):
            if isinstance(note, msgspec.Meta) and note.description:
                return note.description
    return ""


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _words_of(kind: Any) -> list[str]:
    """Return the words of an enumeration; none for other kinds."""
    is_choice = isinstance(kind, type) and issubclass(kind, Enum)
    return [str(member.value) for member in kind] if is_choice else []


def nearest(word: object, known: Iterable[str]) -> str:
    """Return a hint with the nearest of the known words, or all of them."""
    known = list(islice(known, _MAX_KNOWN))
    if not known:
        return ""
    near = difflib.get_close_matches(_cut(str(word)), known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


def _readable(error: Exception) -> str:
    return in_words(error) if isinstance(error, msgspec.MsgspecError) else str(error)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_text(kind: Any, node: yaml.Node) -> bool:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    wants_text = str in [get_args(item)[0] if get_args(item) else item for item in members]
    return wants_text and isinstance(node, yaml.ScalarNode) and not _is_empty(node)
