"""Second index beside one, for another model, which takes its place when it is complete.

`photos.index.next` is filled while `photos.index` is searched. At the end the two change places in
one step, so that a search meets the one or the other; what was open stays readable.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from edge_sim.core.files import exists, is_file, sync_folder
from edge_sim.errors import ModelError, SearchError
from edge_sim.search.locking import exclusive
from edge_sim.search.rows import LEFT_OUT, BuildProgress, IndexPlan
from edge_sim.search.store import NAME, IndexStore

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@dataclass(frozen=True, slots=True)
class Successor:
    """Index that is to take the place of another.

    Args:
        path: Its folder.
        model_id: Its model.
        pictures: Number of pictures that are in it.
        update: Update that is running or was stopped; None if it has not begun or is at its end.
    """

    path: Path
    model_id: str
    pictures: int
    update: BuildProgress | None

    def __str__(self) -> str:
        state = f"{self.pictures} pictures" if self.update is None else str(self.update)
        return f"{self.model_id}, {state}"


def successor_path(place: Path) -> Path:
    """Return the folder of the index that is to take the place of the one in `place`."""
    return place.with_name(f"{place.name}.next")


def successor_of(place: Path) -> Successor | None:
    """Return the index that is to take the place of the one in `place`; None if there is none.

    Raises:
        SearchError: It is damaged.
    """
    path = successor_path(place)
    if not is_file(path / NAME):
        return None
    with IndexStore.open(path) as store:
        info = store.info()
    return Successor(path, info.model_id, info.pictures, info.update)


def planned_successor(old: IndexStore, plan: IndexPlan) -> IndexPlan:
    """Return the settings of a successor: those of the index, unless others are asked for.

    Args:
        old: The index.
        plan: Settings that are asked for, with the other model.

    Raises:
        SearchError: The index holds imported vectors, or pictures of another folder.
        ModelError: A second index of a third model is there already.
    """
    own = old.plan
    old.check_pictures()
    if own.root != plan.root:
        raise SearchError(f"{old.path}: an index of {own.root}; give another --out for {plan.root}")
    present = successor_of(old.path)
    if present is not None and present.model_id != plan.model_id:
        raise ModelError(
            f"{present.path}: a second index for the model {present.model_id} is there already; "
            f"go on with that model, or delete the folder"
        )
    return replace(
        plan,
        frames=plan.frames or own.frames,
        regions=own.regions if plan.regions is None else plan.regions,
    )


def open_successor(old: IndexStore, plan: IndexPlan) -> IndexStore:
    """Return the open successor of an index, new or as far as it came; its left-out pictures too.

    Raises:
        SearchError: The index holds imported vectors, or pictures of another folder.
        ModelError: A second index of a third model is there already.
    """
    store = IndexStore.open(successor_path(old.path), create=planned_successor(old, plan))
    try:
        store.keep_out(item for item in old.known().values() if item.fault == LEFT_OUT)
    except BaseException:
        store.close()
        raise
    return store


def take_place(place: Path) -> None:
    """Put the successor of an index in its place, and delete the index that was there.

    Raises:
        SearchError: The folders cannot be renamed, or another process updates the index.
    """
    path = successor_path(place)
    with exclusive(place):
        # Both are closed again: SQLite goes by the names of its files.
        with IndexStore.open(place) as old, IndexStore.open(path) as new:
            new.take_facts(old)
        try:
            _exchange(path, place)
            sync_folder(place.parent)
        except OSError as error:
            raise SearchError(f"{place}: cannot be replaced ({error.strerror})") from error
        shutil.rmtree(path, ignore_errors=True)


def _exchange(first: Path, second: Path) -> None:
    """Let two folders change their names, in one step where the system can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        rename = None
    names = os.fsencode(first), os.fsencode(second)
    if rename is not None and not rename(
        _AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE
    ):
        return
    replaced = second.with_name(f"{second.name}.old")
    if exists(replaced):
        shutil.rmtree(replaced)
    second.rename(replaced)
    first.rename(second)
    replaced.rename(first)
