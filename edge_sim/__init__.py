"""edge_sim: the state of what a fixed camera watches, from a few reference pictures.

    import edge_sim

    with edge_sim.build(edge_sim.load_config("config.yaml"), sinks=()) as device:
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
    from edge_sim import events, protocols
    from edge_sim.assembly import Device, build
    from edge_sim.comparison import PictureComparison, compare
    from edge_sim.config import Config, load_config, parse_config
    from edge_sim.domain import Embedding, Frame, Observation, Reference, Roi, State
    from edge_sim.embedders import open_embedder
    from edge_sim.enrolment import (
        Accepted,
        EnrolmentReport,
        Rejected,
        enrol_pictures,
        make_reference,
    )
    from edge_sim.errors import (
        ConfigError,
        DataError,
        EdgeSimError,
        EventRefusedError,
        GalleryError,
        ModelError,
        PictureError,
        PictureRejectedError,
        SearchError,
        SinkError,
        SourceError,
    )
    from edge_sim.events import StateChanged, register_event
    from edge_sim.followers import register_follower
    from edge_sim.gallery import Gallery
    from edge_sim.gallery_store import GalleryStore
    from edge_sim.sinks import register_sink
    from edge_sim.sources import SourceOptions, open_source, register_source
    from edge_sim.sources.pictures import read_picture
    from edge_sim.watcher import Watcher

_MODULE_OF = {
    "Accepted": "enrolment",
    "Config": "config",
    "ConfigError": "errors",
    "DataError": "errors",
    "Device": "assembly",
    "EdgeSimError": "errors",
    "Embedding": "domain",
    "EnrolmentReport": "enrolment",
    "EventRefusedError": "errors",
    "Frame": "domain",
    "Gallery": "gallery",
    "GalleryError": "errors",
    "GalleryStore": "gallery_store",
    "ModelError": "errors",
    "Observation": "domain",
    "PictureComparison": "comparison",
    "PictureError": "errors",
    "PictureRejectedError": "errors",
    "Reference": "domain",
    "Rejected": "enrolment",
    "Roi": "domain",
    "SearchError": "errors",
    "SinkError": "errors",
    "SourceError": "errors",
    "SourceOptions": "sources",
    "State": "domain",
    "StateChanged": "events",
    "Watcher": "watcher",
    "build": "assembly",
    "compare": "comparison",
    "enrol_pictures": "enrolment",
    "load_config": "config",
    "make_reference": "enrolment",
    "open_embedder": "embedders",
    "open_source": "sources",
    "parse_config": "config",
    "read_picture": "sources.pictures",
    "register_event": "events",
    "register_follower": "followers",
    "register_sink": "sinks",
    "register_source": "sources",
}
_MODULES = ("events", "protocols")

__all__ = [
    "Accepted",
    "Config",
    "ConfigError",
    "DataError",
    "Device",
    "EdgeSimError",
    "Embedding",
    "EnrolmentReport",
    "EventRefusedError",
    "Frame",
    "Gallery",
    "GalleryError",
    "GalleryStore",
    "ModelError",
    "Observation",
    "PictureComparison",
    "PictureError",
    "PictureRejectedError",
    "Reference",
    "Rejected",
    "Roi",
    "SearchError",
    "SinkError",
    "SourceError",
    "SourceOptions",
    "State",
    "StateChanged",
    "Watcher",
    "build",
    "compare",
    "enrol_pictures",
    "events",
    "load_config",
    "make_reference",
    "open_embedder",
    "open_source",
    "parse_config",
    "protocols",
    "read_picture",
    "register_event",
    "register_follower",
    "register_sink",
    "register_source",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"edge_sim.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'edge_sim' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edge_sim.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
