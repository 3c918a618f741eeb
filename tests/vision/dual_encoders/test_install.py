"""What an import takes, tries and leaves behind; what it rejects is one line."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import make_dual_encoder
import numpy as np
import pytest

from edge_sim.errors import ModelError
from edge_sim.vision.dual_encoders import memory
from edge_sim.vision.dual_encoders.files import (
    CARD,
    CONFIG,
    FILES,
    PREPROCESSING,
    TEXTUAL,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VISUAL,
    license_of,
)
from edge_sim.vision.dual_encoders.install import (
    encoder_folder,
    import_folder,
    list_dual_encoders,
    pull_archive,
)
from edge_sim.vision.dual_encoders.onnx_encoder import open_dual_encoder
from tests.vision.embedders.archive_server import OPENER, serving

needs_runtime = pytest.mark.usefixtures("runtime")


@pytest.fixture
def runtime() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: edge_sim[text]")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed: edge_sim[text]")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    make_dual_encoder.make(tmp_path / "colours")
    return tmp_path / "colours"


@needs_runtime
def test_an_import_has_a_card_and_only_the_files_of_an_encoder(
    source: Path, tmp_path: Path
) -> None:
    (source / "run.py").write_text("raise SystemExit")
    (source / "textual" / "vocab.json").write_text("{}")
    made = import_folder(source, tmp_path / "models")
    assert made.folder == tmp_path / "models" / "text" / "colours"
    names = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*.*")}
    assert names == {*FILES, CARD, "README.md"}
    assert (made.card.license, made.card.dimension, made.card.input_px) == ("apache-2.0", 4, 16)
    assert made.facts is not None
    assert made.facts.peak_mb > 1
    again = import_folder(source, tmp_path / "models")
    assert (again.was_there, again.card) == (True, made.card)
    (listed,) = list_dual_encoders(tmp_path / "models")
    assert (listed.card, listed.problem) == (made.card, None)
    assert encoder_folder("colours", tmp_path / "models") == made.folder


@needs_runtime
def test_another_model_never_takes_the_place_of_one(source: Path, tmp_path: Path) -> None:
    import_folder(source, tmp_path / "models")
    make_dual_encoder.make(tmp_path / "other", masked=True)
    with pytest.raises(ModelError, match="another --name"):
        import_folder(tmp_path / "other", tmp_path / "models", name="colours")
    first = open_dual_encoder(tmp_path / "models" / "text" / "colours").model_id
    second = import_folder(tmp_path / "other", tmp_path / "models").card.model_id
    assert first.partition("@")[2] != second.partition("@")[2]


BAD: dict[str, Callable[[Path], object]] = {
    "no visual model": lambda at: (at / VISUAL).unlink(),
    "visual model cut off": lambda at: (at / VISUAL).write_bytes(
        make_dual_encoder.visual_model()[:200]
    ),
    "text model is noise": lambda at: (at / TEXTUAL).write_bytes(bytes(range(256)) * 8),
    "text model is empty": lambda at: (at / TEXTUAL).write_bytes(b""),
    "models swapped": lambda at: (at / VISUAL).write_bytes(make_dual_encoder.textual_model()),
    "another dimension": lambda at: (at / CONFIG).write_text(json.dumps({"embed_dim": 512})),
    "no dimension": lambda at: (at / CONFIG).write_text("{}"),
    "settings are no JSON": lambda at: (at / CONFIG).write_bytes(b"\xff{"),
    "another size": lambda at: (at / PREPROCESSING).write_text(
        json.dumps({"size": 99, "mean": [0, 0, 0], "std": [1, 1, 1]})
    ),
    "no square": lambda at: (at / PREPROCESSING).write_text(
        json.dumps({"size": [16, 17], "mean": [0, 0, 0], "std": [1, 1, 1]})
    ),
    "std of zero": lambda at: (at / PREPROCESSING).write_text(
        json.dumps({"size": 16, "mean": [0, 0, 0], "std": [1, 0, 1]})
    ),
    "no tokenizer": lambda at: (at / TOKENIZER).write_text("[]"),
    "tokenizer is no text": lambda at: (at / TOKENIZER).write_bytes(b"\xff\xfe"),
    "no padding": lambda at: (at / TOKENIZER_CONFIG).write_text('{"pad_token": "<none>"}'),
}


@needs_runtime
@pytest.mark.parametrize("fault", sorted(BAD))
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(
    source: Path, tmp_path: Path, fault: str
) -> None:
    BAD[fault](source)
    with pytest.raises(ModelError) as caught:
        import_folder(source, tmp_path / "models")
    assert "\n" not in str(caught.value)
    assert ".new-" not in str(caught.value)
    assert list((tmp_path / "models").rglob("*.*")) == []


@needs_runtime
@pytest.mark.parametrize("name", ["", "none", "../x", ".hidden", "a b", "x" * 101])
def test_a_name_is_a_plain_word(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot name"):
        import_folder(source, tmp_path / "models", name=name)


@needs_runtime
@pytest.mark.parametrize("name", [VISUAL, TEXTUAL, TOKENIZER, CONFIG])
def test_a_file_that_was_changed_after_the_import_is_not_loaded(
    source: Path, tmp_path: Path, name: str
) -> None:
    folder = import_folder(source, tmp_path / "models").folder
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    encoder = open_dual_encoder(folder)
    picture = np.full((4, 4, 3), 9, np.uint8)
    used = partial(encoder.embed_text, "red")
    if name == VISUAL:
        used = partial(encoder.embed_picture, picture)
    with pytest.raises(ModelError, match="changed since it was imported"):
        used()


@needs_runtime
def test_a_folder_without_a_card_is_not_opened(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model import-text"):
        open_dual_encoder(source)
    with pytest.raises(ModelError, match="no text model of that name"):
        encoder_folder("colours", tmp_path / "models")


@needs_runtime
def test_a_model_that_needs_more_memory_than_is_free_is_not_loaded(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 1_000_000)
    with pytest.raises(ModelError, match=r"takes about 120 MB of memory, 1 MB are free"):
        import_folder(source, tmp_path / "models")


def test_the_free_memory_is_the_least_that_the_system_names(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    assert memory.free_bytes(meminfo, tmp_path) == 2_048_000
    (tmp_path / "memory.max").write_text("1500000\n")
    (tmp_path / "memory.current").write_text("500000\n")
    assert memory.free_bytes(meminfo, tmp_path) == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(meminfo, tmp_path) == 2_048_000
    assert memory.free_bytes(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "unknown"),
        ({"README.md": "---\ntags:\n - a\nlicense: mit\n---\nlicense: gpl"}, "mit"),
        ({"README.md": "# A model\nlicense: none in the head"}, "unknown"),
        ({"LICENSE": "\n  Apache License 2.0\n"}, "Apache License 2.0"),
        ({"LICENSE": "Other", "README.md": "---\nlicense: 'cc-by-4.0'\n---\n"}, "cc-by-4.0"),
    ],
)
def test_the_licence_is_what_the_folder_states(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert license_of(tmp_path) == expected


def tgz(folder: Path, prefix: str = "made/") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.add(path, prefix + str(path.relative_to(folder)))
    return made.getvalue()


def zipped(folder: Path) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, str(path.relative_to(folder)))
    return made.getvalue()


@needs_runtime
@pytest.mark.parametrize("pack", [tgz, zipped])
def test_an_archive_is_fetched_compared_and_imported(
    source: Path, tmp_path: Path, pack: Callable[[Path], bytes]
) -> None:
    data, models = pack(source), tmp_path / "models"
    with serving(data) as shop:
        made = pull_archive(
            shop.url, sha256(data).hexdigest(), models, opener=OPENER, name="pulled"
        )
    assert (made.card.source, made.card.name) == (shop.url, "pulled")
    assert open_dual_encoder(made.folder).embed_text("red").shape == (4,)
    assert [path.name for path in (models / "text").iterdir()] == ["pulled"]


@needs_runtime
@pytest.mark.parametrize("fault", ["another sum", "no sum", "no archive", "two models", "empty"])
def test_what_was_fetched_in_vain_is_one_line_and_leaves_nothing(
    source: Path, tmp_path: Path, fault: str
) -> None:
    data = tgz(source)
    if fault == "no archive":
        data = b"<html>not found</html>"
    if fault == "empty":
        data = tgz(tmp_path / "nothing")
    if fault == "two models":
        (tmp_path / "two").mkdir()
        source.rename(tmp_path / "two" / "a")
        make_dual_encoder.make(tmp_path / "two" / "b")
        data = tgz(tmp_path / "two")
    digest = {"another sum": "0" * 64, "no sum": "abc"}.get(fault, sha256(data).hexdigest())
    (tmp_path / "a.tgz").write_bytes(data)
    with pytest.raises(ModelError) as caught:
        pull_archive(str(tmp_path / "a.tgz"), digest, tmp_path / "models", opener=OPENER)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith((str(tmp_path / "a.tgz"), "--sha256"))
    assert list((tmp_path / "models").rglob("*.*")) == []


@needs_runtime
def test_nothing_is_fetched_that_the_memory_cannot_hold(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 1_000_000)
    data = tgz(source)
    with serving(data) as shop, pytest.raises(ModelError, match="memory"):
        pull_archive(shop.url, sha256(data).hexdigest(), tmp_path, opener=OPENER, name="x")


@needs_runtime
def test_nothing_outside_the_folder_is_written(source: Path, tmp_path: Path) -> None:
    data = tgz(source, "../../../made/")
    (tmp_path / "a.tgz").write_bytes(data)
    digest = sha256(data).hexdigest()
    pull_archive(str(tmp_path / "a.tgz"), digest, tmp_path / "models", opener=OPENER)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgz", "colours", "models"}
