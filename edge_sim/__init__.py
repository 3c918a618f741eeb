"""edge_sim: the state of what a fixed camera watches, from a few reference pictures.

    import edge_sim

    with edge_sim.build(edge_sim.load_config("config.yaml")) as device:
        for event in device.events():
            if isinstance(event, edge_sim.StateChanged):
                print(event.watch, event.before, "->", event.after)

Names are imported when first used, so that `import edge_sim` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edge_sim.version import __version__ as __version__

if TYPE_CHECKING:
    from edge_sim.assembly import Device, build
    from edge_sim.comparison import PictureComparison, compare
    from edge_sim.config import Config, load_config
    from edge_sim.domain import Embedding, Frame, Reference, Roi
    from edge_sim.embedders import open_embedder
    from edge_sim.errors import (
        ConfigError,
        DataError,
        EdgeSimError,
        GalleryError,
        ModelError,
        SinkError,
        SourceError,
    )
    from edge_sim.events import StateChanged
    from edge_sim.gallery import Gallery
    from edge_sim.gallery_store import GalleryStore
    from edge_sim.sources import open_source
    from edge_sim.sources.pictures import read_picture

_MODULE_OF = {
    "PictureComparison": "comparison",
    "Config": "config",
    "ConfigError": "errors",
    "DataError": "errors",
    "Device": "assembly",
    "EdgeSimError": "errors",
    "Embedding": "domain",
    "Frame": "domain",
    "Gallery": "gallery",
    "GalleryError": "errors",
    "GalleryStore": "gallery_store",
    "ModelError": "errors",
    "Reference": "domain",
    "Roi": "domain",
    "SinkError": "errors",
    "SourceError": "errors",
    "StateChanged": "events",
    "build": "assembly",
    "compare": "comparison",
    "load_config": "config",
    "open_embedder": "embedders",
    "open_source": "sources",
    "read_picture": "sources.pictures",
}

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Device",
    "EdgeSimError",
    "Embedding",
    "Frame",
    "Gallery",
    "GalleryError",
    "GalleryStore",
    "ModelError",
    "PictureComparison",
    "Reference",
    "Roi",
    "SinkError",
    "SourceError",
    "StateChanged",
    "build",
    "compare",
    "load_config",
    "open_embedder",
    "open_source",
    "read_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'edge_sim' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edge_sim.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
