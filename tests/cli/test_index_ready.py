"""The end of a build is an event to the configured sinks; a build that runs says how far it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_sim.cli.main import main
from edge_sim.core.events import IndexReady, from_json_line
from edge_sim.search import indexes
from edge_sim.search.build import update
from edge_sim.search.rows import GRAPH, BuildProgress, IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

CONFIG = """
device: shed
sources:
  yard: {uri: "synthetic:bowl"}
watches:
  bowl: {source: yard, states: [empty, food]}
sinks:
  - {kind: file, path: events.jsonl}
  - {kind: unix_socket, path: events.sock}
  - {kind: command, argv: ["/bin/false"]}
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(4):
        write(tmp_path / "photos" / f"{number}.png", picture(number))
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "photos"


def events(folder: Path) -> list[IndexReady]:
    found = map(from_json_line, (folder / "events.jsonl").read_bytes().splitlines())
    return [event for event in found if isinstance(event, IndexReady)]


def test_a_build_and_an_addition_end_with_an_event(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "index")
    config = ["--config", str(tmp_path / "config.yaml")]
    build = ["index", "build", str(photos), "--out", place, "--model", "thumbnail"]
    assert main([*build, *config]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "sinks[1] (unix_socket)", "sinks[2] (command)"
    ]  # fmt: skip
    write(photos / "new.png", picture(9))
    assert main(["index", "add", place, *config]) == 0
    first, second = events(tmp_path)
    assert (first.device, first.index, first.pictures, first.new) == ("shed", place, 4, 4)
    assert (second.pictures, second.new, second.kind) == (5, 1, "exact")
    assert first.id != second.id


def test_an_import_ends_with_an_event(photos: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(3))
    (tmp_path / "ids.csv").write_text("id\na\nb\nc\n")
    files = [str(tmp_path / "v.npy"), str(tmp_path / "ids.csv")]
    place = ["--out", str(tmp_path / "index"), "--model-id", "their/model"]
    assert main(["index", "import", *files, *place, "--config", str(tmp_path / "config.yaml")]) == 0
    (event,) = events(tmp_path)
    assert (event.pictures, event.model) == (3, "their/model")


def test_a_configuration_that_cannot_be_used_is_said_before_the_work(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "index")
    build = ["index", "build", str(photos), "--out", place, "--model", "thumbnail"]
    assert main([*build, "--config", str(tmp_path / "none.yaml")]) == 78
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path(place).exists()


def test_a_graph_that_is_made_says_how_far_it_is(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "index"
    embedder = open_embedder("thumbnail")
    seen: list[BuildProgress | None] = []

    def write_graph(rows: Any, path: Path, *, progress: Any, earlier: Path | None) -> None:
        progress(1, 4)
        with IndexStore.open(place) as other:
            seen.append(other.update_state())
        path.write_bytes(b"a graph")
        progress(4, 4)

    kind = indexes.IndexKind(indexes.KINDS["exact"].open, "graph-{}.x", write_graph)
    monkeypatch.setitem(indexes.KINDS, "slow", kind)
    plan = IndexPlan(photos, embedder.model_id, "thumbnail", kind="slow")
    with IndexStore.open(place, create=plan) as store:
        update(store, embedder)
        assert seen == [BuildProgress(1, 4, is_running=True, stage=GRAPH)]
        assert str(seen[0]) == "being built by another process: 25 %, 1 of 4 rows in the graph"
        assert store.update_state() is None


def test_duplicates_say_that_an_index_is_unfinished(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "index"
    embedder = open_embedder("thumbnail")
    with IndexStore.open(place, create=IndexPlan(photos, embedder.model_id, "thumbnail")) as store:
        update(store, embedder)
        store.put([], progress=(2, 4))
    assert main(["duplicates", str(place), "--json"]) == 0
    printed = capsys.readouterr()
    assert "stopped at 50 %, 2 of 4 files" in printed.err
    assert json.loads(printed.out)["pictures"] == 4
