"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge_sim.config_yaml import SECRETS

Seconds = Annotated[float, msgspec.Meta(ge=0)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
# `$` alone would let a line end through; `\Z` is unknown to JSON schema.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Megabytes = Annotated[float, msgspec.Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every section of the configuration is one of these; secrets do not show in its text."""

    def __repr__(self) -> str:
        shown = [
            f"{key}={'***' if key in SECRETS and value else repr(value)}"
            for key, value in msgspec.structs.asdict(self).items()
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
