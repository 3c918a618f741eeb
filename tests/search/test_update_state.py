"""How far an update is can be asked from outside, while it runs and after it was stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.search import build as building
from edge_sim.search.build import update
from edge_sim.search.rows import BuildProgress, IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")
PICTURES = 10


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IndexPlan:
    monkeypatch.setattr(building, "BATCH", 4)
    for number in range(PICTURES):
        write(tmp_path / "photos" / f"{number}.png", picture(number))
    return IndexPlan(tmp_path / "photos", EMBEDDER.model_id, "thumbnail")


def test_an_update_that_runs_says_how_far_it_is(tmp_path: Path, plan: IndexPlan) -> None:
    seen: list[BuildProgress | None] = []

    def watch(done: Iterator[Path], total: int) -> Iterable[Path]:
        for path in done:
            with IndexStore.open(tmp_path / "index") as other:
                seen.append(other.update_state())
            yield path

    with IndexStore.open(tmp_path / "index", create=plan) as store:
        update(store, EMBEDDER, progress=watch)
        assert store.update_state() is None
    assert seen[0] == BuildProgress(0, PICTURES, is_running=True)
    assert seen[5] == BuildProgress(4, PICTURES, is_running=True)
    assert str(seen[5]) == "being built by another process: 40 %, 4 of 10 files"


def test_an_update_that_was_stopped_is_named_until_it_went_on(
    tmp_path: Path, plan: IndexPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(done: Iterator[Path], total: int) -> Iterable[Path]:
        for number, path in enumerate(done):
            if number == 5:
                raise KeyboardInterrupt
            yield path

    place = tmp_path / "index"
    with IndexStore.open(place, create=plan) as store:
        with pytest.raises(KeyboardInterrupt):
            update(store, EMBEDDER, progress=stop)
        state = store.update_state()
    assert state is not None
    assert (state.total, state.is_running) == (PICTURES, False)
    assert 4 <= state.done < PICTURES
    assert main(["index", "info", str(place)]) == 0
    assert f"stopped at {10 * state.done} %" in capsys.readouterr().out
    query = str(tmp_path / "photos" / "0.png")
    main(["search", "--index", str(place), "--query", query])
    assert f"{place}: stopped at {10 * state.done} %" in capsys.readouterr().err
    with IndexStore.open(place) as store:
        update(store, EMBEDDER)
        assert store.update_state() is None


def stopped(place: Path, plan: IndexPlan) -> BuildProgress:
    """Stop the build of an index after six pictures; return its state."""

    def stop(done: Iterator[Path], total: int) -> Iterable[Path]:
        for number, path in enumerate(done):
            if number == 5:
                raise KeyboardInterrupt
            yield path

    with IndexStore.open(place, create=plan) as store:
        with pytest.raises(KeyboardInterrupt) as caught:
            update(store, EMBEDDER, progress=stop)
        state = store.update_state()
    assert caught.tb is not None, "the frames of the build are still there"
    assert state is not None
    return state


def test_what_was_embedded_is_kept_before_the_index_is_closed(
    tmp_path: Path, plan: IndexPlan
) -> None:
    assert stopped(tmp_path / "index", plan).done == 6


def test_a_build_is_at_its_end_where_the_rest_of_the_pictures_is_gone(
    tmp_path: Path, plan: IndexPlan
) -> None:
    place = tmp_path / "index"
    stopped(place, plan)
    with IndexStore.open(place) as store:
        for path in plan.root.iterdir():
            if path.relative_to(plan.root) not in store.known():
                path.unlink()
        update(store, EMBEDDER)
        assert store.update_state() is None


def test_one_picture_does_not_end_a_build_that_was_stopped(tmp_path: Path, plan: IndexPlan) -> None:
    place = tmp_path / "index"
    state = stopped(place, plan)
    with IndexStore.open(place) as store:
        update(store, EMBEDDER, starts=[plan.root / "9.png"])
        assert store.update_state() == state
        update(store, EMBEDDER, starts=[plan.root])
        assert len(store.entries()) == PICTURES
        update(store, EMBEDDER)
        assert store.update_state() is None


def test_a_small_update_is_not_worth_a_word(tmp_path: Path, plan: IndexPlan) -> None:
    place = tmp_path / "index"
    with IndexStore.open(place, create=plan) as store:
        update(store, EMBEDDER, starts=[plan.root / "1.png"])
        assert store.update_state() is None
        assert len(store.entries()) == 1
