"""A zip is unpacked without trusting a word of it."""

from __future__ import annotations

import io
import os
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import pytest

from edge_sim.errors import SourceError
from edge_sim.gallery.import_export import ArchiveLimits, is_archive, states_in, unpacked
from tests.gallery.pictures import scene

PICTURE = cv2.imencode(".png", scene(1))[1].tobytes()


def packed(path: Path, *names: str, content: bytes = PICTURE) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            is_picture = PurePosixPath(name).suffix not in (".sh", ".exe")
            archive.writestr(name, content if is_picture else b"exit 1")
    return path


@pytest.mark.parametrize(
    ("names", "states"),
    [
        (["open/1.png", "shut/1.png"], ["open", "shut"]),
        (["set/open/1.png", "set/shut/1.png", "__MACOSX/set/._x"], ["open", "shut"]),
        (["model/dataset/open/1.png", "model/train/x.png"], ["open"]),
        (["dataset/open/1.png"], ["open"]),
        (["open/1.png", "run.sh", "open/run.exe"], ["open"]),
        (["open/1", "shut/photo.dat"], ["open", "shut"]),
        (["0.png", "1.png"], ["Class_1"]),
        (["train/good/1.png", "test/cut/1.png"], ["cut", "good"]),
    ],
)
def test_pictures_come_out_by_state(tmp_path: Path, names: list[str], states: list[str]) -> None:
    with unpacked(packed(tmp_path / "Class 1-samples.zip", *names)) as folder:
        assert list(states_in(folder)) == states
        assert not [path for path in folder.rglob("*") if path.suffix in (".sh", ".exe")]
        inside = folder
    assert not inside.exists()


@pytest.mark.parametrize(
    "name",
    ["../up.png", "a/../../up.png", "/root/up.png", "..\\up.png", "C:/up.png", "a/" * 9 + "1.png"],
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "in.zip", "open/1.png", name)
    with pytest.raises(SourceError, match="not safe"), unpacked(path):
        pass
    assert sorted(item.name for item in tmp_path.iterdir()) == ["in.zip"]


def test_links_stay_inside(tmp_path: Path) -> None:
    path = packed(tmp_path / "in.zip", "open/1.png")
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("open/2.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with unpacked(path) as folder:
        assert [item.name for item in (folder / "open").iterdir()] == ["1.png"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ArchiveLimits(file_bytes=9_999_999), "unpacks to more than 9999999 bytes"),
        (ArchiveLimits(total_bytes=10_000_001), "unpacks to more than 1 bytes"),
        (ArchiveLimits(entries=1), "2 entries are more than 1"),
    ],
    ids=["file", "total", "entries"],
)
def test_a_bomb_does_not_go_off(tmp_path: Path, limits: ArchiveLimits, words: str) -> None:
    path = packed(tmp_path / "in.zip", "open/1.png", "open/2.png", content=bytes(10_000_000))
    assert path.stat().st_size < 50_000
    with pytest.raises(SourceError, match=words), unpacked(path, limits):
        pass


def test_sizes_that_lie_are_found_out(tmp_path: Path) -> None:
    path = packed(tmp_path / "in.zip", "open/1.png", content=bytes(1_000_000))
    content = path.read_bytes()
    true = (1_000_000).to_bytes(4, "little")
    assert content.count(true) == 2
    path.write_bytes(content.replace(true, (10).to_bytes(4, "little")))
    with pytest.raises(SourceError), unpacked(path, ArchiveLimits(file_bytes=1000)):
        pass


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def _encrypt(path: Path) -> None:
    content = path.read_bytes()
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(mark) + at
        content = content[:place] + b"\x01" + content[place + 1 :]
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [_cut, _flip, _encrypt, Path.unlink])
def test_a_damaged_zip_is_one_line(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = packed(tmp_path / "in.zip", "open/1.png")
    spoil(path)
    with pytest.raises(SourceError, match=r"in\.zip") as refused, unpacked(path):
        pass
    assert "\n" not in str(refused.value)


def _compress_in_no_known_way(path: Path) -> None:
    content = path.read_bytes()
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = content.index(mark) + at
        content = content[:place] + b"\x5d" + content[place + 1 :]  # Zstandard
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_encrypt, "is encrypted; unpack it first"), (_compress_in_no_known_way, "compression 93")],
)
def test_what_cannot_be_unpacked_is_named_with_the_way_out(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = packed(tmp_path / "in.zip", "open/1.png")
    spoil(path)
    with pytest.raises(SourceError, match=rf"open/1\.png.*{words}"), unpacked(path):
        pass


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_flipped_bit_in_any_compression_is_one_line(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("open/1.png", PICTURE * 3)
    whole = path.read_bytes()
    refused: list[str] = []
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            with unpacked(path):
                pass
        except SourceError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert not [text for text in refused if "\n" in text]


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("open/1.png", PICTURE)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("open/1.png", PICTURE)
    (tmp_path / "in.zip").write_bytes(buffer.getvalue())
    with pytest.raises(SourceError, match="File exists"), unpacked(tmp_path / "in.zip"):
        pass


def test_a_disk_that_fills_while_unpacking_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "in.zip", "open/1.png", content=os.urandom(3_000_000))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(SourceError, match="cannot unpack"), unpacked(path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(scratch.iterdir()) == []


def test_a_folder_named_zip_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zip").mkdir()
    assert not is_archive(tmp_path / "a.zip")
    assert is_archive(tmp_path / "b.ZIP")
