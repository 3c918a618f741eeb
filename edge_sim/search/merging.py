"""Merge of shards into one index: each shard as a whole, in one transaction.

    report = merge(Path("photos.index"), [Path("shards/1"), Path("shards/2")])

A merge that was killed holds the shards before, and is run again. Shards that come later are
appended; one that is merged again replaces its part, so that pictures that are gone go there too.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from edge_sim.core.files import is_dir, printable
from edge_sim.core.sqlite import kept_path
from edge_sim.errors import ModelError, SearchError
from edge_sim.search import attributes, bars, rows
from edge_sim.search.index_database import open_database, translated, writing
from edge_sim.search.locking import exclusive, is_locked
from edge_sim.search.rows import LEFT_OUT, MERGED, IndexPlan
from edge_sim.search.shards import NAME, Shard, ShardManifest, read_manifest, shard_number
from edge_sim.search.store import IndexStore


@dataclass(slots=True)
class MergeReport:
    """Outcome of a merge.

    Args:
        pictures: Number of pictures in the index.
        merged: Shards merged by this call, in order.
        new: Number of pictures that were not in the index.
        gone: Number of pictures that their shard does not have any more.
        missing: Numbers of the shards that are not in the index yet.
        of: Number of shards that make the whole.
    """

    pictures: int = 0
    merged: list[Shard] = field(default_factory=list)
    new: int = 0
    gone: int = 0
    missing: tuple[int, ...] = ()
    of: int = 0


@dataclass(frozen=True, slots=True)
class _Given:
    """Shard to merge."""

    folder: Path
    manifest: ShardManifest
    plan: IndexPlan


def merge(
    out: Path,
    folders: Sequence[Path],
    *,
    kind: str = "auto",
    root: Path | None = None,
    partial: bool = False,
    progress: Callable[[Shard], None] | None = None,
) -> MergeReport:
    """Append shards to an index, which is made if there is none.

    Args:
        out: Folder of the index.
        folders: Folders of the shards.
        kind: Kind of a new index, see `IndexPlan`.
        root: Folder of the pictures where the index is used; None for that of the shards.
        partial: Whether shards may be missing.
        progress: Called after each shard.

    Raises:
        SearchError: A shard is missing, unfinished, being built, damaged, given twice, or of other
            settings; or the disk is full. Shards that were merged before that stay.
        ModelError: Shards of different models, or of another one than the index.
    """
    places = [folder.resolve() for folder in folders]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise SearchError(f"{printable(folders[at])}: named twice")
    with ExitStack() as locks:
        given = [_opened(folder, locks) for folder in folders]
        given.sort(key=lambda item: item.manifest.part)
        _check_fit(given, root)
        first = given[0].plan
        plan = replace(first, root=root or first.root, kind=kind)
        _check_place(out)
        before = _merged_before(out, given[0].manifest.of)
        if before:
            _check_settings(out, first)
        missing = _missing(given, before)
        if missing and not partial:
            raise SearchError(_missing_text(missing, given[0].manifest.of))
        with IndexStore.open(out, create=plan) as store, store.exclusive():
            return _merge_into(store, given, missing, progress)


def _merge_into(
    store: IndexStore,
    given: Sequence[_Given],
    missing: tuple[int, ...],
    progress: Callable[[Shard], None] | None,
) -> MergeReport:
    report = MergeReport(missing=missing, of=given[0].manifest.of)
    with closing(open_database(store.path, create=False)) as connection:
        for item in given:
            with _attached(connection, item.folder), translated(store.path):
                _check_sound(connection, item)
                with writing(connection):
                    attributes.migrate(connection)
                    new, gone = _take(connection, item)
            report.new += new
            report.gone += gone
            report.merged.append(item.manifest.part)
            if progress is not None:
                progress(item.manifest.part)
    store.sweep()
    store.prepare()
    report.pictures = store.info().pictures
    return report


def _opened(folder: Path, locks: ExitStack) -> _Given:
    """Return a shard, locked until the end of the merge."""
    manifest = read_manifest(folder)
    if manifest is None:
        if not is_dir(folder):
            raise SearchError(f"{printable(folder)}: no such folder")
        raise SearchError(
            f"{printable(folder)}: no shard, there is no {NAME}; make it with "
            f"`edge-sim index build DIR --out {printable(folder)} --shard I/N`"
        )
    place = f"{printable(folder)}: shard {manifest.part}"
    try:
        locks.enter_context(exclusive(folder))
    except SearchError as error:
        if not is_locked(folder):
            raise
        raise SearchError(
            f"{place} is being built, or merged elsewhere; wait until it is done"
        ) from error
    if not manifest.complete:
        raise SearchError(f"{place} is not finished; run its `edge-sim index build` again")
    with IndexStore.open(folder) as store:
        return _Given(folder, manifest, store.plan)


def _check_fit(given: Sequence[_Given], root: Path | None) -> None:
    """Raise an error unless the shards are different parts of one whole."""
    first = given[0]
    for before, item in pairwise(given):
        if item.manifest.part == before.manifest.part:
            raise SearchError(
                f"{printable(item.folder)}: shard {item.manifest.part}, as "
                f"{printable(before.folder)}; name one of them"
            )
    for item in given[1:]:
        both = f"{printable(first.folder)} and {printable(item.folder)}"
        if item.plan.model_id != first.plan.model_id:
            raise ModelError(f"{both}: models {first.plan.model_id} and {item.plan.model_id}")
        if item.manifest.of != first.manifest.of:
            raise SearchError(
                f"{both}: shards {first.manifest.part} and {item.manifest.part} are parts of "
                f"different divisions"
            )
        if item.plan.scale is not first.plan.scale:
            raise SearchError(
                f"{both}: scales {first.plan.scale.value} and {item.plan.scale.value}"
            )
        if item.plan.cuts_bars != first.plan.cuts_bars:
            raise SearchError(f"{both}: one embeds pictures with their bars, the other without")
        if (item.plan.regions, item.plan.frames) != (first.plan.regions, first.plan.frames):
            raise SearchError(f"{both}: other --regions or --every")
        if root is None and item.plan.root != first.plan.root:
            raise SearchError(
                f"{both}: of {printable(first.plan.root)} and {printable(item.plan.root)}; "
                f"if that is one folder under two names, give it with --root"
            )


def _check_place(out: Path) -> None:
    manifest = read_manifest(out)
    if manifest is not None:
        raise SearchError(f"{printable(out)}: is shard {manifest.part} itself; name a new folder")


def _check_settings(out: Path, plan: IndexPlan) -> None:
    """Raise `SearchError` unless an index keeps what the shards keep."""
    with IndexStore.open(out) as store:
        own = store.plan
    if (own.cuts_bars, own.regions, own.frames) != (plan.cuts_bars, plan.regions, plan.frames):
        raise SearchError(
            f"{printable(out)}: has other settings of bars, regions or video frames than the "
            f"shards; name a new folder"
        )


def _merged_before(out: Path, of: int) -> frozenset[int]:
    """Return the numbers of the shards that an index has."""
    if not (out / "index.db").exists():
        return frozenset()
    with closing(open_database(out, create=False)) as connection, translated(out):
        if MERGED not in rows.settings(connection):
            if rows.counts(connection).pictures:
                raise SearchError(f"{printable(out)}: not made by a merge; name a new folder")
            return frozenset()
        found = _recorded(connection, out)
    if found[0] != of:
        raise SearchError(f"{printable(out)}: made of {found[0]} shards, not of {of}")
    return frozenset(found[1])


def _recorded(connection: sqlite3.Connection, out: Path) -> tuple[int, list[int]]:
    try:
        kept = json.loads(rows.settings(connection)[MERGED])
        return int(kept["of"]), sorted(map(int, kept["shards"]))
    except (ValueError, TypeError, KeyError) as error:
        raise SearchError(f"{printable(out)}: its list of shards is damaged; merge anew") from error


def _record(connection: sqlite3.Connection, part: Shard) -> None:
    kept: list[int] = []
    if MERGED in rows.settings(connection):
        kept = json.loads(rows.settings(connection)[MERGED])["shards"]
    text = json.dumps({"of": part.of, "shards": sorted({*kept, part.number})})
    rows.set_text(connection, rows.MERGED, text)


def _missing(given: Sequence[_Given], before: frozenset[int]) -> tuple[int, ...]:
    present = before.union(item.manifest.shard for item in given)
    return tuple(n for n in range(1, given[0].manifest.of + 1) if n not in present)


def _missing_text(missing: Sequence[int], of: int) -> str:
    some = ", ".join(f"{number}/{of}" for number in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    verb = "is" if len(missing) == 1 else "are"
    return f"shard {some}{more} {verb} missing; --partial merges what is there"


@contextmanager
def _attached(connection: sqlite3.Connection, folder: Path) -> Iterator[None]:
    """Make a shard the database `shard` of a connection; its schema was checked by opening it."""
    with translated(folder):
        # As bytes: a path need not be text.
        connection.execute("ATTACH ? AS shard", (os.fsencode(folder / "index.db"),))
    try:
        yield
    finally:
        connection.execute("DETACH shard")


def _check_sound(connection: sqlite3.Connection, item: _Given) -> None:
    """Read a shard; raise `SearchError` if it is damaged or holds what is not its part."""
    place = f"{printable(item.folder)}: shard {item.manifest.part}"
    with closing(open_database(item.folder, create=False)) as own, translated(item.folder):
        for problem in rows.problems(own):
            raise SearchError(f"{place} is damaged ({problem}); build it anew")
        kept, present = rows.settings(own), rows.settings(connection)
        paths = [value for (value,) in own.execute("SELECT path FROM files")]
    for name in ("dimension", "width"):
        if name in kept and name in present and kept[name] != present[name]:
            raise SearchError(f"{place}: {name} {kept[name]}, not {present[name]}")
    for value in paths:
        try:
            path = kept_path(value)
        except (TypeError, ValueError) as error:
            raise SearchError(f"{place} is damaged ({error}); build it anew") from error
        number = shard_number(path, item.manifest.of)
        if number != item.manifest.shard:
            raise SearchError(
                f"{place} holds {printable(path)}, a picture of shard {number}: it would be there "
                f"twice; build it anew"
            )


def _take(connection: sqlite3.Connection, item: _Given) -> tuple[int, int]:
    """Copy a shard into the index; return the number of new pictures and of those that are gone."""
    (last,) = connection.execute(
        "SELECT max(coalesce((SELECT CAST(value AS INTEGER) FROM settings WHERE name = "
        "'last_content'), 0), coalesce((SELECT max(id) FROM contents), 0))"
    ).fetchone()
    names = ", ".join(_columns(connection, "contents", without=("id",)))
    connection.execute(
        f"INSERT INTO contents (id, {names}) SELECT ? + row_number() OVER (ORDER BY id), {names} "
        f"FROM shard.contents WHERE sha256 NOT IN (SELECT sha256 FROM main.contents) ORDER BY id",
        (last,),
    )
    (new,) = connection.execute(
        "SELECT count(*) FROM shard.files WHERE content IS NOT NULL AND path NOT IN "
        "(SELECT path FROM main.files WHERE content IS NOT NULL OR fault IS ?)",
        (LEFT_OUT,),
    ).fetchone()
    names = ", ".join(_columns(connection, "files", without=("id", "content")))
    changes = ", ".join(f"{name} = excluded.{name}" for name in names.split(", ")[1:])
    # A picture that was left out of the merged index by hand stays so.
    connection.execute(
        f"INSERT INTO files (content, {names}) SELECT own.id, {_of_shard(names)} "
        "FROM shard.files AS f LEFT JOIN shard.contents AS c ON c.id = f.content "
        "LEFT JOIN main.contents AS own ON own.sha256 = c.sha256 WHERE true ORDER BY f.id "
        f"ON CONFLICT (path) DO UPDATE SET content = excluded.content, {changes} "
        "WHERE files.fault IS NOT ?",
        (LEFT_OUT,),
    )
    gone = _forget_gone(connection, item.manifest.part)
    _take_marks(connection)
    if item.plan.regions:
        connection.execute(
            "INSERT OR REPLACE INTO main.regions (content, vectors) SELECT own.id, r.vectors "
            "FROM shard.regions AS r JOIN shard.contents AS c ON c.id = r.content "
            "JOIN main.contents AS own ON own.sha256 = c.sha256"
        )
    connection.execute(
        "INSERT OR IGNORE INTO main.settings SELECT name, value FROM shard.settings "
        "WHERE name IN ('dimension', 'width')"
    )
    bars.record(connection, cut=item.plan.cuts_bars)
    _record(connection, item.manifest.part)
    return new, gone


def _columns(connection: sqlite3.Connection, table: str, without: Sequence[str]) -> list[str]:
    """Return the columns of a table of the index, the path first."""
    found = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
    return sorted((name for name in found if name not in without), key=lambda name: name != "path")


def _of_shard(names: str) -> str:
    return ", ".join(f"f.{name}" for name in names.split(", "))


def _forget_gone(connection: sqlite3.Connection, part: Shard) -> int:
    """Delete the paths of a part that its shard does not have; return how many were pictures."""
    found = connection.execute(
        "SELECT path, content FROM main.files WHERE path NOT IN (SELECT path FROM shard.files)"
    )
    gone = [row for row in found if part.holds(kept_path(row[0]))]
    connection.executemany("DELETE FROM main.files WHERE path = ?", [row[:1] for row in gone])
    return sum(content is not None for _, content in gone)


def _take_marks(connection: sqlite3.Connection) -> None:
    """Add the tags of a shard, and take its attributes in place of older ones."""
    present = {
        name for (name,) in connection.execute("SELECT name FROM shard.sqlite_master")
    }  # an index of edge_sim 0.1 has neither
    if not {"content_tags", "attributes"} <= present:
        return
    connection.execute("INSERT OR IGNORE INTO main.content_tags SELECT * FROM shard.content_tags")
    connection.execute(
        "DELETE FROM main.attributes WHERE sha256 IN (SELECT sha256 FROM shard.contents)"
    )
    connection.execute("INSERT OR REPLACE INTO main.attributes SELECT * FROM shard.attributes")
