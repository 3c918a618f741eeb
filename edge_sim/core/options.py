"""Options of a part: one struct for its arguments and for its section of the configuration."""

from __future__ import annotations

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
    """Return the JSON schema of a section of the configuration, without internal fields."""
    schema = msgspec.json.schema(kind)
    for part in schema["$defs"].values():
        shown = part.get("properties", {})
        for name in [name for name, field in shown.items() if field.get("internal")]:
            del shown[name]
    return schema


def _is_internal(kind: Any) -> bool:
    extra = [item.extra or {} for item in get_args(kind) if isinstance(item, msgspec.Meta)]
    return any(item.get("internal") for item in extra)
