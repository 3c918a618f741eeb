"""A public model is fetched, checked, cut and put in place: all of it, or nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_pull import PUBLIC, pull
from tests.vision.embedders.archive_server import (
    MEMBER,
    OPENER,
    Shop,
    packed,
    serving,
    tiny,
    tiny_archive,
)
from tests.vision.embedders.full_disk import largest_file
from tests.vision.embedders.tiny_models import classifier_model, grid_model, needs_litert

pytestmark = needs_litert


@pytest.fixture
def shop() -> Iterator[Shop]:
    with serving(tiny_archive()) as shop:
        yield shop


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_model_is_there_with_its_card_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "models"
    pulled = pull(tiny(shop.url), folder, opener=OPENER)
    assert names(folder) == ["tiny.json", "tiny.tflite"]
    assert (pulled.was_there, pulled.embedder.dimension) == (False, 3)
    card = json.loads((folder / "tiny.json").read_text())
    assert card["license"] == "MIT"
    assert card["training"]["cut_from"] == MEMBER
    assert card["training"]["cut_from_sha256"] == tiny("").sha256


def test_what_is_there_is_not_fetched_again(shop: Shop, tmp_path: Path) -> None:
    pull(tiny(shop.url), tmp_path, opener=OPENER)
    assert pull(tiny(shop.url), tmp_path, opener=OPENER).was_there
    assert shop.asked == 1


def test_another_model_of_that_name_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(grid_model())
    with pytest.raises(ModelError, match="was not made of"):
        pull(tiny(shop.url), tmp_path, opener=OPENER)
    assert (tmp_path / "tiny.tflite").read_bytes() == grid_model()


def test_a_broken_connection_leaves_nothing_and_the_next_pull_works(
    shop: Shop, tmp_path: Path
) -> None:
    shop.cut_after = 300
    with pytest.raises(ModelError, match="run it again"):
        pull(tiny(shop.url), tmp_path, opener=OPENER)
    assert names(tmp_path) == []
    shop.cut_after = None
    pull(tiny(shop.url), tmp_path, opener=OPENER)
    assert names(tmp_path) == ["tiny.json", "tiny.tflite"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed({f"tiny/{MEMBER}": grid_model()}), "has sha256 .*; it was not used"),
        (packed({"tiny/other.tflite": classifier_model()}), "there is no tiny_uint8.tflite inside"),
        (b"<html>Sign in to the hotel's network</html>", "not a whole .tgz archive"),
        (gzip.compress(b"no tar at all"), "not a whole .tgz archive"),
        (b"", "an empty file"),
    ],
    ids=["wrong sha256", "not inside", "a page", "no tar", "empty"],
)
def test_a_wrong_archive_is_refused_and_leaves_nothing(
    shop: Shop, tmp_path: Path, content: bytes, message: str
) -> None:
    shop.content = content
    with pytest.raises(ModelError, match=message) as caught:
        pull(tiny(shop.url), tmp_path, opener=OPENER)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_an_archive_cut_off_anywhere_gives_no_model(shop: Shop, tmp_path: Path) -> None:
    whole = shop.content
    shop.tells_length = False  # so that only the archive gives its end
    for length in range(1, len(whole) - 30, 97):
        shop.content = whole[:length]
        with pytest.raises(ModelError):
            pull(tiny(shop.url), tmp_path, opener=OPENER)
        assert not (tmp_path / "tiny.tflite").exists()


def test_a_copy_on_disk_needs_no_network(tmp_path: Path) -> None:
    copy = tmp_path / "copy.tgz"
    copy.write_bytes(tiny_archive())
    folder = tmp_path / "models"
    pull(tiny("http://nowhere.invalid/x"), folder, opener=OPENER, source=str(copy))
    assert names(folder) == ["tiny.json", "tiny.tflite"]
    assert copy.read_bytes() == tiny_archive()


def test_a_damaged_copy_is_refused_and_kept(tmp_path: Path) -> None:
    copy = tmp_path / "copy.tgz"
    copy.write_bytes(tiny_archive()[:500])
    with pytest.raises(ModelError, match="not a whole"):
        pull(tiny("http://nowhere.invalid/x"), tmp_path, opener=OPENER, source=str(copy))
    assert copy.exists()


def test_a_copy_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read \(No such file"):
        pull(tiny("http://x.invalid/x"), tmp_path, opener=OPENER, source=str(tmp_path / "no.tgz"))


def test_an_archive_that_unpacks_to_far_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.tgz"
    copy.write_bytes(tiny_archive())
    monkeypatch.setattr("edge_sim.vision.embedders.model_pull.UNPACKED_BYTES", 9_000)
    with pytest.raises(ModelError, match="unpacks to too many bytes"):
        pull(tiny("http://x.invalid/x"), tmp_path, opener=OPENER, source=str(copy))


def test_a_full_disk_is_one_line_and_leaves_no_model(tmp_path: Path) -> None:
    copy = tmp_path / "copy.tgz"
    copy.write_bytes(tiny_archive())
    folder = tmp_path / "models"
    with largest_file(100), pytest.raises(ModelError, match=r"tiny\.tflite: cannot write"):
        pull(tiny("http://x.invalid/x"), folder, opener=OPENER, source=str(copy))
    assert names(folder) == []


def test_a_card_without_its_model_is_written_anew(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text("{")
    assert pull(tiny(shop.url), tmp_path, opener=OPENER).embedder.card is not None


def test_a_folder_that_cannot_be_made_is_one_line(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot make the folder"):
        pull(tiny(shop.url), tmp_path / "file" / "models", opener=OPENER)
    assert shop.asked == 0


def test_what_is_no_classifier_is_refused_though_its_hash_fits(shop: Shop, tmp_path: Path) -> None:
    data = grid_model()
    shop.content = packed({MEMBER: data})
    model = replace(tiny(shop.url), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(ModelError, match="not a classifier"):
        pull(model, tmp_path, opener=OPENER)
    assert not (tmp_path / "tiny.tflite").exists()


def test_public_models_are_pinned_and_named_by_their_key() -> None:
    for name, model in PUBLIC.items():
        assert model.name == name
        assert model.url.startswith("https://")
        assert len(bytes.fromhex(model.sha256)) == 32
