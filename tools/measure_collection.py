"""Load a collection and measure it: rates, size, memory, recall and time of searches, counts.

    python tools/measure_collection.py --rows 1000000 --folder /tmp/collection

The server is the embedded one, in a folder of a user that is not root. Events are those of 1,000
devices at 50 sites over a year; vectors have a centre for each device and state, and noise. With
--kills the server is killed at random while events are loaded, and every event that was
acknowledged must be there once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from edge_sim.core.events import utc_text
from edge_sim.core.types import FloatVector
from edge_sim.core.vectors import normalised
from edge_sim.errors import CollectionError
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.messages import Received
from edge_sim.fleet.pgvector import PgVectors
from edge_sim.fleet.vectors import CollectedVector, VectorFilter

SITES, DEVICES, STATES, SIZE = 50, 1000, ("open", "closed", "unknown"), 256
MODEL = "measured@1"
YEAR_S = 365 * 86_400.0
BATCH, STREAM = 5_000, 20_000  # 100 messages of each of the sites
QUERIES = 200


class Rows:
    """Events and vectors by number, the same in every run.

    Args:
        count: Number of events.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._end_s = time.time() - 60.0
        chance = np.random.default_rng(1)
        self._devices = normalised(chance.normal(size=(DEVICES, SIZE)))
        self._states = 0.5 * normalised(chance.normal(size=(DEVICES * len(STATES), SIZE)))

    def place(self, number: int) -> tuple[str, str, str, str, str]:
        """Return site, device, id, time and state of an event."""
        device = number * 7919 % DEVICES
        at = utc_text(self._end_s - YEAR_S * (1.0 - number / self.count))
        state = STATES[number // DEVICES % len(STATES)]
        return f"site{device % SITES:02}", f"device{device:04}", f"{number:016x}", at, state

    def vectors(self, start: int, end: int) -> FloatVector:
        """Return (end - start, 256) vectors of length 1."""
        numbers = np.arange(start, end)
        devices = numbers * 7919 % DEVICES
        states = numbers // DEVICES % len(STATES)
        noise = np.random.default_rng(start + 2).normal(
            scale=0.5 / SIZE**0.5, size=(end - start, SIZE)
        )
        return normalised(
            self._devices[devices] + self._states[devices * len(STATES) + states] + noise
        )

    def messages(self, start: int, end: int) -> dict[str, list[Received]]:
        """Return the messages of events by site."""
        found: dict[str, list[Received]] = {}
        for number in range(start, min(end, self.count)):
            site, device, name, at, state = self.place(number)
            body = {
                "type": "state_changed", "id": name, "device": device, "source": "camera",
                "watch": "gate", "at": at, "captured_at_s": 1.0, "frame": number, "before": "open",
                "before_reason": None, "after": state,
                "reason": "dark" if state == "unknown" else None, "confidence": 0.97,
                "margin": 0.4, "condition": "day", "model": MODEL, "gallery_revision": 3,
                "matches": [{"state": one, "reference_id": "0" * 16, "cosine": 0.9, "ssim": 0.8,
                             "combined": 0.9, "probability": 0.9} for one in STATES[:2]],
                "thresholds": {one: {"enter": 0.8, "leave": 0.6} for one in STATES[:2]},
                "schema": 1,
            }  # fmt: skip
            message = Received(f"{device}/gate/event", json.dumps(body).encode(), time.time())
            found.setdefault(site, []).append(message)
        return found


def main() -> int:
    """Measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=0, help="kills of the server while it loads")
    parser.add_argument("--loaded", action="store_true", help="measure what was loaded before")
    args = parser.parse_args()
    address, rows = f"embedded:{args.folder}", Rows(args.rows)
    with SiteCollection(address) as collection:
        collection.counts("2026-01-01", "2026-01-02")
    if args.kills:
        load_events(address, rows, killed(args.folder, args.kills))
        check_once(address, rows)
        return 0
    if not args.loaded:
        load(address, rows)
    with SiteCollection(address) as collection:
        measure(collection, rows)
        print(f"memory of the server: {memory_mb(args.folder):.0f} MB")
    return 0


def load(address: str, rows: Rows) -> None:
    """Load events and vectors, while another process reads."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, address], stdout=subprocess.PIPE, text=True
    )
    load_events(address, rows, lambda: None)
    with SiteCollection(address) as collection:
        assert isinstance(collection.vectors, PgVectors)
        load_vectors(collection.vectors, rows)
        collection._connection.autocommit = True
        collection._connection.execute("VACUUM ANALYZE")
    reader.send_signal(signal.SIGTERM)
    print(reader.communicate()[0].strip())


def measure(collection: SiteCollection, rows: Rows) -> None:
    """Print sizes, recall and times."""
    assert isinstance(collection.vectors, PgVectors)
    with collection._connection.transaction():
        for name in ("edge_sim_events", "edge_sim_vectors_1"):
            row = collection._connection.execute(
                "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = "
                "%s::regclass" if name.endswith("events")
                else "SELECT pg_total_relation_size(%s)", (name,)
            ).fetchone()  # fmt: skip
            size = 0 if row is None or row[0] is None else int(row[0])
            print(f"{name}: {size / 1e6:.0f} MB")
    measure_searches(collection.vectors, rows)
    measure_counts(collection)


READER = """
import signal, sys, time
from edge_sim.core.events import utc_text
from edge_sim.fleet.collection import SiteCollection
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
times = []
with SiteCollection(sys.argv[1]) as collection:
    while not stop:
        start = time.perf_counter()
        collection.status(); collection.events(limit=50)
        times.append(time.perf_counter() - start)
        time.sleep(0.5)
times.sort()
print(f"second process: {len(times)} readings of status and events meanwhile, "
      f"median {1e3 * times[len(times) // 2]:.0f} ms, longest {1e3 * times[-1]:.0f} ms")
"""


def load_events(address: str, rows: Rows, disturb: Callable[[], None]) -> None:
    """Store all events in transactions of 100, as often as it takes."""
    start, failures = time.perf_counter(), 0
    collection: SiteCollection | None = None
    disturb()
    for first in range(0, rows.count, BATCH):
        waiting = rows.messages(first, first + BATCH)
        while waiting:
            site = next(iter(waiting))
            try:
                collection = collection or SiteCollection(address)
                assert collection.store(site, waiting[site]) == 0
                del waiting[site]
            except CollectionError:
                failures += 1
                if collection is not None:
                    collection.close()
                collection = None
        if first // BATCH % 20 == 19:
            rate = (first + BATCH) / (time.perf_counter() - start)
            print(f"... {first + BATCH} events, {rate:.0f} a second", flush=True)
    elapsed_s = time.perf_counter() - start
    if collection is not None:
        collection.close()
    print(f"events: {rows.count / elapsed_s:.0f} a second ({failures} failures)", flush=True)


def killed(folder: Path, kills: int) -> Callable[[], None]:
    """Return the start of a thread that kills the server at random."""

    def kill() -> None:
        chance = random.Random(3)
        for _ in range(kills):
            time.sleep(chance.uniform(1.0, 6.0))
            try:
                number = int((folder / "data/postmaster.pid").read_text().split()[0])
                os.kill(number, chance.choice([signal.SIGKILL, signal.SIGQUIT]))
                print("... killed the server", flush=True)
            except (OSError, ValueError, IndexError):
                continue

    return threading.Thread(target=kill, daemon=True).start


def check_once(address: str, rows: Rows) -> None:
    """Count what is there."""
    with SiteCollection(address) as collection:
        row = collection._connection.execute(
            "SELECT count(*), count(DISTINCT (site, device, id)) FROM edge_sim_events"
        ).fetchone()
    print(f"acknowledged {rows.count}, stored {row[0]}, different {row[1]}")  # type: ignore[index]


def load_vectors(vectors: PgVectors, rows: Rows) -> None:
    """Load all vectors as a stream, build the index, and add some more one by one."""
    start = time.perf_counter()
    vectors.add(collected(rows, 0, 1))
    vectors.drop_index(MODEL)
    for first in range(0, rows.count, STREAM):
        some = collected(rows, first, min(first + STREAM, rows.count))
        vectors.load(some[1:] if first == 0 else some)
    loaded_s = time.perf_counter() - start
    vectors.build_index(MODEL, "2GB")
    built_s = time.perf_counter() - start
    print(
        f"vectors: {rows.count / loaded_s:.0f} a second without index, index in "
        f"{built_s - loaded_s:.0f} s, {rows.count / built_s:.0f} a second in all", flush=True,
    )  # fmt: skip
    more, start = Rows(rows.count), time.perf_counter()
    extra = [
        CollectedVector(item.site, item.device, f"more{place}", item.at, MODEL, item.vector)
        for place, item in enumerate(collected(more, 0, min(2000, rows.count)))
    ]
    for first in range(0, len(extra), 100):
        vectors.add(extra[first : first + 100])
    print(f"added to the index: {len(extra) / (time.perf_counter() - start):.0f} a second")
    for site in {item.site for item in extra}:
        vectors._connection.execute(
            "DELETE FROM edge_sim_vectors_1 WHERE site = %s AND id LIKE 'more%%'", (site,)
        )
    vectors._connection.commit()


def collected(rows: Rows, start: int, end: int) -> list[CollectedVector]:
    """Return vectors with what belongs to them."""
    found = rows.vectors(start - start % STREAM, start - start % STREAM + STREAM)
    places = (rows.place(number) for number in range(start, end))
    return [
        CollectedVector(site, device, name, at, MODEL, vector, "gate", state)
        for (site, device, name, at, state), vector in zip(
            places, found[start % STREAM :], strict=False
        )
    ]


def blocks(rows: Rows) -> Iterator[tuple[int, FloatVector]]:
    """Yield all vectors again, with the number of their first."""
    for first in range(0, rows.count, STREAM):
        yield first, rows.vectors(first, first + STREAM)[: rows.count - first]


def measure_searches(vectors: PgVectors, rows: Rows) -> None:
    """Print recall and time of searches with and without a filter of 2 %."""
    chance = np.random.default_rng(5)
    picked = chance.integers(0, rows.count, QUERIES)
    some = rows.vectors(0, STREAM)[picked % min(STREAM, rows.count)]
    queries = normalised(some + chance.normal(scale=0.2 / SIZE**0.5, size=some.shape))
    warm = rows.vectors(STREAM, 2 * STREAM)[chance.integers(0, STREAM, 2 * QUERIES)]
    vectors._connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
    vectors._connection.execute(
        "SELECT pg_prewarm(indexrelid) FROM pg_index "
        "WHERE indrelid = 'edge_sim_vectors_1'::regclass"
    )
    vectors._connection.commit()
    site = np.array([number * 7919 % DEVICES % SITES for number in range(rows.count)])
    scores = np.concatenate([queries @ block.T for _, block in blocks(rows)], axis=1)
    width = rows.count // 50
    for name, kind in (
        ("without a filter", ""),
        ("of 2 %, a site", "site"),
        ("of 2 %, a week", "at"),
    ):
        recalls, times = [], []
        for number in range(2 * QUERIES):  # what is not in the cache costs more at first
            where = VectorFilter(site=f"site{number % SITES:02}") if kind == "site" else None
            vectors.search(MODEL, warm[number], 10, where)
        used_s = cpu_s(vectors)
        for place, query in enumerate(queries):
            where, mask = None, np.ones(rows.count, bool)
            if kind == "site":
                where, mask = VectorFilter(site=f"site{place % SITES:02}"), site == place % SITES
            elif kind == "at":
                first = int(chance.integers(0, rows.count - width))
                mask = np.zeros(rows.count, bool)
                mask[first : first + width] = True
                where = VectorFilter(since=rows.place(first)[3], until=rows.place(first + width)[3])
            ranked = np.where(mask, scores[place], -2.0)
            best = np.argpartition(-ranked, 10)[:10]
            start = time.perf_counter()
            found = vectors.search(MODEL, query, 10, where)
            times.append(time.perf_counter() - start)
            recalls.append(len({f"{number:016x}" for number in best} & {item.id for item in found}))
        times.sort()
        print(
            f"search {name}: recall@10 {sum(recalls) / 10 / QUERIES:.4f}, median "
            f"{1e3 * times[QUERIES // 2]:.1f} ms, p95 {1e3 * times[QUERIES * 95 // 100]:.1f} ms, "
            f"{1e3 * (cpu_s(vectors) - used_s) / QUERIES:.1f} ms of CPU each",
            flush=True,
        )


def cpu_s(vectors: PgVectors) -> float:
    """Return the CPU time of the process that serves a connection; other work hardly changes it."""
    status = Path(f"/proc/{vectors._connection.info.backend_pid}/stat").read_text()
    user, system = status.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure_counts(collection: SiteCollection) -> None:
    """Print the time of counts per state and day over a year."""
    now_s = time.time()
    for site in (None, "site07"):
        start = time.perf_counter()
        found = collection.counts(utc_text(now_s - YEAR_S), utc_text(now_s), site=site)
        elapsed_ms = 1e3 * (time.perf_counter() - start)
        total = sum(item.changes for item in found)
        name = site or "all sites"
        print(f"counts of {name}: {total} changes, {len(found)} rows, {elapsed_ms:.0f} ms")


def memory_mb(folder: Path) -> float:
    """Return the memory of the server's processes, shared pages counted once."""
    first = (folder / "data/postmaster.pid").read_text().split()[0]
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # of a process that has ended
            text = status.read_text()
            if f"\nPPid:\t{first}\n" in text or status.parent.name == first:
                rollup = (status.parent / "smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0])
    return total / 1e3


if __name__ == "__main__":
    sys.exit(main())
