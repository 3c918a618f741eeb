"""Several processes at one gallery, and processes that die in the middle of a change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import enrolled
from tests.gallery.crash_worker import change, content

WRITER = """
import sys
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import enrolled
path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    with GalleryStore.open(path, create=True) as store:
        store.add("bowl", [enrolled(number), enrolled(number + 500)])
"""


def test_two_processes_that_make_and_fill_a_gallery_at_once_lose_nothing(
    tmp_path: Path, repository: Path
) -> None:
    path = tmp_path / "gallery.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first), "12"],
            cwd=repository,
            stderr=subprocess.PIPE,
        )
        for first in (1000, 2000)
    ]
    errors = [writer.communicate(timeout=120)[1].decode() for writer in writers]
    assert errors == ["", ""]
    with GalleryStore.open(path) as store:
        assert store.revision == 24
        assert store.check() == ()
        numbers = [int(item.metadata["number"]) for item in store.records()]
        for first in (1000, 2000):
            pairs = [n for first_of in range(first, first + 12) for n in (first_of, first_of + 500)]
            own = [number for number in numbers if first <= number < first + 1000]
            assert own == pairs, "each change is whole, in its writer's order"


def _read(path: Path) -> None:
    with GalleryStore.open(path, read_only=True) as store:
        assert store.records()


def _write(path: Path) -> None:
    with GalleryStore.open(path) as store:
        store.add("gate", [enrolled(7)])


def _recall(path: Path) -> None:
    with GalleryStore.open(path, read_only=True) as store:
        recall = store.gallery("bowl").summary().recall
    assert set(recall(["r1"])) == {"r1"}


@pytest.mark.parametrize("beside", [_read, _write, _recall])
def test_changes_of_others_are_seen_whatever_else_this_process_does_with_the_file(
    tmp_path: Path, repository: Path, beside: Callable[[Path], None]
) -> None:
    path = tmp_path / "gallery.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    subprocess.run([*command, "1000", "1"], cwd=repository, check=True)
    with GalleryStore.open(path, read_only=True) as store:
        assert len(store.gallery("bowl")) == 2
        for round_number in range(1, 4):
            # A process that closes a file by itself gives up the locks of its connections to it.
            beside(path)
            seen, revision = store.data_version(), store.revision
            subprocess.run([*command, str(1000 + round_number), "1"], cwd=repository, check=True)
            assert store.data_version() != seen
            assert store.revision == revision + 1
            assert len(store.gallery("bowl")) == 2 + 2 * round_number


@pytest.mark.parametrize(
    "rounds", [40, pytest.param(500, marks=pytest.mark.slow)], ids=["40 kills", "500 kills"]
)
def test_a_kill_at_any_moment_leaves_a_prefix_of_what_was_committed(
    tmp_path: Path, repository: Path, rounds: int
) -> None:
    path = tmp_path / "gallery.db"
    command = [sys.executable, "-m", "tests.gallery.crash_worker", str(path)]
    done = subprocess.run(
        [*command, str(rounds), "1"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == rounds
    for at_round in found:
        assert at_round["problems"] == []
        assert at_round["told"] <= at_round["revision"] <= at_round["told"] + 1
    last = found[-1]["revision"]
    assert last >= rounds // 2, "the children came to work"
    with (
        GalleryStore.open(path) as killed,
        GalleryStore.open(tmp_path / "calm.db", create=True) as calm,
    ):
        steps = min(last, 60)
        for number in range(1, steps + 1):
            change(calm, number)
        for number in range(0, steps + 1, 5):
            assert content(killed, number) == content(calm, number)
