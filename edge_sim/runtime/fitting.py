"""Fitting of galleries beside the loop, which goes on meanwhile.

Reading and fitting 5,000 references takes seconds. A device with many references does it in a
thread of its own, and takes the result over between two frames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_sim.decision.pipeline import Watch, WatchFit
from edge_sim.gallery.store import GalleryStore

T = TypeVar("T")
FITTED_AT_ONCE = 250
"""References that are fitted between two frames, in some tenths of a second: a lesson is in force
when its answer comes. More are fitted in a thread."""
LOCKED_S = 1.0
"""Longest wait for a gallery that another process is writing, seconds: no frame is processed
meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class GalleryFits:
    """Fits of the watches of a device.

    Args:
        revision: Revision of the gallery file.
        of_watch: Fit by name of the watch.
    """

    revision: int
    of_watch: Mapping[str, WatchFit]


def read_fits(path: Path, watches: Mapping[str, Watch], model_id: str) -> GalleryFits:
    """Return the fits of the watches for the present references in a gallery file.

    Args:
        path: Path of the gallery file, opened here: a connection belongs to one thread.
        watches: Watches by name; none of them is changed.
        model_id: Model in use.

    Raises:
        GalleryError: The file cannot be read, or is of another model.
    """
    with GalleryStore.open(path, read_only=True, timeout_s=LOCKED_S) as store:
        fits = {
            name: watch.fit(store.gallery(name, model_id=model_id))
            for name, watch in watches.items()
        }
        return GalleryFits(store.revision, fits)


def call(job: Callable[[], T]) -> T:
    """Return the result of `job`, run here and now."""
    return job()


def fitted(read: Callable[[], T], references: int, wake: Callable[[], object]) -> Future[T]:
    """Return the future result of `read`: done already where there are few references.

    Args:
        read: Reading and fitting of a gallery.
        references: Number of references in the file.
        wake: Function that is called when the result of a thread is there.
    """
    if references > FITTED_AT_ONCE:
        return in_thread(read, wake)
    future: Future[T] = Future()
    _fulfil(future, read)
    return future


def in_thread(job: Callable[[], T], wake: Callable[[], object]) -> Future[T]:
    """Return the future result of `job`, run in a thread that the end of the process ends.

    Where the system gives no thread, the job is run at once.

    Args:
        job: Function that is called once.
        wake: Function that is called from the thread once the result is there.
    """
    future: Future[T] = Future()

    def run() -> None:
        _fulfil(future, job)
        wake()

    try:
        threading.Thread(target=run, name="fitting", daemon=True).start()
    except RuntimeError:
        run()
    return future


def _fulfil(future: Future[T], job: Callable[[], T]) -> None:
    try:
        future.set_result(job())
    except Exception as error:  # noqa: BLE001 - raised by the future
        future.set_exception(error)
