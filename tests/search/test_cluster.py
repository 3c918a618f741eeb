"""A build by workers that are lost at any moment holds every picture exactly once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.errors import ModelError, SearchError
from edge_sim.search import cluster
from edge_sim.search.build import UpdateReport, update
from edge_sim.search.cluster import (
    EmbeddingOrder,
    EmbeddingTask,
    EmbeddingWorker,
    TaskResult,
    WorkerPool,
    build_on_workers,
)
from edge_sim.search.row_sinks import IndexSink
from edge_sim.search.rows import IndexPlan, Unread
from edge_sim.search.storage import FolderStorage, StoredPicture, open_storage
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write
from tests.search.test_shards import held, write_photos

EMBEDDER = open_embedder("thumbnail")
FATES = ("done", "lost", "lost behind another", "other rows", "too few rows", "done twice")


class UnreliablePool:
    """Worker in this process that meets one fate after the other, and then does its work.

    Args:
        order: Its work.
        fates: Fates of the tasks, in the order of their ends.
        deadly: Name of a picture that ends every worker.
    """

    def __init__(self, order: EmbeddingOrder, fates: Sequence[str] = (), deadly: str = "") -> None:
        self.worker = EmbeddingWorker(order)
        assert self.worker.prepare() == ""
        self.fates: Iterator[str] = iter(fates)
        self.deadly = deadly
        self.tasks: list[EmbeddingTask] = []
        self.late: list[TaskResult] = []
        self.embedded = 0

    @property
    def room(self) -> int:
        return 3 - len(self.tasks)

    def submit(self, task: EmbeddingTask) -> None:
        assert self.room > 0
        self.tasks.append(task)

    def wait(self) -> Sequence[TaskResult]:
        late, self.late = self.late, []
        if not self.tasks:
            return late
        task = self.tasks.pop(len(self.tasks) // 2)
        fate = next(self.fates, "done")
        if any(item.path.name == self.deadly for item in task.pictures):
            fate = "lost"
        if fate.startswith("lost"):
            # The rows may still come, long after the worker was given up.
            self.late.append(TaskResult(task.number, self.worker.embed(task.pictures)))
            return [*late, TaskResult(task.number, lost="a node went", is_cause=fate == "lost")]
        rows = self.worker.embed(task.pictures)
        self.embedded += len(rows)
        if fate == "too few rows":
            return [*late, TaskResult(task.number, rows[1:])]
        if fate == "other rows":
            return [*late, TaskResult(task.number, [*rows[1:], rows[0], rows[0]])]
        again = [TaskResult(task.number, rows)] if fate == "done twice" else []
        return [*late, TaskResult(task.number, rows), *again]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("shared") / "photos")


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole") / "index"
    (photos / "attributes.csv").unlink()
    with IndexStore.open(place, create=plan(photos)) as store:
        update(store, EMBEDDER)
    return place


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TASK_PICTURES", 3)


def plan(root: Path) -> IndexPlan:
    return IndexPlan(root, EMBEDDER.model_id, "thumbnail")


def build(
    photos: Path, place: Path, fates: Sequence[str] = (), deadly: str = ""
) -> tuple[UpdateReport, list[UnreliablePool]]:
    pools: list[UnreliablePool] = []

    @contextmanager
    def pool() -> Iterator[WorkerPool]:
        pools.append(UnreliablePool(EmbeddingOrder(str(photos), plan(photos)), fates, deadly))
        yield pools[0]

    storage = open_storage(str(photos), skip=place)
    with IndexStore.open(place, create=plan(photos)) as store, store.exclusive():
        report = build_on_workers(storage, IndexSink(store), pool)
        assert store.update_state() is None
    return report, pools


def test_workers_make_the_index_that_one_process_makes(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    report, (pool,) = build(photos, tmp_path / "index")
    assert (report.new, len(report.unread), pool.embedded) == (15, 1, 16)
    assert held(tmp_path / "index") == held(whole)


@settings(max_examples=25, deadline=None)
@given(fates=st.lists(st.sampled_from(FATES), max_size=30))
def test_whatever_happens_to_workers_every_picture_is_there_once(
    photos: Path, whole: Path, fates: list[str]
) -> None:
    harmless = [fate for fate in fates if fate in ("done", "lost behind another", "done twice")]
    with tempfile.TemporaryDirectory() as folder:
        report, _ = build(photos, Path(folder) / "index", fates)
        found = held(Path(folder) / "index")
        if len(harmless) == len(fates):
            assert found == held(whole)
        # What was given up after several losses is named, and tried again by the next build.
        build(photos, Path(folder) / "index")
        assert held(Path(folder) / "index") == held(whole)
    assert report.new + len(report.unread) == 16
    assert set(found) == set(held(whole))


def test_a_picture_that_ends_every_worker_costs_no_other_one(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    report, _ = build(photos, tmp_path / "index", deadly="5.png")
    reasons = {str(item.path): item.reason for item in report.unread}
    assert reasons["1/5.png"] == "workers ended on it 3 times (a node went)"
    assert (report.new, len(reasons)) == (14, 2)
    found, wanted = held(tmp_path / "index"), held(whole)
    assert {path for path in wanted if found[path] != wanted[path]} == {"1/5.png"}


def test_a_second_build_reads_what_is_new_or_changed_and_forgets_the_rest(tmp_path: Path) -> None:
    photos, place = tmp_path / "photos", tmp_path / "index"
    write_photos(photos)
    build(photos, place)
    report, pools = build(photos, place)
    assert (report.new, report.unchanged, len(report.unread), pools) == (0, 16, 1, [])
    write(photos / "new.png", picture(50, width=48, height=48))
    write(photos / "0" / "4.png", picture(51, width=40, height=48))
    (photos / "0" / "8.png").unlink()
    with IndexStore.open(place) as store:
        store.leave_out([Path("0/12.png")])
    report, (pool,) = build(photos, place)
    assert (report.new, report.changed, report.gone, report.left_out) == (1, 1, 1, 1)
    assert pool.embedded == 2
    with IndexStore.open(place, create=plan(photos)) as store:
        again = update(store, EMBEDDER)
    assert (again.new, again.changed, again.gone, again.left_out) == (0, 0, 0, 1)


def test_a_build_that_is_stopped_goes_on_where_it_was(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    place = tmp_path / "index"

    class StoppedPool(UnreliablePool):
        def wait(self) -> Sequence[TaskResult]:
            if self.embedded >= 9:
                raise KeyboardInterrupt
            return super().wait()

    @contextmanager
    def pool() -> Iterator[WorkerPool]:
        yield StoppedPool(EmbeddingOrder(str(photos), plan(photos)))

    with (
        IndexStore.open(place, create=plan(photos)) as store,
        store.exclusive(),
        pytest.raises(KeyboardInterrupt),
    ):
        build_on_workers(open_storage(str(photos)), IndexSink(store), pool)
    with IndexStore.open(place) as store:
        state = store.update_state()
        assert state is not None
        assert (state.done, state.total) == (9, 16)
    _, (rest,) = build(photos, place)
    assert rest.embedded == 7
    assert held(place) == held(whole)


def test_a_folder_that_cannot_be_entered_loses_no_row(tmp_path: Path) -> None:
    photos, place = tmp_path / "photos", tmp_path / "index"
    write_photos(photos)
    build(photos, place)
    before = held(place)

    class ClosedStorage(FolderStorage):
        """Folder whose subfolder `1` cannot be entered."""

        def list(self) -> Iterator[StoredPicture]:
            yield from (item for item in super().list() if item.path.parts[0] != "1")
            self.unread = [Unread(Path("1"), "Permission denied")]

    def no_pool() -> AbstractContextManager[WorkerPool]:
        raise AssertionError("there is nothing to do")

    with IndexStore.open(place) as store, store.exclusive():
        report = build_on_workers(ClosedStorage(photos), IndexSink(store), no_pool)
    assert report.gone == 0
    assert held(place) == before


def test_a_worker_that_does_not_fit_says_why(photos: Path, tmp_path: Path) -> None:
    def fault(order: EmbeddingOrder) -> str:
        return EmbeddingWorker(order).prepare()

    good = plan(photos)
    assert fault(EmbeddingOrder(str(photos), good)) == ""
    assert "is installed, not 0.0.1" in fault(EmbeddingOrder(str(photos), good, "0.0.1"))
    assert "no such folder" in fault(EmbeddingOrder(str(photos / "no"), good))
    other = IndexPlan(photos, "another model", "thumbnail")
    assert "not another model" in fault(EmbeddingOrder(str(photos), other))
    missing = IndexPlan(photos, "x", str(tmp_path / "no.tflite"))
    assert "no.tflite" in fault(EmbeddingOrder(str(photos), missing))


def test_an_index_of_another_model_takes_no_rows(photos: Path, whole: Path) -> None:
    with pytest.raises(ModelError, match="made with the model"):
        IndexStore.open(whole, create=IndexPlan(photos, "another", "thumbnail"))


def test_a_pool_without_workers_is_an_error_that_keeps_what_is_there(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    class EmptyPool(UnreliablePool):
        @property
        def room(self) -> int:
            return 0

        def wait(self) -> Sequence[TaskResult]:
            raise SearchError("no worker could start")

    @contextmanager
    def pool() -> Iterator[WorkerPool]:
        yield EmptyPool(EmbeddingOrder(str(photos), plan(photos)))

    with (
        IndexStore.open(tmp_path / "index", create=plan(photos)) as store,
        store.exclusive(),
        pytest.raises(SearchError, match="no worker could start"),
    ):
        build_on_workers(open_storage(str(photos)), IndexSink(store), pool)
    build(photos, tmp_path / "index")
    assert held(tmp_path / "index") == held(whole)
