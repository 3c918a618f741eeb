"""Short lives of everything that is kept, on a disk that fails once or for good.

    LD_PRELOAD=failing_disk.so python -m tests.faults.lives LIFE KIND FOLDER

For every n until nothing fails any more, the life is lived in a new folder while the n-th call of
the kind fails, and then looked at on a sound disk. Prints a line of JSON: how many calls failed,
and whatever is not as promised.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import shutil
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from edge_sim.errors import EdgeSimError
from edge_sim.gallery.copies import back_up, restore
from edge_sim.gallery.records import Revision
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.outbox.outbox import Outbox
from edge_sim.io.sinks.file import FileSink
from edge_sim.io.sinks.options import FileOptions
from edge_sim.runtime.daemon.state_file import DeviceMemory, StateFile, WatchMemory
from edge_sim.runtime.review_queue import ReviewFolder, picture_of
from edge_sim.runtime.score_log import ScoreLine, ScoreLog, read_lines
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests import pictured
from tests.fleet.depot import Device, depot_and_device
from tests.gallery.builders import enrolled
from tests.io.outbox.events import changed
from tests.pictures import picture, write
from tests.runtime.test_review_queue import look
from tests.runtime.test_score_log import outcome

KINDS = ("write", "fsync", "rename", "open", "truncate", "unlink")
ERRORS = {
    "write": (errno.ENOSPC, errno.EIO, errno.EROFS),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.ENOSPC, errno.EIO, errno.EROFS),
    "open": (errno.EMFILE, errno.ENOSPC, errno.EROFS, errno.EIO),
    "truncate": (errno.EIO, errno.EROFS),
    "unlink": (errno.EROFS, errno.EIO),
}
MOST_CALLS = 2000
_EMBEDDER = open_embedder("thumbnail")


class Life(ABC):
    """What is done while the disk fails, and what must hold afterwards.

    Args:
        folder: New and empty, on the disk that fails.
    """

    kind = ""
    """What fails."""
    steps: Mapping[str, int] = {}
    """Kind -> only every n-th call fails, where a life has many equal ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors: list[EdgeSimError] = []

    def prepare(self) -> None:  # noqa: B027 - most lives need none
        """Do what comes before the fault."""

    @abstractmethod
    def live(self) -> None:
        """Live; every error of edge_sim is caught by `attempt`."""

    @abstractmethod
    def check(self) -> None:
        """Raise `AssertionError` unless all that was acknowledged is there and life goes on."""

    def attempt(self, job: Callable[[], object]) -> bool:
        """Return whether `job` was acknowledged."""
        try:
            result = job()
        except EdgeSimError as error:
            self.errors.append(error)
            return False
        return result is not False


class GalleryLife(Life):
    """Enrol, correct, remove, undo, forget."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "gallery.db"
        self.acknowledged = 0
        self.states: dict[int, list[tuple[str, str]]] = {0: []}

    def live(self) -> None:
        def whole() -> None:
            with GalleryStore.open(self.path, create=True) as store:
                changes: tuple[Callable[[], Revision], ...] = (
                    lambda: store.add("bowl", [enrolled(1), enrolled(2)]),
                    lambda: store.relabel(["r1"], "shut"),
                    lambda: store.remove(["r2"]),
                    store.undo,
                    lambda: store.forget(["r2"]),
                    lambda: store.add("bowl", [enrolled(3)]),
                )
                for change in changes:
                    with suppress(EdgeSimError):
                        self.acknowledged = change().number
                        self.states[self.acknowledged] = self._content(store)

        self.attempt(whole)

    def check(self) -> None:
        with GalleryStore.open(self.path, create=True) as store:
            assert store.check() == (), store.check()
            assert store.revision >= self.acknowledged, "a change that was acknowledged is lost"
            if store.revision in self.states:
                assert self._content(store) == self.states[store.revision]
            before = store.revision
            assert store.add("bowl", [enrolled(9)]).number == before + 1
            assert store.check() == ()

    @staticmethod
    def _content(store: GalleryStore) -> list[tuple[str, str]]:
        return [(item.reference_id, item.state) for item in store.records()]


class CopiesLife(Life):
    """Back up, change, restore."""

    def prepare(self) -> None:
        self.path, self.copy = self.folder / "gallery.db", self.folder / "copy.db"
        with GalleryStore.open(self.path, create=True) as store:
            store.add("bowl", [enrolled(1), enrolled(2)])
        back_up(self.path, self.copy)
        with GalleryStore.open(self.path) as store:
            store.remove(["r1"])

    def live(self) -> None:
        self.backed_up = self.attempt(lambda: back_up(self.path, self.folder / "second.db"))
        self.restored = self.attempt(lambda: restore(self.path, self.copy))

    def check(self) -> None:
        with GalleryStore.open(self.path) as store:
            assert store.check() == ()
            assert store.revision in ((1,) if self.restored else (1, 2))
        if self.backed_up:
            with GalleryStore.open(self.folder / "second.db") as store:
                assert (store.revision, store.check()) == (2, ())
        assert restore(self.path, self.copy).revision == 1
        hidden = [item.name for item in self.folder.iterdir() if item.name.startswith(".")]
        assert not hidden or self.kind == "unlink", hidden


class OutboxLife(Life):
    """Take events, deliver some, end."""

    def live(self) -> None:
        self.saved: list[str] = []
        self.delivered: list[str] = []
        self.attempt(self._run)

    def _run(self) -> None:
        with closing(Outbox.open(self.folder / "outbox.db", ["a"])) as outbox:
            for number in range(6):
                event = changed(number)
                if outbox.put([event]):
                    self.saved = [changed(at).id for at in range(number + 1)]
                if number == 3:
                    for item in outbox.pending("a", limit=2):
                        self.delivered.append(item.event.id)
                        outbox.confirm("a", item.seq)
            if outbox.flush():
                self.saved = [changed(at).id for at in range(6)]

    def check(self) -> None:
        with closing(Outbox.open(self.folder / "outbox.db", ["a"])) as outbox:
            present = [item.event.id for item in outbox.pending("a", limit=100)]
            missing = set(self.saved) - set(present) - set(self.delivered)
            assert not missing, f"{len(missing)} events that were on disk are lost"
            assert outbox.put([changed(77)])
        assert not list(self.folder.glob("*.damaged"))


class IndexLife(Life):
    """Index a folder of pictures, twice."""

    def prepare(self) -> None:
        self.photos = self.folder / "photos"
        for number in range(3):
            write(self.photos / f"p{number}.png", picture(number))

    def live(self) -> None:
        for _ in range(2):
            self.attempt(self._update)

    def check(self) -> None:
        self._update()
        with IndexStore.open(self.folder / "index") as store:
            assert store.problems() == (), store.problems()
            assert len(store.table().entries) == 3
        assert not list((self.folder / "index").glob("*.part"))

    def _update(self) -> None:
        plan = IndexPlan(self.photos, _EMBEDDER.model_id, "thumbnail")
        with IndexStore.open(self.folder / "index", create=plan) as store:
            update(store, _EMBEDDER)


class ScoreLogLife(Life):
    """Note looks, rotate, note more."""

    def live(self) -> None:
        self.noted: list[float] = []
        self.attempt(self._run)

    def _run(self) -> None:
        log = ScoreLog(self.folder / "s.jsonl", every_s=1.0, max_mb=0.0004)
        for number in range(8):
            at_s = 10.0 * number
            if self.attempt(lambda at_s=at_s: log.note(outcome(at_s), 1)):  # type: ignore[misc]
                self.noted.append(at_s)
        log.close()

    def check(self) -> None:
        path = self.folder / "s.jsonl"
        log = ScoreLog(path, every_s=1.0)
        log.note(outcome(900.0), 1)
        log.close()
        lines = list(read_lines([path]))
        assert all(isinstance(line, ScoreLine) for line in lines), "a line is not whole"
        assert len(lines) <= len(self.noted) + 1


class StateFileLife(Life):
    """Save what the watches say."""

    def live(self) -> None:
        file = StateFile(self.folder / "state.json")
        self.saved = 0
        for number in range(1, 5):
            if file.save(self._memory(number)):
                self.saved = number

    def check(self) -> None:
        file = StateFile(self.folder / "state.json")
        found = file.load()
        number = int(found.watches["bowl"].in_state_s) if found.watches else 0
        assert number >= self.saved, "what was saved is lost"
        assert file.save(self._memory(9))
        names = sorted(item.name for item in self.folder.iterdir())
        assert names == ["state.json"], names

    @staticmethod
    def _memory(number: int) -> DeviceMemory:
        return DeviceMemory(watches={"bowl": WatchMemory(state="open", in_state_s=float(number))})


class ReviewLife(Life):
    """Keep frames, discard one."""

    def live(self) -> None:
        folder = ReviewFolder(self.folder / "review")
        self.kept: set[str] = set()
        for number in range(3):
            found: list[str] = []
            if self.attempt(
                lambda number=number, found=found: found.append(  # type: ignore[misc]
                    folder.keep(look(number), pictured.picture("left", 1))
                )
            ):
                self.kept.update(found)
        self.gone: set[str] = set()
        with suppress(EdgeSimError):
            first = folder.items()[:1]
            self.gone = {item.review_id for item in first}
            folder.discard(first)

    def check(self) -> None:
        folder = ReviewFolder(self.folder / "review")
        folder.keep(look(9), pictured.picture("left", 1))
        items = folder.items()
        assert self.kept - self.gone <= {item.review_id for item in items}
        for item in items:
            assert item.facts is not None
            picture_of(item)
        left = list((self.folder / "review").rglob("*.new"))
        assert not left, left


class FileSinkLife(Life):
    """Append events, rotate, append more."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.options = FileOptions(path=str(folder / "events.jsonl"), max_mb=0.002, keep=5)

    def live(self) -> None:
        self.written: list[str] = []
        self.attempt(self._run)

    def _run(self) -> None:
        with closing(FileSink.open(self.options)) as sink:
            for number in range(6):
                if self.attempt(lambda number=number: sink.emit(changed(number))):  # type: ignore[misc]
                    self.written.append(changed(number).id)

    def check(self) -> None:
        with closing(FileSink.open(self.options)) as sink:
            sink.emit(changed(99))
        ids = set()
        for path in self.folder.glob("events.jsonl*"):
            for line in path.read_bytes().splitlines():
                ids.add(json.loads(line)["id"])
        assert {*self.written, changed(99).id} <= ids


class PackLife(Life):
    """Take a pack; the gallery is the old one or the new one, whatever fails."""

    steps: Mapping[str, int] = {"write": 17, "open": 7, "unlink": 3}
    published: tuple[Path, Device] | None = None

    def prepare(self) -> None:
        if PackLife.published is None:
            # On a disk that does not fail: the shim watches the folder of the device alone.
            depot, device = depot_and_device(Path(mkdtemp(prefix="depot-", dir=self.folder.parent)))
            PackLife.published = depot.folder, device
        self.offered, device = PackLife.published
        shutil.copy(device.gallery, self.folder / "porch.db")
        self.device = replace(device, base=self.folder)

    def live(self) -> None:
        self.taken = self.attempt(lambda: self.device.update(self.offered))

    def check(self) -> None:
        marks = self._marks()
        assert marks in ([["1"] * 8] if self.taken else (["0"] * 2, ["1"] * 8)), marks
        (outcome,) = self.device.update(self.offered)
        assert outcome.outcome == ("activated" if marks == ["0"] * 2 else "current")
        assert self._marks() == ["1"] * 8
        left = [item.name for item in self.folder.iterdir() if item.name.startswith(".")]
        assert not left, left

    def _marks(self) -> list[str]:
        with GalleryStore.open(self.device.gallery, read_only=True) as store:
            assert store.check() == (), store.check()
            return [item.metadata.get("pack", "0") for item in store.records()]


LIVES: dict[str, type[Life]] = {
    "gallery": GalleryLife,
    "copies": CopiesLife,
    "outbox": OutboxLife,
    "index": IndexLife,
    "score-log": ScoreLogLife,
    "state-file": StateFileLife,
    "review": ReviewLife,
    "file-sink": FileSinkLife,
    "pack": PackLife,
}


def main(name: str, kind: str, place: str) -> int:
    """Live the life once for every n; print what is not as promised."""
    logging.disable(logging.CRITICAL)
    disk = ctypes.CDLL(None)
    faults: list[str] = []
    failed = 0
    for lasting in (0, 1):
        for number in range(1, MOST_CALLS, LIVES[name].steps.get(kind, 1)):
            folder = Path(place, f"{lasting}-{number}")
            folder.mkdir(parents=True)
            life = LIVES[name](folder)
            life.kind = kind
            life.prepare()
            error = ERRORS[kind][number % len(ERRORS[kind])]
            where = f"{kind} {number}{' and all after' if lasting else ''} {errno.errorcode[error]}"
            disk.disk_arm(
                os.fsencode(folder), KINDS.index(kind), ctypes.c_long(number), error, lasting
            )
            try:
                life.live()
            except BaseException:  # noqa: BLE001 - whatever it is, it is no error of edge_sim
                faults.append(f"{where}: {traceback.format_exc(limit=-4)}")
            count = disk.disk_heal()
            failed += count
            faults += [f"{where}: {text}" for text in map(str, life.errors) if "\n" in text]
            try:
                life.check()
            except BaseException:  # noqa: BLE001 - reported below
                faults.append(f"{where}, afterwards: {traceback.format_exc(limit=-4)}")
            shutil.rmtree(folder)
            if not count:
                break
    sys.stdout.write(json.dumps({"failed": failed, "faults": faults}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
