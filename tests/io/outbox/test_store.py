"""The outbox keeps every event until every sink has it, within its bounds, and says what it did."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge_sim.errors import SinkError
from edge_sim.io.outbox.outbox import Outbox
from edge_sim.io.outbox.queue import Bounds
from tests.io.outbox.events import HandClock, changed, lost


def taken(outbox: Outbox, sink: str) -> list[str]:
    """Take everything that waits for `sink`, as a sink without faults would."""
    ids = []
    while waiting := outbox.pending(sink):
        for item in waiting:
            ids.append(item.event.id)
            outbox.confirm(sink, item.seq)
    return ids


def ids_of(numbers: range) -> list[str]:
    return [changed(number).id for number in numbers]


def test_events_come_in_order_and_once(tmp_path: Path) -> None:
    with closing(Outbox.open(tmp_path / "outbox.db", ["a"])) as outbox:
        assert outbox.put([changed(number) for number in range(70)])
        assert taken(outbox, "a") == ids_of(range(70))
        assert outbox.pending("a") == ()


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a", "b"])) as outbox:
        outbox.put([changed(number) for number in range(5)])
        for item in outbox.pending("a", 2):
            outbox.confirm("a", item.seq)
    with closing(Outbox.open(path, ["a", "b"])) as outbox:
        assert taken(outbox, "a") == ids_of(range(2, 5))
        assert taken(outbox, "b") == ids_of(range(5))


def test_an_event_that_every_sink_has_leaves_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a", "b"])) as outbox:
        outbox.put([changed(1)])
        taken(outbox, "a")
        assert outbox.counts().waiting == 1
        taken(outbox, "b")
        assert outbox.counts().waiting == 0
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT COUNT(*) FROM events").fetchone() == (0,)


def test_a_number_never_comes_twice_even_when_everything_was_delivered(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    seen: list[int] = []
    for number in range(3):
        with closing(Outbox.open(path, ["a"])) as outbox:
            outbox.emit(lost(number))
            (item,) = outbox.pending("a")
            seen.append(item.seq)
            outbox.confirm("a", item.seq)
    assert seen == sorted(set(seen))


def test_a_new_sink_gets_events_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a"])) as outbox:
        outbox.put([changed(1)])
    with closing(Outbox.open(path, ["a", "new"])) as outbox:
        outbox.put([changed(2)])
        assert taken(outbox, "new") == ids_of(range(2, 3))
        assert taken(outbox, "a") == ids_of(range(1, 3))


def test_a_sink_that_is_gone_holds_nothing_back_and_its_loss_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a", "old"])) as outbox:
        outbox.put([changed(1), changed(2)])
        taken(outbox, "a")
    with closing(Outbox.open(path, ["a"])) as outbox:
        assert outbox.counts().waiting == 0
        assert outbox.counts().dropped == {("old", "removed"): 2}
    with closing(Outbox.open(path, ["a", "old"])) as outbox:
        assert outbox.pending("old") == ()


def test_without_sinks_nothing_waits_but_the_last_state_stays(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, [])) as outbox:
        outbox.put([changed(1), changed(2)])
        assert outbox.counts().waiting == 0
    with closing(Outbox.open(path, [])) as outbox:
        assert outbox.latest() == {"gate": changed(2)}


def test_the_last_state_of_every_watch_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a"])) as outbox:
        outbox.put([changed(1), changed(2), changed(7, "bowl"), lost(1)])
        taken(outbox, "a")
    with closing(Outbox.open(path, ["a"])) as outbox:
        assert outbox.latest() == {"gate": changed(2), "bowl": changed(7, "bowl")}


def test_a_state_is_settled_for_a_sink_once_it_has_the_change(tmp_path: Path) -> None:
    with closing(Outbox.open(tmp_path / "outbox.db", ["a", "b"])) as outbox:
        outbox.put([changed(1), changed(2, "bowl")])
        outbox.confirm("a", outbox.pending("a")[0].seq)
        assert outbox.settled("a") == (changed(1),)
        assert outbox.settled("b") == ()


def test_the_oldest_go_when_there_are_too_many_bytes_and_are_counted(tmp_path: Path) -> None:
    bounds = Bounds(max_bytes=10_000)
    with closing(Outbox.open(tmp_path / "outbox.db", ["a"], bounds=bounds)) as outbox:
        for number in range(30):
            outbox.put([changed(number)])
        counts = outbox.counts()
        assert 0 < counts.waiting_bytes <= bounds.max_bytes
        got = taken(outbox, "a")
        assert got == ids_of(range(30 - len(got), 30))
        assert counts.dropped == {("a", "size"): 30 - len(got)}


def test_only_those_who_lack_a_dropped_event_count_it(tmp_path: Path) -> None:
    bounds = Bounds(max_bytes=1)
    with closing(Outbox.open(tmp_path / "outbox.db", ["a", "b"], bounds=bounds)) as outbox:
        outbox.put([changed(1)])
        taken(outbox, "a")
        outbox.put([changed(2)])
        assert outbox.counts().dropped == {("b", "size"): 1}


def test_old_events_go_by_the_time_the_device_was_running(tmp_path: Path) -> None:
    path, clock, bounds = tmp_path / "outbox.db", HandClock(), Bounds(max_age_s=3600.0)
    with closing(Outbox.open(path, ["a"], bounds=bounds, clock=clock)) as outbox:
        outbox.put([changed(1)])
        clock.now_s += 1800.0
        outbox.put([changed(2)])
    clock.now_s = 5.0  # a boot later, whatever the time of the day
    with closing(Outbox.open(path, ["a"], bounds=bounds, clock=clock)) as outbox:
        assert outbox.counts().waiting == 2
        clock.now_s += 1801.0
        assert outbox.flush()
        assert outbox.counts().dropped == {("a", "age"): 1}
        assert taken(outbox, "a") == ids_of(range(2, 3))


def test_a_refused_event_is_counted_and_the_next_one_comes(tmp_path: Path) -> None:
    with closing(Outbox.open(tmp_path / "outbox.db", ["a"])) as outbox:
        outbox.put([changed(1), changed(2)])
        outbox.confirm("a", outbox.pending("a")[0].seq, rejected=True)
        assert outbox.counts().dropped == {("a", "rejected"): 1}
        assert taken(outbox, "a") == ids_of(range(2, 3))


def test_an_event_that_was_damaged_on_disk_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a", "b"])) as outbox:
        outbox.put([changed(number) for number in range(1, 4)])
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE events SET body = x'00' WHERE seq IN (1, 2)")
        file.commit()
    with closing(Outbox.open(path, ["a", "b"])) as outbox:
        assert taken(outbox, "b") == ids_of(range(3, 4))
        assert taken(outbox, "a") == ids_of(range(3, 4))
        assert outbox.counts().dropped["a", "unreadable"] == 2


def test_in_memory_nothing_touches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(Outbox.open(None, ["a"])) as outbox:
        outbox.put([changed(1)])
        assert taken(outbox, "a") == [changed(1).id]
        assert outbox.counts().written_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_a_closed_outbox_refuses_events(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", ["a"])
    outbox.close()
    outbox.close()
    for use in (lambda: outbox.put([changed(1)]), lambda: outbox.pending("a")):
        with pytest.raises(SinkError, match="closed"):
            use()
    assert not outbox.flush()


def test_two_sinks_of_one_name_are_refused() -> None:
    with pytest.raises(SinkError, match="same name: a, a"):
        Outbox.open(None, ["a", "a"])


def test_a_damaged_file_is_moved_aside_and_the_device_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a"])) as outbox:
        outbox.put([changed(number) for number in range(50)])
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with closing(Outbox.open(path, ["a"])) as outbox:
        outbox.put([changed(99)])
        assert taken(outbox, "a") == [changed(99).id]
    assert (tmp_path / "outbox.db.damaged").read_bytes() == content
    assert "moved to" in caplog.text


def a_text_file(path: Path) -> None:
    path.write_text("my diary\n" * 100)


def a_foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE mine (x)")


def a_newer_outbox(path: Path) -> None:
    Outbox.open(path, []).close()
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (a_text_file, "not a database"),
        (a_foreign_database, "another program"),
        (a_newer_outbox, "newer edge_sim"),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
    ids=["text", "foreign", "newer", "directory"],
)
def test_a_file_that_is_no_outbox_is_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "outbox.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(SinkError, match=message) as caught:
        Outbox.open(path, ["a"])
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="nowhere"):
        Outbox.open(tmp_path / "nowhere" / "outbox.db", ["a"])


@contextmanager
def no_growth() -> Iterator[None]:
    """Let no file of this process grow: every write to the disk fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_while_the_disk_takes_nothing_events_are_delivered_from_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a", "b"])) as outbox:
        assert outbox.put([changed(0)])
        with no_growth():
            assert not outbox.put([changed(1)])
            assert not outbox.put([changed(2)])
            assert outbox.counts().unsaved == 2
            assert taken(outbox, "a") == ids_of(range(3))
        assert "the disk takes nothing" in caplog.text
        assert outbox.put([changed(3)])
        assert outbox.counts().unsaved == 0
    with closing(Outbox.open(path, ["a", "b"])) as outbox:
        assert taken(outbox, "a") == ids_of(range(3, 4))
        assert taken(outbox, "b") == ids_of(range(4))
    assert caplog.text.count("the disk takes nothing") == 1


def test_memory_is_bounded_while_the_disk_takes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bounds = Bounds(max_unsaved=5)
    with closing(Outbox.open(tmp_path / "outbox.db", ["a"], bounds=bounds)) as outbox:
        outbox.put([changed(0)])
        with no_growth():
            for number in range(1, 10):
                outbox.put([changed(number)])
            assert outbox.counts().dropped == {("a", "unsaved"): 4}
        assert taken(outbox, "a") == [changed(0).id, *ids_of(range(5, 10))]
    assert "the disk takes nothing" in caplog.text


FILLS_A_DISK = """
import sys
from pathlib import Path
from edge_sim.io.outbox.outbox import Outbox
from tests.io.outbox.events import changed

folder = Path(sys.argv[1])
outbox = Outbox.open(folder / "outbox.db", ["a"])
saved = 0
while outbox.put([changed(saved)]):
    saved += 1
(folder / "filler").unlink()
assert outbox.put([changed(saved + 1)]), "the disk has room again"
outbox.close()
outbox = Outbox.open(folder / "outbox.db", ["a"])
ids = []
while waiting := outbox.pending("a"):
    for item in waiting:
        ids.append(item.event.id)
        outbox.confirm("a", item.seq)
assert ids == [changed(number).id for number in range(saved + 2)], (saved, len(ids))
print(saved)
"""


def test_a_disk_that_runs_full_loses_no_event(tmp_path: Path, repository: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    own = ["unshare", "--mount", "--map-root-user", "sh", "-ec"]
    fill = f"{' '.join(mount)}; dd if=/dev/zero of={tmp_path}/filler bs=1k count=400 status=none; "
    if subprocess.run([*own, fill], capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here (unshare --mount)")
    program = f'exec "$0" -c "$1" {tmp_path}'
    done = subprocess.run(
        [*own, fill + program, sys.executable, FILLS_A_DISK],
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


COUNTS_ITS_WRITES = """
import sys
from pathlib import Path
from edge_sim.io.outbox.outbox import Outbox
from tests.io.outbox.events import changed

def written_by_the_process():
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])

outbox = Outbox.open(Path(sys.argv[1]), ["a"])
start, own = written_by_the_process(), outbox.counts().written_bytes
for number in range(60):
    outbox.put([changed(number)])
    for item in outbox.pending("a"):
        outbox.confirm("a", item.seq)
outbox.close()
print(outbox.counts().written_bytes - own, written_by_the_process() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system has no /proc/self/io")
def test_the_bytes_it_says_it_wrote_are_those_the_kernel_saw(
    tmp_path: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNTS_ITS_WRITES, str(tmp_path / "outbox.db")],
        capture_output=True,
        text=True,
        check=True,
        cwd=repository,
    )
    said, seen = map(int, done.stdout.split())
    assert said == pytest.approx(seen, rel=0.02)


def test_the_log_is_written_back_before_it_grows_large(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a"])) as outbox:
        outbox.put([changed(number) for number in range(2000)])
        assert Path(f"{path}-wal").stat().st_size == 0
        assert outbox.counts().written_bytes > 2 * path.stat().st_size * 0.9
        assert len(outbox.pending("a", 5000)) == 2000


def test_beyond_the_write_budget_only_events_are_written_at_once(tmp_path: Path) -> None:
    clock = HandClock()

    def written(budget: int) -> int:
        bounds = Bounds(write_budget_bytes=budget)
        path = tmp_path / f"{budget}.db"
        with closing(Outbox.open(path, ["a"], bounds=bounds, clock=clock)) as outbox:
            for number in range(20):
                outbox.put([changed(number)])
                taken(outbox, "a")
            assert outbox.counts().over_budget == (budget == 1)
            return outbox.counts().written_bytes_last_day

    assert written(1) < 0.75 * written(10**9)


def test_the_last_day_is_the_last_day(tmp_path: Path) -> None:
    clock = HandClock()
    with closing(Outbox.open(tmp_path / "outbox.db", ["a"], clock=clock)) as outbox:
        outbox.put([changed(1)])
        first = outbox.counts()
        assert first.written_bytes_last_day == first.written_bytes > 0
        clock.now_s += 25 * 3600.0
        assert outbox.counts().written_bytes_last_day == 0
        assert outbox.counts().written_bytes == first.written_bytes
