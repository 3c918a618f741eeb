"""Reading the configuration for a verb: the process environment and overrides meet it here."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_sim.config import Config, load_config
from edge_sim.errors import ConfigError
from edge_sim.sources import anchored


def load(path: Path, *, source: str | None = None) -> Config:
    """Return the configuration in `path`, with the uri of its only source replaced by `source`.

    Raises:
        ConfigError: As in `load_config`, or `source` is given for several sources.
    """
    config = load_config(path)
    if source is None:
        return config
    if len(config.sources) != 1:
        raise ConfigError(
            f"{path}: --source replaces the only source, but there are {len(config.sources)}"
        )
    ((name, present),) = config.sources.items()
    # Typed by the user, so relative to where the user is, not to the file.
    uri = anchored(source, str(Path.cwd()))
    return msgspec.structs.replace(
        config, sources={name: msgspec.structs.replace(present, uri=uri)}
    )
