"""`model adapt` keeps what helps, says so with an interval, and refuses the rest."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edge_sim.analysis.adaptation import fit_head
from edge_sim.cli.main import main
from edge_sim.core.images import encode_jpeg
from edge_sim.core.types import Reference
from edge_sim.gallery.heads import keep_heads, kept_head
from edge_sim.gallery.records import Enrolled
from edge_sim.gallery.store import GalleryStore
from tests.analysis.galleries import gallery_of
from tests.pictures import picture

Captured = pytest.CaptureFixture[str]


def items(references: Iterable[Reference]) -> list[Enrolled]:
    return [
        Enrolled(
            state=item.state,
            embedding=item.embedding,
            thumbnail=item.thumbnail,
            crop=encode_jpeg(picture(number)),
            condition="day",
            enrolled_at=item.enrolled_at,
        )
        for number, item in enumerate(references)
    ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a gallery: one watch that light confuses, one that is clear, one with few."""
    monkeypatch.chdir(tmp_path)
    with GalleryStore.open("gallery.db", create=True) as store:
        store.add("gate", items(gallery_of((8, 8))))
        store.add("lamp", items(gallery_of((6, 6), signal=5.0)))
        store.add("bowl", items(gallery_of((5, 2))))
    return tmp_path


def answer(capsys: Captured, *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def revision() -> int:
    with GalleryStore.open("gallery.db", read_only=True) as store:
        return store.revision


def test_what_helps_is_kept_as_one_revision(here: Path, capsys: Captured) -> None:
    found = answer(capsys, "model", "adapt")
    assert found["revision"] == 4
    views = {view["watch"]: view for view in found["watches"]}
    assert [name for name, view in views.items() if view["learned"]] == ["gate"]
    gate = views["gate"]
    assert 0.0 < gate["low"] < gate["gain"] < gate["high"]
    assert gate["gain"] == pytest.approx(gate["after"] - gate["before"])
    assert views["lamp"]["reason"].startswith("no gain to be sure of (+0.000")
    assert "there are 2 of s1" in views["bowl"]["reason"]
    assert main(["gallery", "log", "--limit", "1"]) == 0
    assert "adapt" in capsys.readouterr().out
    assert main(["gallery", "undo"]) == 0
    assert main(["model", "adapt", "gate", "--dry-run"]) == 0


def test_a_dry_run_changes_nothing(here: Path, capsys: Captured) -> None:
    found = answer(capsys, "model", "adapt", "gate", "--dry-run")
    assert (found["revision"], found["watches"][0]["learned"], revision()) == (None, True, 3)
    assert main(["model", "adapt", "gate", "--dry-run"]) == 0
    assert "would be by the learned likeness" in capsys.readouterr().err


def test_people_see_figures_and_what_was_left_out(here: Path, capsys: Captured) -> None:
    assert main(["model", "adapt"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split()[:4] == ["watch", "references", "pairs", "right"]
    assert [line.split()[0] for line in lines[1:]] == ["bowl", "gate", "lamp"]
    assert "bowl: to learn a head takes" in printed.err
    assert "revision 4: searches in gate are by the learned likeness" in printed.err


@pytest.mark.parametrize("watch", ["lamp", "bowl"])
def test_no_gain_is_one_line_and_changes_nothing(here: Path, capsys: Captured, watch: str) -> None:
    assert main(["model", "adapt", watch]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"edge-sim: gallery.db: no likeness was learned: {watch}: ")
    assert error.count("\n") == 1
    assert revision() == 3


def test_a_head_that_would_not_be_learned_again_is_taken_out(here: Path, capsys: Captured) -> None:
    assert main(["model", "adapt", "gate"]) == 0
    with GalleryStore.open("gallery.db") as store:
        ids = [record.reference_id for record in store.records(watch="gate", state="s1")]
        store.remove(ids[:6])
    assert main(["model", "adapt", "gate"]) == 1
    assert "what was learned earlier is out (revision 6)" in capsys.readouterr().err
    with GalleryStore.open("gallery.db", read_only=True) as store:
        assert (store.log(limit=1)[0].verb, store.log(limit=1)[0].detail) == (
            "adapt",
            "gate taken out",
        )


def test_a_damaged_head_is_taken_out_where_nothing_new_is_learned(
    here: Path, capsys: Captured
) -> None:
    with GalleryStore.open("gallery.db") as store:
        head = fit_head(store.gallery("lamp"))
        keep_heads(store, {"lamp": head}, revision=store.revision, detail="lamp")
    with sqlite3.connect("gallery.db") as other:
        other.execute("UPDATE heads SET crc = crc + 1")
    other.close()
    assert main(["model", "adapt", "lamp"]) == 1
    with GalleryStore.open("gallery.db", read_only=True) as store:
        assert kept_head(store, "lamp", store.gallery("lamp")) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "no watch 'nope'; it has bowl, gate, lamp"),
        (["--gallery", "none.db"], "there is no gallery at none.db"),
    ],
)
def test_a_mistake_is_one_line(
    here: Path, capsys: Captured, arguments: list[str], words: str
) -> None:
    assert main(["model", "adapt", *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_an_empty_gallery_has_nothing_to_learn_from(tmp_path: Path, capsys: Captured) -> None:
    GalleryStore.open(tmp_path / "g.db", create=True).close()
    assert main(["model", "adapt", "--gallery", str(tmp_path / "g.db")]) == 1
    assert "no references to learn from" in capsys.readouterr().err
