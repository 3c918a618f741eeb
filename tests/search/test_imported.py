"""Vectors of one's own are searched by their ids, and every fault of the files is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.cli.main import main
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError
from edge_sim.search import imported
from edge_sim.search.imported import import_vectors, open_vectors, read_ids
from edge_sim.search.rows import IMPORTED, IndexPlan
from edge_sim.search.store import IndexStore

DIMENSION = 8
IDS = [f"{'cats' if number % 2 else 'dogs'}/{number}.jpg" for number in range(6)]


def vectors(seed: int = 0, rows: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, DIMENSION)).astype(np.float32)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = [f"{name},{'press' if at < 3 else 'hall'}," for at, name in enumerate(IDS)]
    lines[2] += "good new"
    path = tmp_path / "ids.csv"
    path.write_text("\n".join(["id,place,tags", *lines]))
    return path


@pytest.fixture
def array(tmp_path: Path) -> Path:
    np.save(tmp_path / "v.npy", vectors())
    return tmp_path / "v.npy"


def imported_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code = main(["index", "import", *map(str, arguments), "--model-id", "their/model", "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    found: dict[str, Any] = json.loads(printed.out)
    return found


def hits(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    assert main(["search", *map(str, arguments), "--json"]) == 0
    return [hit["name"] for hit in json.loads(capsys.readouterr().out)["hits"]]


def test_rows_are_found_by_their_ids_by_a_vector_and_through_filters(
    tmp_path: Path, table: Path, array: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "own.index"
    found = imported_json(capsys, array, table, "--out", place)
    assert (found["rows"], found["new"], found["model_id"]) == (6, 6, "their/model")
    np.save(tmp_path / "q.npy", 7.0 * vectors()[3])
    assert hits(capsys, "--index", place, "--query", IDS[1], "--top-k", 1) == [IDS[1]]
    assert hits(capsys, "--index", place, "--query", tmp_path / "q.npy", "--top-k", 1) == [IDS[3]]
    assert len(hits(capsys, "--index", place, "--query", IDS[1], IDS[2])) == 6
    by_place = hits(capsys, "--index", place, "--query", IDS[1], "--where", "place = press")
    assert sorted(by_place) == sorted(IDS[:3])
    assert hits(capsys, "--index", place, "--query", IDS[1], "--tag", "good") == [IDS[2]]
    with IndexStore.open(place) as store:
        np.testing.assert_allclose(store.table().vectors, normalised(vectors()), atol=1e-6)
        assert store.problems() == ()


def test_a_second_import_writes_what_differs_and_tags_stay_with_their_ids(
    tmp_path: Path, table: Path, array: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "own.index"
    imported_json(capsys, array, table, "--out", place)
    assert imported_json(capsys, array, table, "--out", place)["unchanged"] == 6
    after = vectors()
    after[2] = -after[2]
    np.save(array, after)
    found = imported_json(capsys, array, table, "--out", place)
    assert (found["changed"], found["unchanged"]) == (1, 5)
    with IndexStore.open(place) as store:
        rows = {str(entry.path): row for row, entry in enumerate(store.entries())}
        np.testing.assert_allclose(
            store.table().vectors[rows[IDS[2]]], normalised(after[2]), atol=1e-6
        )
        assert store.entries()[rows[IDS[2]]].tags == ("good", "new")
        assert store.problems() == ()
    np.save(array, after[:2])
    (tmp_path / "two.csv").write_text(f"id\n{IDS[0]}\nother\n")
    found = imported_json(capsys, array, tmp_path / "two.csv", "--out", place, "--add")
    assert (found["new"], found["gone"], found["rows"]) == (1, 0, 7)
    found = imported_json(capsys, array, tmp_path / "two.csv", "--out", place)
    assert (found["gone"], found["rows"]) == (5, 2)


def test_an_id_that_was_left_out_by_hand_stays_out(
    tmp_path: Path, table: Path, array: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "own.index"
    imported_json(capsys, array, table, "--out", place)
    assert main(["index", "rm", str(place), str(tmp_path / IDS[0])]) == 0
    capsys.readouterr()
    found = imported_json(capsys, array, table, "--out", place)
    assert (found["left_out"], found["rows"]) == (1, 5)


def test_exported_vectors_can_be_imported_again(
    tmp_path: Path, table: Path, array: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, out = tmp_path / "a.index", tmp_path / "b.index", tmp_path / "out"
    imported_json(capsys, array, table, "--out", first)
    assert main(["index", "export", str(first), str(out), "--format", "vectors"]) == 0
    capsys.readouterr()
    imported_json(capsys, out / "vectors.npy", out / "ids.csv", "--out", second)
    with IndexStore.open(first) as before, IndexStore.open(second) as after:
        facts = [(entry.path, entry.tags, entry.own) for entry in before.entries()]
        assert facts == [(entry.path, entry.tags, entry.own) for entry in after.entries()]
        np.testing.assert_allclose(before.table().vectors, after.table().vectors, atol=1e-6)
    assert main(["index", "export", str(first), str(out), "--format", "vectors"]) != 0
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["folders", "fiftyone", "label-studio"])
@pytest.mark.parametrize("leads_out", ["../secret.jpg", "{tmp_path}/secret.jpg"])
def test_no_picture_outside_the_folder_of_the_ids_is_copied(
    leads_out: str,
    form: str,
    tmp_path: Path,
    array: Path,
    table: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"not to be copied")
    (tmp_path / "photos").mkdir()
    own = leads_out.format(tmp_path=tmp_path)
    table.write_text(table.read_text().replace(IDS[0], own))
    place, out = tmp_path / "index", tmp_path / "out"
    imported_json(capsys, array, table, "--out", place, "--root", tmp_path / "photos")
    assert main(["index", "export", str(place), str(out), "--format", form]) != 0
    err = capsys.readouterr().err
    assert f"edge-sim: {own}: leads out of {tmp_path / 'photos'}" in err
    assert not out.exists()
    assert main(["index", "export", str(place), str(out), "--format", "csv"]) == 0
    assert own in out.read_text()


@pytest.mark.parametrize("leads_out", ["../secret.png", "{tmp_path}/secret.png"])
def test_a_page_of_hits_shows_no_picture_outside_the_folder_of_the_ids(
    leads_out: str,
    tmp_path: Path,
    array: Path,
    table: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = np.full((40, 40, 3), 90, np.uint8)
    (tmp_path / "photos").mkdir()
    for path in ("secret.png", "photos/shown.png"):
        assert cv2.imwrite(str(tmp_path / path), picture)
    text = table.read_text().replace(IDS[0], leads_out.format(tmp_path=tmp_path))
    table.write_text(text.replace(IDS[1], "shown.png"))
    place, page = tmp_path / "index", tmp_path / "page.html"
    imported_json(capsys, array, table, "--out", place, "--root", tmp_path / "photos")
    hits(capsys, "--index", place, "--query", "shown.png", "--report", page)
    shown = page.read_text().count("data:image/jpeg")
    assert shown == 2, "the query, and of the hits only the one in the folder"


def test_vectors_of_another_model_are_refused_with_the_option_that_there_is(
    tmp_path: Path, array: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "index"
    imported_json(capsys, array, table, "--out", place)
    other = ["index", "import", str(array), str(table), "--out", str(place), "--model-id", "other"]
    assert main(other) != 0
    assert "name that one with --model-id, or import into another" in capsys.readouterr().err


def test_an_import_that_was_stopped_goes_on(
    tmp_path: Path, table: Path, array: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported, "BATCH", 2)
    plan = IndexPlan(tmp_path, "their/model", IMPORTED)

    def stop(done: Any, total: int) -> Any:
        for number in done:
            if number == 3:
                raise KeyboardInterrupt
            yield number

    with IndexStore.open(tmp_path / "index", create=plan) as store:
        with pytest.raises(KeyboardInterrupt):
            import_vectors(store, open_vectors(array), read_ids(table), progress=stop)
        state = store.update_state()
        assert state is not None
        assert (state.done, state.total) == (4, 6)
        assert "index import" in str(state)
        report = import_vectors(store, open_vectors(array), read_ids(table))
        assert (report.unchanged, report.new) == (4, 2)
        assert store.update_state() is None


def not_a_number(rows: NDArray[np.float32]) -> NDArray[Any]:
    rows[4, 2] = np.nan
    return rows


def zeros(rows: NDArray[np.float32]) -> NDArray[Any]:
    rows[5] = 0.0
    return rows


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda rows: rows[:5], "5 rows, but .* names 6 ids"),
        (lambda rows: rows[0], r"one row of numbers per id, \(N, D\)"),
        (lambda rows: rows[:, :0], "rows of 1 to 65536 numbers, got 0"),
        (lambda rows: rows.astype(complex), "one row of numbers per id"),
        (not_a_number, "'dogs/4.jpg' holds NaN"),
        (zeros, "'cats/5.jpg' is all zeros"),
        (lambda rows: rows.astype(np.float64) * 1e300, "beyond float32"),
    ],
)
def test_vectors_that_cannot_be_used_are_named(
    tmp_path: Path, table: Path, changed: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", changed(vectors()))
    rejected(capsys, tmp_path / "v.npy", table, words)
    assert not (tmp_path / "own.index").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x93NUMPY\x01\x00v\x00{'descr'", b"PK\x03\x04"]
)
def test_a_file_that_is_no_array_is_named(
    tmp_path: Path, table: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    rejected(capsys, tmp_path / "v.npy", table, "is no whole .npy file of numbers")


def test_pickled_objects_are_not_loaded(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", np.array([[1, "a"]] * 6, object), allow_pickle=True)
    rejected(capsys, tmp_path / "v.npy", table, "is no whole .npy file of numbers")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id\na\nb\na\nc\nd\ne\n", "line 4: the id 'a' is that of line 2 already"),
        ("id\na\n./a\n", "line 3: the id 'a' is that of line 2 already"),
        ("id\n", "holds no ids"),
        ("", "is empty"),
        ("a\nb\n", "line 1: no column with the ids; call one of a `id`"),
        ("id,x\na,1\n,2\n", "line 3: the id is empty"),
        ("id,tags\na,so/so\n", "line 2: 'so/so' cannot be the name of a tag"),
        ("id,width\na,1\n", "'width' is a built-in attribute"),
        (f"id\n{'a' * 5000}\n", "line 2: the id is longer than 4096"),
        (f"id,x\na,{'b' * 2000}\n", "line 2: 'x' is longer than 1000"),
        ('id\n"a\x07"\n', "line 2: the id .* control characters"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, array: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    rejected(capsys, array, tmp_path / "bad.csv", words)


def rejected(capsys: pytest.CaptureFixture[str], array: Path, table: Path, words: str) -> None:
    place = array.parent / "own.index"
    arguments = ["index", "import", str(array), str(table), "--out", str(place)]
    assert main([*arguments, "--model-id", "their/model"]) != 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert re.search(words, printed.err), printed.err


def test_pictures_and_vectors_do_not_mix(
    tmp_path: Path, table: Path, array: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "own.index"
    imported_json(capsys, array, table, "--out", place)
    for arguments, words in (
        (["index", "build", str(tmp_path), "--out", str(place)], "holds imported vectors"),
        (["index", "add", str(place)], "holds imported vectors"),
        (["duplicates", str(place)], "holds imported vectors"),
        (["search", "--index", str(place), "--query", str(table)], "no model for pictures"),
        (["search", "--index", str(place), "--text", "horse"], "default model"),
        (["search", "--index", str(place), "--query", IDS[0], "--metric", "ssim"], "no pictures"),
        (["search", "--index", str(place), "--query", IDS[0], "--roi", "0,0,1,1"], "no pictures"),
    ):
        assert main(arguments) != 0
        assert words in capsys.readouterr().err, arguments


def test_another_model_or_length_is_refused(
    tmp_path: Path, table: Path, array: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "own.index"
    imported_json(capsys, array, table, "--out", place)
    arguments = ["index", "import", str(array), str(table), "--out", str(place)]
    assert main([*arguments, "--model-id", "another"]) != 0
    assert "made with the model their/model, not another" in capsys.readouterr().err
    np.save(array, vectors()[:, :7])
    assert main([*arguments, "--model-id", "their/model"]) != 0
    assert "have 7 numbers, those of the index 8" in capsys.readouterr().err
    for name in ("", "  ", "a\nb", "x" * 300):
        assert main([*arguments, "--model-id", name]) != 0
        assert "--model-id" in capsys.readouterr().err


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint8]),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 1000),
)
def test_any_kind_of_numbers_becomes_unit_rows(
    tmp_path_factory: pytest.TempPathFactory, kind: Any, order: Any, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("kinds")
    rows = np.asarray(np.clip(40 * np.abs(vectors(seed)), 1, 100), kind, order=order)
    np.save(folder / "v.npy", rows)
    found = open_vectors(folder / "v.npy")
    unit = imported.unit_rows(found.rows, list("abcdef"), found.place)
    np.testing.assert_allclose(unit, normalised(rows.astype(np.float32)), atol=1e-6)


def test_an_index_of_pictures_takes_no_import(tmp_path: Path, array: Path, table: Path) -> None:
    plan = IndexPlan(tmp_path, "their/model", "thumbnail")
    with (
        IndexStore.open(tmp_path / "index", create=plan) as store,
        pytest.raises(SearchError, match="holds pictures"),
    ):
        import_vectors(store, open_vectors(array), read_ids(table))
