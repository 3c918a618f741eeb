"""Build of an index by workers that may be lost, on whatever cluster.

The process that holds the index lists the pictures, hands them out in small tasks, and alone writes
the rows that come back, a task per transaction. So each picture is in the index exactly once: of a
task that was lost nothing is written, and of one that was done twice the first result counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from edge_sim.core.protocols import Embedder
from edge_sim.errors import ModelError, SearchError
from edge_sim.search.build import UpdateReport, embedded_file
from edge_sim.search.listing import Listing
from edge_sim.search.rows import EmbeddedFile, IndexPlan, Known, Unread
from edge_sim.search.storage import UNKNOWN, PictureStorage, StoredPicture, open_storage
from edge_sim.version import __version__
from edge_sim.vision.embedders import open_embedder

TASK_PICTURES = 64
"""Pictures per task and per transaction: the most that a lost worker does again."""
MOST_LOSSES = 3
"""Losses of workers on a task after which its pictures are tried one by one, then left unread."""
Row = EmbeddedFile | Known


@dataclass(frozen=True, slots=True)
class EmbeddingOrder:
    """All that a worker needs to know; it travels to other machines.

    Args:
        storage: Path or URL of the pictures.
        plan: Settings of the index.
        version: Version of edge_sim.
    """

    storage: str
    plan: IndexPlan
    version: str = __version__


@dataclass(frozen=True, slots=True)
class EmbeddingTask:
    """Pictures that a worker embeds in one call.

    Args:
        number: Number of the task.
        pictures: The pictures.
        losses: Number of workers that were lost on it.
    """

    number: int
    pictures: tuple[StoredPicture, ...]
    losses: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TaskResult:
    """End of a task.

    Args:
        number: Number of the task.
        rows: Rows of its pictures, in their order.
        lost: Reason for which there are none.
        is_cause: Whether the worker was at this task when it was lost, not at one before it.
    """

    number: int
    rows: Sequence[Row] = ()
    lost: str | None = None
    is_cause: bool = True


class WorkerPool(Protocol):
    """Workers that embed pictures, anywhere; adapters are kept apart from what decides."""

    @property
    def room(self) -> int:
        """Number of tasks that may be submitted now."""

    def submit(self, task: EmbeddingTask) -> None:
        """Hand out a task."""

    def wait(self) -> Sequence[TaskResult]:
        """Wait for something to happen; return the tasks that ended, perhaps none.

        Raises:
            SearchError: There are no workers, and none comes.
            ModelError: The workers have another model.
        """


class RowSink(Protocol):
    """Place for the rows of a build."""

    def present(self) -> Iterable[Known]:
        """Return the entries that are there already."""

    def remove(self, changed: Iterable[Path], gone: Iterable[Path]) -> int:
        """Delete rows before others take their place; return the number of those that are gone."""

    def put(self, rows: Sequence[Row], progress: tuple[int, int]) -> None:
        """Write rows, all or none.

        Args:
            rows: The rows of one task.
            progress: Number of pictures that are done with these, and of how many.
        """

    def finish(self) -> None:
        """Write what is not written yet."""


class EmbeddingWorker:
    """Worker with a model of its own, in the process that a cluster gives it.

    Args:
        order: Work of the whole build.
    """

    def __init__(self, order: EmbeddingOrder) -> None:
        self._order = order
        self._opened: tuple[Embedder, PictureStorage] | None = None

    def prepare(self) -> str:
        """Open model and storage; return the reason why this is not possible, or an empty text.

        A text, because an error of this process may be unknown in the other one.
        """
        import cv2

        cv2.setNumThreads(1)
        if self._order.version != __version__:
            return f"edge_sim {__version__} is installed, not {self._order.version}"
        plan = self._order.plan
        try:
            embedder = open_embedder(plan.model)
            if embedder.model_id != plan.model_id:
                return f"the model is {embedder.model_id}, not {plan.model_id}"
            self._opened = embedder, open_storage(self._order.storage)
        except (ModelError, SearchError) as error:
            return str(error)
        return ""

    def embed(self, pictures: Sequence[StoredPicture]) -> list[Row]:
        """Return a row per picture, in their order; one that cannot be read is a `Known`."""
        if self._opened is None:
            raise ValueError("call prepare first")
        embedder, storage = self._opened
        found: list[Row] = []
        with ThreadPoolExecutor(storage.readers, thread_name_prefix="reader") as pool:
            rest = iter(pictures)
            ahead = deque(
                (item, pool.submit(storage.read, item))
                for item in islice(rest, 2 * storage.readers)
            )
            while ahead:
                item, reading = ahead.popleft()
                known = Known(item.path, item.size or _size(reading), item.mtime_ns)
                found.append(embedded_file(known, reading.result, embedder, self._order.plan))
                for later in islice(rest, 1):
                    ahead.append((later, pool.submit(storage.read, later)))
        return found


def _size(reading: Future[bytes]) -> int:
    try:
        return len(reading.result())
    except (OSError, ValueError):  # the row says why
        return UNKNOWN


Progress = Callable[[Iterator[Path], int], Iterable[Path]]


def build_on_workers(
    storage: PictureStorage,
    sink: RowSink,
    open_pool: Callable[[], AbstractContextManager[WorkerPool]],
    *,
    progress: Progress | None = None,
) -> UpdateReport:
    """Bring what a sink holds up to date with a storage.

    Args:
        storage: Place of the pictures.
        sink: Place of the rows.
        open_pool: Function that starts the workers; not called where there is nothing to do.
        progress: Wrapper of the finished paths and their number that shows the progress.

    Raises:
        SearchError: The storage cannot be read, there are no workers, or the disk is full.
        ModelError: The workers have another model.
    """
    report = UpdateReport()
    with Listing() as listing:
        twice = listing.add(storage.list())
        listing.add_present(sink.present())
        counts = listing.counts()
        report.unchanged, report.left_out = counts.unchanged, counts.left_out
        report.unread = [*storage.unread, *(Unread(*item) for item in listing.unread())]
        report.unread += [
            Unread(path, "is there several times; the last one counts") for path in twice
        ]
        closed = [item.path for item in storage.unread]
        report.gone = sink.remove(listing.changed(), listing.gone(closed))
        if counts.to_read:
            with open_pool() as pool:
                run = _TaskQueue(sink, pool, report, counts.to_read)
                with closing(run.embed(listing.to_read())) as done:
                    for _ in done if progress is None else progress(done, counts.to_read):
                        pass
        sink.finish()
    return report


class _TaskQueue:
    """Tasks of one build, until all of them have ended."""

    def __init__(self, sink: RowSink, pool: WorkerPool, report: UpdateReport, total: int) -> None:
        self._sink = sink
        self._pool = pool
        self._report = report
        self._total = total
        self._done = 0
        self._tasks = 0
        self._waiting: dict[int, EmbeddingTask] = {}
        self._again: deque[EmbeddingTask] = deque()
        self._new: set[Path] = set()

    def embed(self, items: Iterator[tuple[StoredPicture, bool]]) -> Generator[Path, None, None]:
        """Yield the paths as their rows are written."""
        upcoming = self._next(items)
        while upcoming is not None or self._waiting:
            while upcoming is not None and self._pool.room > 0:
                self._waiting[upcoming.number] = upcoming
                self._pool.submit(upcoming)
                upcoming = self._next(items)
            for result in self._pool.wait():
                yield from self._take(result)
            if upcoming is None:
                upcoming = self._next(items)

    def _next(self, items: Iterator[tuple[StoredPicture, bool]]) -> EmbeddingTask | None:
        if self._again:
            return self._again.popleft()
        chunk = list(islice(items, TASK_PICTURES))
        if not chunk:
            return None
        self._new.update(item.path for item, is_new in chunk if is_new)
        return self._task([item for item, _ in chunk])

    def _task(self, pictures: Sequence[StoredPicture], losses: int = 0) -> EmbeddingTask:
        # A number of its own for each try: a result of an earlier one that comes late is no one's.
        self._tasks += 1
        return EmbeddingTask(self._tasks, tuple(pictures), losses)

    def _take(self, result: TaskResult) -> Iterator[Path]:
        task = self._waiting.pop(result.number, None)
        if task is None:
            return
        lost = result.lost
        rows = result.rows
        if lost is None and [path_of(row) for row in rows] != [p.path for p in task.pictures]:
            lost = "its rows are not those of its pictures"
        if lost is not None:
            found = self._lose(task, lost, is_cause=result.is_cause)
            if found is None:
                return
            rows = [found]
        self._done += len(rows)
        self._sink.put(rows, (self._done, self._total))
        for row in rows:
            self._count(row)
            yield path_of(row)

    def _lose(self, task: EmbeddingTask, reason: str, *, is_cause: bool) -> Known | None:
        """Prepare another try; return the row of a picture that is not tried again."""
        losses = task.losses + is_cause
        if len(task.pictures) > 1:
            if losses < MOST_LOSSES:
                self._again.append(self._task(task.pictures, losses))
            else:  # perhaps one of them ends the workers: which one?
                self._again.extend(self._task([picture]) for picture in task.pictures)
            return None
        if losses < MOST_LOSSES:
            self._again.append(self._task(task.pictures, losses))
            return None
        (picture,) = task.pictures
        # Without a time of change it is tried again by the next build.
        fault = f"workers ended on it {losses} times ({reason})"
        return Known(picture.path, picture.size, -1, fault=fault)

    def _count(self, row: Row) -> None:
        is_new = path_of(row) in self._new
        self._new.discard(path_of(row))
        if isinstance(row, Known) and row.fault is not None:
            self._report.unread.append(Unread(row.path, row.fault))
            return
        self._report.embedded += 1
        if is_new:
            self._report.new += 1
        else:
            self._report.changed += 1


def path_of(row: Row) -> Path:
    """Return the path of a row."""
    return row.path if isinstance(row, Known) else row.known.path
