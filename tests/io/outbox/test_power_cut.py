"""Wherever a power cut ends the log, the outbox holds just the commits before it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_sim.io.outbox.outbox import Outbox
from tests.io.outbox.events import changed


@pytest.fixture(scope="module")
def log_sizes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A folder as a crash leaves it, and the size of the log after each of its commits."""
    folder = tmp_path_factory.mktemp("crashed")
    live = tmp_path_factory.mktemp("live")
    log = live / "outbox.db-wal"
    with closing(Outbox.open(live / "outbox.db", ["a"])) as outbox:
        sizes = [log.stat().st_size]
        for number in range(8):
            outbox.put([changed(number)])
            sizes.append(log.stat().st_size)
        for file in live.iterdir():
            shutil.copy(file, folder)
    return folder, sizes


def ids_after(folder: Path, target: Path, spoil: Callable[[bytes], bytes]) -> list[str]:
    """Return what an outbox gives whose log was spoilt."""
    target.mkdir(exist_ok=True)
    for old in target.iterdir():
        old.unlink()
    shutil.copy(folder / "outbox.db", target)
    log = (folder / "outbox.db-wal").read_bytes()
    (target / "outbox.db-wal").write_bytes(spoil(log))
    with closing(Outbox.open(target / "outbox.db", ["a"])) as outbox:
        found = [item.event.id for item in outbox.pending("a")]
        outbox.put([changed(100)])
        assert outbox.pending("a")[-1].event == changed(100)
    return found


own_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)


@own_folder
@given(share=st.floats(0.0, 1.0))
def test_a_log_cut_anywhere_keeps_every_commit_before_the_cut(
    log_sizes: tuple[Path, list[int]], tmp_path: Path, share: float
) -> None:
    folder, sizes = log_sizes
    cut = sizes[0] + round(share * (sizes[-1] - sizes[0]))
    whole = sum(size <= cut for size in sizes[1:])
    ids = ids_after(folder, tmp_path / "cut", lambda log: log[:cut])
    assert ids == [changed(number).id for number in range(whole)]


@own_folder
@given(share=st.floats(0.0, 1.0, exclude_max=True), data=st.binary(min_size=1, max_size=600))
def test_a_log_with_a_torn_sector_keeps_every_commit_before_it_and_invents_none(
    log_sizes: tuple[Path, list[int]], tmp_path: Path, share: float, data: bytes
) -> None:
    folder, sizes = log_sizes
    at = sizes[0] + int(share * (sizes[-1] - sizes[0]))
    whole = sum(size <= at for size in sizes[1:])
    ids = ids_after(
        folder, tmp_path / "torn", lambda log: log[:at] + data + log[at + len(data) : sizes[-1]]
    )
    assert ids[:whole] == [changed(number).id for number in range(whole)]
    assert ids == [changed(number).id for number in range(len(ids))]
