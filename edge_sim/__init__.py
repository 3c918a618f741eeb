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
    from edge_sim.core.events import StateChanged, register_event
    from edge_sim.core.types import Embedding, Frame, Observation, Reference, Roi, State
    from edge_sim.decision.followers import register_follower
    from edge_sim.errors import (
        ConfigError,
        DataError,
        EdgeSimError,
        EventRejectedError,
        GalleryError,
        ModelError,
        PictureError,
        PictureRejectedError,
        SearchError,
        SinkError,
        SourceError,
    )
    from edge_sim.gallery.enrolment import (
        Accepted,
        EnrolmentReport,
        Rejected,
        enrol_pictures,
        make_reference,
    )
    from edge_sim.gallery.gallery import Gallery
    from edge_sim.gallery.store import GalleryStore
    from edge_sim.io.sinks import register_sink
    from edge_sim.io.sources import open_source, register_source
    from edge_sim.io.sources.options import SourceOptions
    from edge_sim.io.sources.pictures import read_picture
    from edge_sim.runtime.assembly import Device, build
    from edge_sim.runtime.config import Config, load_config, parse_config
    from edge_sim.runtime.watcher import Watcher
    from edge_sim.vision.compare import PictureComparison, compare
    from edge_sim.vision.embedders import open_embedder
    from edge_sim.vision.locate import NovelRegion, locate

_MODULE_OF = {
    "Accepted": "gallery.enrolment",
    "Config": "runtime.config",
    "ConfigError": "errors",
    "DataError": "errors",
    "Device": "runtime.assembly",
    "EdgeSimError": "errors",
    "Embedding": "core.types",
    "EnrolmentReport": "gallery.enrolment",
    "EventRejectedError": "errors",
    "Frame": "core.types",
    "Gallery": "gallery.gallery",
    "GalleryError": "errors",
    "GalleryStore": "gallery.store",
    "ModelError": "errors",
    "NovelRegion": "vision.locate",
    "Observation": "core.types",
    "PictureComparison": "vision.compare",
    "PictureError": "errors",
    "PictureRejectedError": "errors",
    "Reference": "core.types",
    "Rejected": "gallery.enrolment",
    "Roi": "core.types",
    "SearchError": "errors",
    "SinkError": "errors",
    "SourceError": "errors",
    "SourceOptions": "io.sources.options",
    "State": "core.types",
    "StateChanged": "core.events",
    "Watcher": "runtime.watcher",
    "build": "runtime.assembly",
    "compare": "vision.compare",
    "enrol_pictures": "gallery.enrolment",
    "load_config": "runtime.config",
    "locate": "vision.locate",
    "make_reference": "gallery.enrolment",
    "open_embedder": "vision.embedders",
    "open_source": "io.sources",
    "parse_config": "runtime.config",
    "read_picture": "io.sources.pictures",
    "register_event": "core.events",
    "register_follower": "decision.followers",
    "register_sink": "io.sinks",
    "register_source": "io.sources",
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
    "EventRejectedError",
    "Frame",
    "Gallery",
    "GalleryError",
    "GalleryStore",
    "ModelError",
    "NovelRegion",
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
    "locate",
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
