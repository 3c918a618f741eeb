"""One picture more or less writes no file anew, and a kill at any moment harms nothing."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError
from edge_sim.search import index_files, rows
from edge_sim.search.colours import SIDE
from edge_sim.search.indexes import open_index
from edge_sim.search.rows import EmbeddedFile, IndexPlan, Known
from edge_sim.search.segments import SegmentedRows, joined
from edge_sim.search.store import IndexStore

DIMENSION = 8


def embedded(number: int, content: int | None = None) -> EmbeddedFile:
    """Return a picture whose vector follows from its content."""
    content = number if content is None else content
    return EmbeddedFile(
        known=Known(Path(f"{number}.png"), 10, 1),
        sha256=content.to_bytes(32, "big"),
        shape=(4, 3),
        sharpness=1.0,
        contrast=1.0,
        thumbnail=np.zeros((48, 48), np.uint8),
        colours=np.zeros((SIDE, SIDE, 2), np.uint8),
        vector=vector_of(content),
        dimension=DIMENSION,
    )


def vector_of(content: int) -> NDArray[np.float32]:
    return normalised(np.random.default_rng(content).normal(size=DIMENSION).astype(np.float32))


def opened(place: Path, kind: str = "exact") -> IndexStore:
    return IndexStore.open(place, create=IndexPlan(Path("/photos"), "model", kind=kind))


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.glob("*-*.*") if "db" not in path.name}


def check(store: IndexStore, wanted: dict[Path, int]) -> None:
    """Check that the store holds these paths with these contents, and finds each of them."""
    table = store.table()
    assert {entry.path for entry in table.entries} == set(wanted)
    vectors = np.asarray(table.vectors)
    assert vectors.shape == (len(wanted), DIMENSION) or not wanted
    for row, entry in enumerate(table.entries):
        np.testing.assert_array_equal(vectors[row], vector_of(wanted[entry.path]))
    if not wanted:
        return
    index = open_index(table.kind, table.vectors, graph=table.graph)
    for row, entry in enumerate(table.entries[:20]):
        found = index.search(vectors[row], 3)
        contents = [wanted[table.entries[at].path] for at in found.rows]
        assert wanted[entry.path] in contents
        assert len(found) == min(3, len(wanted))


@pytest.fixture(params=["exact", "exact-int8", "hnsw"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "hnsw":
        pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")
    return str(request.param)


def test_a_picture_more_or_less_leaves_the_files_as_they_are(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "index"
    with opened(place, kind) as store:
        store.put(embedded(number) for number in range(40))
        store.prepare()
        before = files(place)
        store.put([embedded(40)])
        store.forget([Path("3.png")])
        store.prepare(checked=False)
        assert files(place) == before
        check(store, {Path(f"{n}.png"): n for n in range(41) if n != 3})
        assert store.info().ready
        assert store.problems() == ()


def test_many_new_pictures_extend_the_files(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_files, "RECENT", 10)
    place = tmp_path / "index"
    with opened(place, kind) as store:
        store.put(embedded(number) for number in range(40))
        store.prepare()
        store.put(embedded(number) for number in range(40, 60))
        store.forget([Path("3.png")])
        assert not store.info().ready
        check(store, {Path(f"{n}.png"): n for n in range(60) if n != 3})
        store.prepare(checked=False)
        assert store.info().ready
        (vectors,) = place.glob("vectors-*.npy")
        assert len(np.load(vectors)) == 60, "the removed row keeps its place"
        check(store, {Path(f"{n}.png"): n for n in range(60) if n != 3})


def test_when_a_third_is_gone_the_files_are_made_anew(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "index"
    with opened(place, kind) as store:
        store.put(embedded(number) for number in range(30))
        store.prepare()
        store.forget(Path(f"{number}.png") for number in range(10))
        store.prepare(checked=False)
        (vectors,) = place.glob("vectors-*.npy")
        assert len(np.load(vectors)) == 20
        check(store, {Path(f"{n}.png"): n for n in range(10, 30)})


def test_the_number_of_a_content_is_never_given_again(tmp_path: Path) -> None:
    with opened(tmp_path / "index") as store:
        store.put(embedded(number) for number in range(5))
        store.prepare()
        store.forget([Path("4.png")])
        store.put([embedded(4, content=77)])
        check(store, {Path(f"{n}.png"): n if n < 4 else 77 for n in range(5)})


def test_copies_and_moved_files_need_no_row_of_their_own(tmp_path: Path) -> None:
    place = tmp_path / "index"
    with opened(place) as store:
        store.put(embedded(number) for number in range(5))
        store.prepare()
        store.put([embedded(9, content=2)])
        store.forget([Path("2.png"), Path("0.png")])
        store.put([embedded(8, content=1)])
        check(store, {Path(f"{n}.png"): c for n, c in {1: 1, 3: 3, 4: 4, 9: 2, 8: 1}.items()})
        table = store.table()
        assert isinstance(table.vectors, SegmentedRows)
        assert len(table.vectors.recent) == 0


class Killed(BaseException):
    """End of the process."""


@pytest.mark.parametrize("step", range(12))
def test_a_process_killed_while_it_makes_files_leaves_an_index_that_answers(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(index_files, "RECENT", 10)
    place = tmp_path / "index"
    wanted = {Path(f"{n}.png"): n for n in range(60)}
    steps: Iterator[int] = iter(range(100))

    def or_die(function: object) -> object:
        def called(*given: object, **named: object) -> object:
            if next(steps) == step:
                raise Killed
            return function(*given, **named)  # type: ignore[operator]

        return called

    with opened(place, kind) as store:
        store.put(embedded(number) for number in range(40))
        store.prepare()
        store.put(embedded(number) for number in range(40, 60))
        with monkeypatch.context() as patched:
            for name in ("_write_vectors", "_write_keys", "_finish", "_checksum", "sync_folder"):
                patched.setattr(index_files, name, or_die(getattr(index_files, name)))
            patched.setattr(Path, "unlink", or_die(Path.unlink))
            patched.setattr(rows, "keep_derived", or_die(rows.keep_derived))
            with suppress(Killed):
                store.prepare()
    with opened(place, kind) as store:
        check(store, wanted)
        store.prepare()
        check(store, wanted)
        assert store.problems() == ()
    names = sorted(path.name.split("-")[0] for path in place.glob("*-*.*") if "db" not in path.name)
    assert names == (["graph", "keys", "vectors"] if kind == "hnsw" else ["keys", "vectors"])


def test_files_with_a_row_per_picture_as_they_were_before_are_read(tmp_path: Path) -> None:
    place = tmp_path / "index"
    with opened(place) as store:
        store.put(embedded(number) for number in range(6))
        store.prepare()
    with closing(sqlite3.connect(place / "index.db")) as raw, raw:
        (text,) = raw.execute("SELECT value FROM settings WHERE name = 'derived'").fetchone()
        old = {key: value for key, value in json.loads(text).items() if key != "keys_sum"}
        raw.execute("UPDATE settings SET value = ? WHERE name = 'derived'", (json.dumps(old),))
        raw.execute("DELETE FROM settings WHERE name = 'last_content'")
    (keys,) = place.glob("keys-*")
    keys.unlink()
    with opened(place) as store:
        assert store.info().ready
        check(store, {Path(f"{n}.png"): n for n in range(6)})
        store.put([embedded(6)])
        check(store, {Path(f"{n}.png"): n for n in range(7)})
        store.prepare()
        check(store, {Path(f"{n}.png"): n for n in range(7)})
        assert store.problems() == ()


def test_files_that_another_process_replaces_meanwhile_are_read_anew(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_files, "RECENT", 0)
    place = tmp_path / "index"
    whole, calls = index_files.all_rows, iter(range(9))

    with opened(place, kind) as store, opened(place, kind) as other:
        store.put(embedded(number) for number in range(6))
        store.prepare()

        def late(*given: Any) -> Any:
            if next(calls) == 0:
                other.put([embedded(6)])
                other.forget([Path("2.png")])
                other.prepare()
            return whole(*given)

        monkeypatch.setattr(index_files, "all_rows", late)
        check(store, {Path(f"{n}.png"): n for n in range(7) if n != 2})


def test_damaged_keys_are_refused_found_and_made_anew(tmp_path: Path) -> None:
    place = tmp_path / "index"
    with opened(place) as store:
        store.put(embedded(number) for number in range(6))
        store.prepare()
        (keys,) = place.glob("keys-*")
        content = bytearray(keys.read_bytes())
        content[-8] ^= 0xFF
        keys.write_bytes(content)
        with pytest.raises(SearchError, match="index build"):
            store.table()
        assert any(keys.name in problem for problem in store.problems())
        store.prepare()
        check(store, {Path(f"{n}.png"): n for n in range(6)})


def test_rows_of_two_segments_read_as_one_array() -> None:
    table = np.arange(40, dtype=np.float32).reshape(8, 5)
    slots = np.array([5, 0, 7, 2, 2])
    whole = joined(table[:6], table[6:], slots)
    np.testing.assert_array_equal(np.asarray(whole), table[slots])
    np.testing.assert_array_equal(whole[2], table[7])
    np.testing.assert_array_equal(whole[1:4], table[slots[1:4]])
    np.testing.assert_array_equal(whole[np.array([0, 2])], table[[5, 7]])
    np.testing.assert_array_equal(np.asarray(whole[:, 1:3]), table[slots][:, 1:3])
    np.testing.assert_array_equal(np.asarray(whole[..., :2], np.float64), table[slots][:, :2])
    assert (whole.shape, whole.ndim, len(whole), len(list(whole))) == ((5, 5), 2, 5, 5)


class ChangingIndex(RuleBasedStateMachine):
    """Any order of changes gives the same index as the pictures that are left."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = opened(Path(self.folder.name) / "index")
        self.wanted: dict[Path, int] = {}

    @rule(number=st.integers(0, 30), content=st.integers(0, 40))
    def put(self, number: int, content: int) -> None:
        self.store.put([embedded(number, content)])
        self.wanted[Path(f"{number}.png")] = content

    @rule(number=st.integers(0, 30))
    def forget(self, number: int) -> None:
        path = Path(f"{number}.png")
        assert self.store.forget([path]) == (path in self.wanted)
        self.wanted.pop(path, None)

    @rule(number=st.integers(0, 30))
    def leave_out(self, number: int) -> None:
        path = Path(f"{number}.png")
        if path in self.wanted:
            self.store.leave_out([path])
            del self.wanted[path]

    @rule(checked=st.booleans(), recent=st.integers(0, 6))
    def prepare(self, checked: bool, recent: int) -> None:
        before, index_files.RECENT = index_files.RECENT, recent
        try:
            self.store.prepare(checked=checked)
        finally:
            index_files.RECENT = before

    @rule()
    def sweep(self) -> None:
        self.store.sweep()

    @invariant()
    def holds_what_it_was_given(self) -> None:
        check(self.store, self.wanted)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestChangingIndex = ChangingIndex.TestCase
TestChangingIndex.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
