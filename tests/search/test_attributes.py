"""Tags and attributes belong to the content of a picture, and outlive its name."""

from __future__ import annotations

import json
import sqlite3
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.exif import exif_facts
from edge_sim.errors import DataError, SearchError
from edge_sim.search.attributes import EARLIER_SCHEMA, read_attributes
from edge_sim.search.build import UpdateReport, update
from edge_sim.search.export import FORMS, TABLES, ExportedPicture, export
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(4):
        write(folder / ("a" if number < 2 else "b") / f"{number}.png", picture(number))
    return folder


@pytest.fixture
def store(tmp_path: Path, photos: Path) -> IndexStore:
    opened = IndexStore.open(tmp_path / "index", create=IndexPlan(photos, EMBEDDER.model_id))
    refresh(opened)
    return opened


def refresh(store: IndexStore, *starts: Path) -> UpdateReport:
    return update(store, EMBEDDER, starts=starts)


def tags(store: IndexStore) -> dict[str, tuple[str, ...]]:
    return {str(entry.path): entry.tags for entry in store.entries() if entry.tags}


def test_a_tag_goes_with_a_file_that_is_moved(store: IndexStore, photos: Path) -> None:
    assert store.tag([Path("a/0.png")], "good") == 1
    (photos / "a/0.png").rename(photos / "b/new name.png")
    refresh(store)
    assert tags(store) == {"b/new name.png": ("good",)}


def test_a_tag_comes_back_with_a_picture_that_was_left_out(store: IndexStore, photos: Path) -> None:
    store.tag([Path("a/0.png")], "good")
    store.leave_out([Path("a/0.png"), Path("a/1.png")])
    assert (store.info().pictures, store.info().left_out, store.unread()) == (2, 2, ())
    assert refresh(store).left_out == 2
    report = refresh(store, photos / "a")  # a folder that was removed comes back by its name
    assert (report.left_out, store.info().pictures) == (0, 4)
    assert tags(store) == {"a/0.png": ("good",)}


def test_tags_come_off_and_are_renamed_into_one(store: IndexStore) -> None:
    store.tag([Path("a/0.png"), Path("a/1.png")], "good")
    store.tag([Path("a/1.png"), Path("b/2.png")], "fine")
    assert store.rename_tag("fine", "good") == 2
    assert store.info().tags == {"good": 3}
    assert store.untag([Path("a/0.png"), Path("b/3.png")], "good") == 1
    assert store.info().tags == {"good": 2}


def test_copies_share_their_tags(store: IndexStore, photos: Path) -> None:
    (photos / "copy.png").write_bytes((photos / "a/0.png").read_bytes())
    refresh(store)
    store.tag([Path("a/0.png")], "good")
    assert tags(store) == {"a/0.png": ("good",), "copy.png": ("good",)}


def test_tags_by_path_of_an_earlier_index_are_read_and_moved(
    tmp_path: Path, store: IndexStore
) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "index" / "index.db") as connection:
        connection.executescript(
            f"DROP TABLE content_tags; DROP TABLE attributes; {EARLIER_SCHEMA}"
        )
        connection.execute(
            "INSERT INTO tags SELECT id, 'old' FROM files WHERE path = CAST('a/0.png' AS BLOB)"
        )
    connection.close()
    with IndexStore.open(tmp_path / "index") as again:
        assert tags(again) == {"a/0.png": ("old",)}
        again.tag([Path("a/1.png")], "new")
        assert tags(again) == {"a/0.png": ("old",), "a/1.png": ("new",)}
        assert again.problems() == ()


@pytest.mark.parametrize("kind", ["csv", "json list", "json object"])
def test_a_table_in_the_folder_gives_attributes(store: IndexStore, photos: Path, kind: str) -> None:
    facts: dict[str, dict[str, object]] = {
        "a/0.png": {"place": "yard", "sunny": True},
        "b/9.png": {"place": "hall"},
    }
    if kind == "csv":
        (photos / "attributes.csv").write_text(
            "file,place,sunny\na\\0.png,yard,yes\nb/9.png,hall,\n"
        )
    elif kind == "json list":
        rows = [{"file": name, **own} for name, own in facts.items()]
        (photos / "attributes.json").write_text(json.dumps(rows))
    else:
        (photos / "attributes.json").write_text(json.dumps(facts))
    assert refresh(store).unmatched == ["b/9.png"]
    own = {str(entry.path): entry.own for entry in store.entries() if entry.own}
    assert own == {"a/0.png": {"place": "yard", "sunny": "yes"}}


def test_attributes_that_stay_are_not_written_again(store: IndexStore, photos: Path) -> None:
    facts = {Path("a/0.png"): {"place": "yard", "sunny": ""}, Path("b/2.png"): {"place": "hall"}}
    store.put_attributes(facts)
    log = store.path / "index.db-wal"
    written = log.read_bytes()
    store.put_attributes(facts)
    assert log.read_bytes() == written
    store.put_attributes({Path("a/0.png"): {"place": "attic"}, Path("a/none.png"): {"x": "y"}})
    own = {str(entry.path): entry.own for entry in store.entries() if entry.own}
    assert own == {"a/0.png": {"place": "attic"}}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "picture,place\n1.png,yard\n", "line 1: no column with the files"),
        ("t.csv", "file,width\n1.png,5\n", "line 2: 'width' is a built-in attribute"),
        ("t.csv", f"file,place\n1.png,{'x' * 2000}\n", "line 2: 'place' is longer than 1000"),
        ("t.json", "{", "is no JSON"),
        ("t.json", "[" * 100_000, "is no JSON"),
        ("t.json", "[1]", "wants a list of objects"),
        ("t.json", '[{"place": "yard"}]', "entry 1: names no file"),
        ("t.json", '[{"file": "1.png", "place": [1]}]', "entry 1: an attribute is text"),
        ("t.json", '{"1.png": {"place": "\\ud800"}}', "entry 1: 'place' holds half of a surrogate"),
        ("t.json", '{"1.png": {"\\udfff": 1}}', "entry 1: '\\udfff' holds half of a surrogate"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_where(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_attributes(tmp_path / name)
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_an_attribute_without_a_name_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"1.png": {"": "yard", "place": "\\ud83d\\ude00"}}')
    assert read_attributes(tmp_path / "t.json") == {"1.png": {"place": "\N{GRINNING FACE}"}}


def exif(order: str, model: bytes, taken: bytes) -> bytes:
    """Return the start of a JPEG file with these EXIF entries."""
    sign = b"II*\0" if order == "<" else b"MM\0*"
    texts = 8 + 2 + 2 * 12 + 4 + 2 + 12 + 4
    main = struct.pack(f"{order}H", 2)
    main += struct.pack(f"{order}HHII", 0x0110, 2, len(model), texts)
    main += struct.pack(f"{order}HHII", 0x8769, 4, 1, 8 + 2 + 2 * 12 + 4) + bytes(4)
    inner = struct.pack(f"{order}H", 1)
    inner += struct.pack(f"{order}HHII", 0x9003, 2, len(taken), texts + len(model)) + bytes(4)
    block = b"Exif\0\0" + sign + struct.pack(f"{order}I", 8) + main + inner + model + taken
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(block) + 2) + block + b"\xff\xda"


@pytest.mark.parametrize("order", ["<", ">"])
def test_time_and_camera_are_read_from_exif(order: str) -> None:
    data = exif(order, b"Pi Camera 3\0", b"2026:05:03 12:30:00\0")
    assert exif_facts(data) == {"camera": "Pi Camera 3", "taken": "2026-05-03T12:30:00"}


def test_an_empty_time_is_none() -> None:
    assert exif_facts(exif("<", b"Model\0", b"0000:00:00 00:00:00\0")) == {"camera": "Model"}


@given(st.data())
def test_damaged_exif_is_left_out(data: st.DataObject) -> None:
    whole = bytearray(
        exif(data.draw(st.sampled_from("<>")), b"M\0\0\0\0", b"2026:05:03 12:30:00\0")
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    found = exif_facts(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert set(found) <= {"camera", "taken"}


@pytest.fixture
def exported(photos: Path) -> list[ExportedPicture]:
    return [
        ExportedPicture(photos / "a/0.png", "a/0.png", ("x", "y"), {"state": "a", "place": "=1+1"}),
        ExportedPicture(photos / "b/2.png", "b/2.png", (), {"state": "b", "width": "64"}),
        ExportedPicture(photos / "a/0.png", "c/0.png", ("x",), {"state": ""}),
    ]


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_holds_every_picture(
    tmp_path: Path, exported: list[ExportedPicture], form: str
) -> None:
    assert export(exported, tmp_path / "out", form) == 3
    if form not in ("csv", "jsonl"):
        with pytest.raises(SearchError, match="name a new or empty folder"):
            export(exported, tmp_path / "out", form)


@pytest.mark.parametrize("form", sorted(FORMS.keys() - TABLES))
def test_an_export_that_fails_leaves_no_half_folder(
    tmp_path: Path, exported: list[ExportedPicture], form: str
) -> None:
    gone = replace(exported[1], file=tmp_path / "gone.png")
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "new", tmp_path / "empty"):
        with pytest.raises(SearchError, match=r"gone\.png"):
            export([exported[0], gone], place, form)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []
    assert export(exported, tmp_path / "empty", form) == 3


def test_a_table_has_a_column_per_attribute_and_no_formula(
    tmp_path: Path, exported: list[ExportedPicture]
) -> None:
    export(exported, tmp_path / "out.csv", "csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "file,state,tags,width,height,bytes,place",
        "a/0.png,a,x y,,,,'=1+1",
        "b/2.png,b,,64,,,",
        "c/0.png,,x,,,,",
    ]


def test_the_header_of_a_table_holds_no_formula(
    tmp_path: Path, exported: list[ExportedPicture]
) -> None:
    pictures = [replace(item, facts={"=1+1": "x"}) for item in exported]
    export(pictures, tmp_path / "out.csv", "csv")
    header = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert header.endswith(",'=1+1")


def test_a_folder_per_tag_holds_copies_under_free_names(
    tmp_path: Path, exported: list[ExportedPicture]
) -> None:
    export(exported, tmp_path / "out", "folders")
    files = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.png"))
    assert files == ["out/untagged/2.png", "out/x/0-2.png", "out/x/0.png", "out/y/0.png"]


def test_tasks_for_labelling_name_copied_pictures_and_states(
    tmp_path: Path, exported: list[ExportedPicture]
) -> None:
    export(exported, tmp_path / "out", "label-studio")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        f"/data/local-files/?d=out/pictures/{number}.png" for number in (1, 2, 3)
    ]
    assert tasks[0]["annotations"][0]["result"][0]["value"] == {"choices": ["a"]}
    assert '<Choice value="b"/>' in (tmp_path / "out" / "labelling.xml").read_text()


def test_a_data_set_of_fiftyone_has_the_documented_layout(
    tmp_path: Path, exported: list[ExportedPicture]
) -> None:
    odd = ExportedPicture(exported[0].file, "odd", (), {"state": "a", "label": "1", "a.b": "2"})
    export([*exported, odd], tmp_path / "out", "fiftyone")
    found = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert found["classes"] == ["a", "b"]
    assert sorted(path.stem for path in (tmp_path / "out" / "data").iterdir()) == [*"1234"]
    attributes = {"name": "a/0.png", "tags": ["x", "y"], "state": "a", "place": "=1+1"}
    assert found["labels"]["1"] == {"label": "a", "attributes": attributes}
    assert found["labels"]["3"] is None
    assert found["labels"]["4"]["attributes"].items() >= {"own_label": "1", "a_b": "2"}.items()


def test_the_data_set_of_fiftyone_is_read_by_fiftyone(
    tmp_path: Path, exported: list[ExportedPicture]
) -> None:
    data = pytest.importorskip("fiftyone.utils.data", reason="fiftyone is not installed")
    export(exported, tmp_path / "out", "fiftyone")
    with data.FiftyOneImageClassificationDatasetImporter(str(tmp_path / "out")) as importer:
        labels = [label for _, _, label in importer]
    assert [label and (label.label, label.tags) for label in labels] == [
        ("a", ["x", "y"]), ("b", []), None,
    ]  # fmt: skip


def test_a_picture_that_is_gone_is_named(tmp_path: Path, photos: Path) -> None:
    gone = ExportedPicture(photos / "gone.png", "gone.png", (), {})
    with pytest.raises(SearchError, match=r"gone\.png: No such file"):
        export([gone], tmp_path / "out", "folders")
