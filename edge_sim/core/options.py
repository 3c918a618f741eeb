"""Options of a part: one struct for its arguments and for its section of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, get_args

import msgspec

SECRETS = frozenset({"uri", "url", "password", "secret", "token"})
"""Keys whose values may hold `${NAME}` and are masked in texts."""
WHOLLY_SECRET = SECRETS - {"uri", "url"}
"""Keys whose whole value is a secret."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
# `$` alone would let a line end through; `\Z` is unknown to JSON schema.
Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)",
        description="a name has 1 to 64 letters, digits, _ or -",
    ),
]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Megabytes = Annotated[float, msgspec.Meta(ge=0)]

_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "bytes": "bytes",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "keys with values",
    "str": "text",
}


def in_words(error: Exception) -> str:
    """Return the message of a decoder for people: `needs a list, got text`.

    Args:
        error: Error of `msgspec`, whose message names the kinds of JSON.
    """
    text, _, place = str(error).partition(" - at ")
    text = re.sub(r"^Object contains unknown field `(.*)`", r"unknown key '\1'", text)
    text = re.sub(r"^Object missing required field `(.*)`", r"the key '\1' is missing", text)
    text = re.sub(r"`([a-z]+)( \| [a-z]+)*`", _kinds_in_words, text)
    text = re.sub(r"^Expected ([^,]+?) (>=|>|<=|<) ", _limit_in_words, text)
    text = text.replace("Invalid enum value", "unknown value", 1)
    text = text.replace("Expected ", "needs ", 1).replace("`", "")
    where = place.strip("`").removeprefix("$").lstrip(".")
    return f"{text} (at {where})" if where else text


def _kinds_in_words(match: re.Match[str]) -> str:
    names = match[0].strip("`").split(" | ")
    return " or ".join(_KINDS.get(name, name) for name in names)


def _limit_in_words(match: re.Match[str]) -> str:
    limit = {">=": "of at least", ">": "above", "<=": "of at most", "<": "below"}[match[2]]
    kind, of_length, _ = match[1].partition(" of length")
    return f"needs {kind} {'with a length ' if of_length else ''}{limit} "


INTERNAL = msgspec.Meta(extra={"internal": True}, extra_json_schema={"internal": True})
"""Marks a field that the program sets: no key of the configuration."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one part; secrets do not show in their text."""

    earlier_keys: ClassVar[Mapping[str, str]] = {}
    """Keys of earlier configurations, which are still read, and their present names."""

    def __repr__(self) -> str:
        shown = [
            f"{key}={'***' if key in SECRETS and value else repr(value)}"
            for key, value in msgspec.structs.asdict(self).items()
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def keys_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the keys of a section of the configuration: name -> field."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    return {name: field for name, field in fields.items() if not _is_internal(field.type)}


def json_schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a section of the configuration, without internal fields.

    Every key has a title, its description from the docstring of its section, and, where its name
    ends with one, its `unit`. A section has the first sentence of its docstring.
    """
    schema = msgspec.json.schema(kind)
    structs = {found.__name__: found for found in structs_in(kind)}
    described = {name: descriptions_of(found) for name, found in structs.items()}
    for name, part in schema["$defs"].items():
        if "description" in part:
            part["description"] = " ".join(part["description"].partition("\n\n")[0].split())
        shown = part.get("properties", {})
        for key in [key for key, field in shown.items() if field.get("internal")]:
            del shown[key]
        for key, field in shown.items():
            field["title"] = _title_of(key)
            if text := described.get(name, {}).get(key):
                field["description"] = text
            elif name in structs and key == structs[name].__struct_config__.tag_field:
                field["description"] = f"Kind: {part['description']}"
            if unit := _unit_of(key):
                field["unit"] = unit
    return schema


def descriptions_of(kind: type) -> dict[str, str]:
    """Return the descriptions of the fields of a class, from `Args:` of its and its bases' docs."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        name = ""
        _, mark, after = (each.__dict__.get("__doc__") or "").partition("Args:\n")
        for line in after.splitlines() if mark else ():
            indent, text = len(line) - len(line.lstrip()), line.strip()
            if not text or indent <= 4:
                break
            start = _ARGUMENT.match(text) if indent == 8 else None
            if start:
                name = start[1]
                found[name] = start[2]
            elif name:
                found[name] = f"{found[name]} {text}".strip()
    return {key: re.sub(r"\bNone\b", "null", text) for key, text in found.items()}


_ARGUMENT = re.compile(r"(\w+): (.*)")
_UNITS = {
    "_mb_per_day": "MB per day",
    "_per_s": "per second",
    "_days": "days",
    "_mb": "MB",
    "_px": "pixels",
    "_s": "seconds",
    "width": "pixels",
    "height": "pixels",
    "rotate": "degrees",
    "fps": "frames per second",
}


def _title_of(key: str) -> str:
    words = key.replace("_", " ")
    return f"{words}econd" if words.endswith(" per s") else words.removesuffix(" s")


def _unit_of(key: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")


def structs_in(kind: Any) -> set[type[msgspec.Struct]]:
    """Return all structs that values of a kind may hold."""
    found: set[type[msgspec.Struct]] = set()
    waiting = [kind]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            if each not in found:
                found.add(each)
                waiting += [field.type for field in msgspec.structs.fields(each)]
        else:
            waiting += get_args(each)
    return found


def _is_internal(kind: Any) -> bool:
    extra = [item.extra or {} for item in get_args(kind) if isinstance(item, msgspec.Meta)]
    return any(item.get("internal") for item in extra)
