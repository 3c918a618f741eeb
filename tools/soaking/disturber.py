"""Disturbances of a running device by people and by its disk."""

from __future__ import annotations

import contextlib
import queue
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edge_sim.errors import EdgeSimError
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sinks.capabilities import Teach
from edge_sim.runtime.daemon.daemon import Daemon
from soaking.camera import Camera
from soaking.device import WATCH_OF

_LOCKED_S = 0.3


class Disturber:
    """Thread that makes one disturbance per call of `next`.

    Args:
        daemon: Daemon to disturb.
        cameras: Source -> camera.
        folder: Folder of configuration and gallery.
        write_config: Function that writes the configuration; a source named `reopened` differs.
        seed: Seed of everything random.
    """

    def __init__(
        self,
        daemon: Daemon,
        cameras: dict[str, Camera],
        folder: Path,
        *,
        write_config: Callable[..., Path],
        seed: int,
    ) -> None:
        self.done: Counter[str] = Counter()
        self._daemon = daemon
        self._cameras = cameras
        self._folder = folder
        self._write_config = write_config
        self._rng = random.Random(seed)
        self._turns: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def next(self) -> None:
        """Do the next thing soon."""
        self._turns.put(True)

    def close(self) -> None:
        """End the thread."""
        self._turns.put(False)
        self._thread.join(30.0)

    def _run(self) -> None:
        deeds: tuple[Callable[[], None], ...] = (
            self._reload,
            self._reload_nonsense,
            self._reopen_source,
            self._teach_and_undo,
            self._teach_nonsense,
            self._edit_gallery,
            self._lock_gallery,
            self._lock_outbox,
        )
        while self._turns.get():
            deed = self._rng.choice(deeds)
            self.done[deed.__name__.lstrip("_")] += 1
            # Rejected disturbances, or late ones on a busy machine, do not end the soak.
            with contextlib.suppress(EdgeSimError, sqlite3.Error):
                deed()

    def _reload(self) -> None:
        self._write_config()
        self._daemon.request_reload()

    def _reload_nonsense(self) -> None:
        (self._folder / "config.yaml").write_text("watches: {w0: {souce: c0}}\n")
        self._daemon.request_reload()

    def _reopen_source(self) -> None:
        source = self._rng.choice(tuple(self._cameras))
        self._write_config(reopened=source)
        self._daemon.request_reload()

    def _teach_and_undo(self) -> None:
        source = self._rng.choice(tuple(self._cameras))
        self._daemon.teach(Teach(WATCH_OF[source], self._cameras[source].state))
        with GalleryStore.open(self._folder / "gallery.db") as store:
            store.undo()

    def _teach_nonsense(self) -> None:
        self._daemon.teach(Teach("nobody", "nothing", "0" * 16))

    def _edit_gallery(self) -> None:
        with GalleryStore.open(self._folder / "gallery.db") as store:
            gone = self._rng.choice(store.records(watch="w0"))
            store.remove([gone.reference_id])
            store.undo()

    def _lock_gallery(self) -> None:
        self._lock("gallery.db")

    def _lock_outbox(self) -> None:
        self._lock("outbox.db")

    def _lock(self, name: str) -> None:
        with contextlib.closing(sqlite3.connect(self._folder / name, timeout=2.0)) as other:
            other.execute("BEGIN IMMEDIATE")
            threading.Event().wait(_LOCKED_S)
            other.rollback()
