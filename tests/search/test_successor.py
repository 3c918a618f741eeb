"""Another model fills a second index beside the first, which is searched until that is complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.errors import ModelError, SearchError
from edge_sim.search import build as building
from edge_sim.search import successor
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.search.successor import open_successor, successor_of, successor_path, take_place
from edge_sim.vision.embedders import open_embedder
from tests.builders import BrightnessEmbedder
from tests.pictures import picture, write

FIRST = open_embedder("thumbnail")
SECOND = BrightnessEmbedder()
PICTURES = 6


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(building, "BATCH", 2)
    for number in range(PICTURES):
        write(tmp_path / "photos" / f"{number}.png", picture(number))
    with IndexStore.open(tmp_path / "index", create=plan_of(tmp_path, FIRST.model_id)) as store:
        update(store, FIRST)
        store.tag([Path("1.png")], "good")
        store.leave_out([Path("2.png")])
    return tmp_path / "index"


def plan_of(folder: Path, model_id: str) -> IndexPlan:
    return IndexPlan(folder / "photos", model_id, "thumbnail")


def model_of(place: Path) -> str:
    with IndexStore.open(place) as store:
        assert store.problems() == ()
        return store.plan.model_id


def fill(place: Path, *, stop_after: int | None = None) -> None:
    def stop(done: Iterator[Path], total: int) -> Iterable[Path]:
        for number, path in enumerate(done):
            if number == stop_after:
                raise KeyboardInterrupt
            yield path

    with IndexStore.open(place) as old:
        store = open_successor(old, plan_of(place.parent, SECOND.model_id))
    with store:
        update(store, SECOND, progress=stop)


def test_the_first_is_searched_until_the_second_is_complete(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(place, stop_after=3)
    assert model_of(place) == FIRST.model_id
    found = successor_of(place)
    assert found is not None
    assert found.model_id == SECOND.model_id
    assert found.update is not None
    assert 2 <= found.update.done < PICTURES
    fill(place)
    with IndexStore.open(place) as store:
        store.tag([Path("3.png")], "late")
        store.leave_out([Path("4.png")])
        before = store.table()
        take_place(place)
        assert len(before.vectors[0]) == before.dimension, "what is open stays readable"
    assert model_of(place) == SECOND.model_id
    assert not successor_path(place).exists()
    assert successor_of(place) is None
    with IndexStore.open(place) as store:
        tags = {str(item.path): item.tags for item in store.entries() if item.tags}
        assert tags == {"1.png": ("good",), "3.png": ("late",)}
        assert sorted(store.entries().names) == ["0.png", "1.png", "3.png", "5.png"]
        assert store.info().left_out == 2


def test_without_an_exchange_in_one_step_the_names_are_changed_one_by_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(successor, "_RENAME_EXCHANGE", 1 << 20)  # which no system knows
    fill(place)
    take_place(place)
    assert model_of(place) == SECOND.model_id
    assert sorted(item.name for item in place.parent.iterdir()) == ["index", "photos"]


def test_a_third_model_and_another_folder_are_refused(place: Path, tmp_path: Path) -> None:
    fill(place)
    (tmp_path / "other").mkdir()
    with IndexStore.open(place) as old:
        with pytest.raises(ModelError, match="a second index for the model"):
            open_successor(old, plan_of(tmp_path, "a third"))
        other = IndexPlan(tmp_path / "other", SECOND.model_id, "thumbnail")
        with pytest.raises(SearchError, match="an index of"):
            open_successor(old, other)


def test_the_command_keeps_the_model_unless_another_is_named(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ["index", "build", str(tmp_path / "photos"), "--out", str(place), "--json"]
    assert main(build) == 0
    assert json.loads(capsys.readouterr().out)["model_id"] == FIRST.model_id
    assert main([*build, "--model", "default"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["index"], found["pictures"], found["left_out"]) == (str(place), PICTURES - 1, 1)
    assert found["model_id"] == open_embedder("default").model_id
    assert "this one is searched until that is complete" in printed.err


def test_info_names_what_is_to_take_the_place(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(place, stop_after=3)
    assert main(["index", "info", str(place)]) == 0
    printed = capsys.readouterr().out
    assert f"to be replaced by  {SECOND.model_id}, stopped at" in printed
    assert main(["index", "info", str(place), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["successor"]
    assert (found["model_id"], found["update"]["running"]) == (SECOND.model_id, False)


def test_the_second_keeps_kind_and_scale_unless_others_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "photos" / "0.png", picture(0))
    build = ["index", "build", str(tmp_path / "photos"), "--out", str(tmp_path / "index")]
    assert main([*build, "--model", "thumbnail", "--scale", "both", "--kind", "exact-int8"]) == 0
    assert main([*build, "--model", "default"]) == 0
    with IndexStore.open(tmp_path / "index") as store:
        plan = store.plan
    assert plan.model_id == open_embedder("default").model_id
    assert (plan.kind, plan.scale.value) == ("exact-int8", "both")
    assert main([*build, "--scale", "global"]) == 1
    assert "keeps the scale both" in capsys.readouterr().err


def test_what_is_left_of_the_first_is_taken_for_no_second(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    fill(place)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            take_place(place)
    assert model_of(place) == SECOND.model_id
    assert successor_of(place) is None
    with IndexStore.open(place) as old:
        store = open_successor(old, plan_of(place.parent, FIRST.model_id))
    with store:
        update(store, FIRST)
    take_place(place)
    assert model_of(place) == FIRST.model_id
    assert sorted(item.name for item in place.parent.iterdir()) == ["index", "photos"]
