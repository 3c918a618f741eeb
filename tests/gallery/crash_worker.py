"""Changes one gallery file in child processes that are killed at random moments.

    python -m tests.gallery.crash_worker GALLERY ROUNDS SEED

Every round forks a child that opens (at first: makes) the gallery and makes one change after the
other, telling the number of each revision when it is committed; the child is killed with SIGKILL
at a random moment, also in the middle of a change. Then the gallery is opened and held against
what the child had told. Prints one JSON object a round.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
from pathlib import Path

from edge_sim.gallery.records import Reworked
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import embedding, enrolled

LONGEST_S = 0.06


def change(store: GalleryStore, number: int) -> None:
    """Make revision `number`: which change it is follows from the number alone."""
    known = [item.reference_id for item in store.records()]
    kind = number % 7
    if kind == 5:
        store.undo()
    elif kind == 6 and number > 20:
        store.rollback(number - 15)
    elif kind == 3 and known:
        store.remove(known[: 1 + len(known) // 4])
    elif kind == 4 and known:
        fresh = [Reworked(name, embedding(number), enrolled(number).thumbnail) for name in known]
        store.rework(fresh)
    else:
        store.add("bowl", [enrolled(10 * number + at, side_px=120) for at in range(3)])


def work(path: Path, told: int) -> None:
    """Change the gallery until killed."""
    with GalleryStore.open(path, create=True) as store:
        while True:
            number = store.revision + 1
            change(store, number)
            os.write(told, f"{number}\n".encode())


def crash(path: Path, told_first: int, after_s: float) -> int:
    """Let a child work, kill it, and return the last revision that it told as committed.

    Args:
        path: Of the gallery.
        told_first: Revisions that the child tells before its time runs.
        after_s: Its time.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(path, writing)
        finally:
            os._exit(1)
    os.close(writing)
    data = b""
    while data.count(b"\n") < told_first:
        part = os.read(reading, 4096)
        assert part, "the child ended by itself"
        data += part
    select.select([], [], [], after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while part := os.read(reading, 4096):
        data += part
    os.close(reading)
    assert os.WIFSIGNALED(status), "the child ended by itself"
    return max((int(line) for line in data.split()), default=0)


def content(store: GalleryStore, revision: int) -> list[object]:
    """What the gallery was at a revision."""
    return [
        (item.reference_id, item.state, item.embedding.vector.tobytes().hex())
        for item in store.gallery("bowl", revision=revision)
    ]


def main(path: Path, rounds: int, seed: int) -> None:
    """Crash, look, and tell, round after round."""
    generator = random.Random(seed)
    told = 0
    for _ in range(rounds):
        told_first = generator.choice((0, 1, 1, 2))
        told = max(told, crash(path, told_first, generator.uniform(0.0, LONGEST_S)))
        if not path.exists():
            tell({"told": told, "revision": 0, "problems": []})
            continue
        with GalleryStore.open(path) as store:
            found: dict[str, object] = {
                "told": told,
                "revision": store.revision,
                "problems": store.check(),
            }
            told = store.revision
        tell(found)


def tell(found: dict[str, object]) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
