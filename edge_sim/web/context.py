"""Parts that the handlers of the web server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from edge_sim.gallery.database import BUSY_TIMEOUT_S
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.web.sessions import Sessions
from edge_sim.web.workers import Workers

if TYPE_CHECKING:
    from edge_sim.web.stream import Broadcast


@dataclass(slots=True, eq=False, kw_only=True)
class ServerContext:
    """Sessions and threads of a server, that of a device or that of a collection.

    Args:
        sessions: Sessions of people who have logged in.
        workers: Threads for handlers that wait.
        shared: Objects that a part of the API keeps between requests, by a name of its own.
    """

    sessions: Sessions
    workers: Workers = field(default_factory=Workers)
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def described(self) -> dict[str, Any]:
        """Name of the server and what its page offers, for people who have logged in."""
        raise NotImplementedError


@dataclass(slots=True, eq=False, kw_only=True)
class WebContext(ServerContext):
    """Device, sessions and what requests share.

    Args:
        device: Access to the daemon.
        broadcast: Sender of the stream of the page.
    """

    device: DeviceAccess
    broadcast: Broadcast

    @property
    def described(self) -> dict[str, Any]:
        """Name of the device, and whether it has a collection of pictures."""
        has_collection = self.config.web.collection is not None
        return {"device": self.device.board.device, "collection": has_collection}

    @property
    def config(self) -> Config:
        """Configuration in force."""
        return self.device.config

    def open_gallery(self, timeout_s: float = BUSY_TIMEOUT_S) -> GalleryStore:
        """Return the gallery of the device, open for changes.

        Args:
            timeout_s: Longest wait for another process that is writing, seconds.

        Raises:
            GalleryError: There is none, or it cannot be used.
        """
        path = self.config.path(self.config.gallery.path)
        return GalleryStore.open(path, timeout_s=timeout_s)

    def watch(self, name: str) -> WatchConfig:
        """Return the configuration of a watch.

        Raises:
            HTTPException: There is no such watch.
        """
        watch = self.config.watches.get(name)
        if watch is None:
            hint = nearest(name, self.config.watches)
            raise HTTPException(404, f"there is no watch {name[:64]!r}{hint}")
        return watch

    def visible_watch(self, name: str) -> WatchConfig:
        """Return the configuration of a watch whose pictures may be shown.

        Raises:
            HTTPException: There is no such watch, or it is private.
        """
        watch = self.watch(name)
        if watch.private:
            raise HTTPException(403, f"watch {name} is private: the page shows no picture of it")
        return watch
