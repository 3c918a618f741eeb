"""Pictures of every kind are decoded completely and as they look, or rejected with the reason."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.cli.main import main
from edge_sim.core.images import decode, encode_jpeg
from edge_sim.core.picture_header import MAX_PIXELS, read_header
from edge_sim.gallery.candidates import (
    EnrolmentCandidate,
    Unreadable,
    pictures_in,
    read_candidate,
)
from edge_sim.io.sources import open_source
from tests.malformed import bomb_headers, iso_file, pnm, tiff_header


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("maxval", [2, 15, 100, 255, 256, 1023, 4095, 65535])
def test_a_pnm_is_as_bright_as_its_maxval_says(kind: str, maxval: int) -> None:
    half = maxval // 2
    pixels = decode(pnm(kind, maxval, half))
    assert pixels.shape == (4, 6, 3)
    np.testing.assert_allclose(pixels, 255 * half / maxval, atol=0.5)


def test_the_colours_of_a_ppm_are_kept() -> None:
    data = b"P6\n1 1\n1023\n" + np.array([1023, 511, 0], ">u2").tobytes()
    np.testing.assert_array_equal(decode(data), [[[0, 127, 255]]])


def test_numbers_above_the_maxval_are_white() -> None:
    assert (decode(b"P5\n1 1\n1023\n\xff\xff") == 255).all()


@pytest.mark.parametrize("data", [b"P5\n6 4\n255\n123", b"P2\n6 4\n255\n1 2 3", b"P2 2 2 9\nab c"])
def test_a_pnm_that_breaks_off_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends early|no number"):
        decode(data)


def with_alpha(hidden: int, suffix: str = ".png") -> bytes:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (10, 200, 30, 255)
    pixels[:, 4:] = (hidden, hidden, hidden, 0)
    settings = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    done, data = cv2.imencode(suffix, pixels, settings)
    assert done
    return data.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_colours_under_transparent_pixels_do_not_count(suffix: str) -> None:
    first, second = decode(with_alpha(0, suffix)), decode(with_alpha(255, suffix))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0, 0], [10, 200, 30])
    assert (first[:, 4:] == 255).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    pixels = np.full((2, 2, 4), (0, 0, 0, 51), np.uint8)
    assert (decode(cv2.imencode(".png", pixels)[1].tobytes()) == 204).all()


def test_a_palette_with_transparency_is_mixed_with_white() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        end = zlib.crc32(name + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + name + body + end

    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
        + chunk(b"tRNS", bytes([255, 0]))
        + chunk(b"IDAT", zlib.compress(b"\0\0\1"))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(decode(data), [[[30, 20, 10], [255, 255, 255]]])


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_16_bits_look_like_8(depth: type) -> None:
    grey: NDArray[Any] = np.full((3, 3, 3), 100, depth) * (257 if depth is np.uint16 else 1)
    assert (decode(cv2.imencode(".png", grey)[1].tobytes()) == 100).all()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GIF89a" + bytes(20), "GIF"),
        (iso_file(b"avif"), "AVIF"),
        (iso_file(b"avis"), "AVIF"),
        (iso_file(b"xxxx", b"avif"), "AVIF"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "JPEG 2000"),
        (b"8BPS" + bytes(20), "Photoshop"),
    ],
)
def test_kinds_that_are_not_read_are_named(data: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match=f"^{kind} pictures are not read; convert it"):
        decode(data)


@pytest.mark.parametrize("brands", [(b"heic",), (b"mif1", b"heic"), (b"heix",)])
def test_a_heic_without_its_package_names_the_package(
    brands: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sim.core.images._HEIC_MODULE", "no_such_package")
    with pytest.raises(ValueError, match="need the package pillow-heif"):
        decode(iso_file(*brands))


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"qt  ", b"M4V "])
def test_a_video_is_no_picture(brand: bytes) -> None:
    assert read_header(iso_file(brand, b"mif1")) is None


@pytest.mark.parametrize(("name", "data"), bomb_headers(), ids=[n for n, _ in bomb_headers()])
def test_a_picture_above_the_limit_is_refused_before_it_is_decoded(
    name: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> NDArray[np.uint8]:
        raise AssertionError(f"{name} was decoded")

    monkeypatch.setattr(cv2, "imdecode", decoded)
    with pytest.raises(ValueError, match=r"pixels are more than|are not read|header"):
        decode(data)


def test_the_largest_picture_allowed_has_64_megapixels() -> None:
    assert read_header(pnm("P5", 255, 0, width=8000, height=8000, body=b"")) is not None
    assert MAX_PIXELS == 64_000_000


def test_a_raw_file_with_a_preview_is_refused() -> None:
    entries = [(254, 4, 1), (256, 4, 160), (257, 4, 120), (50706, 1, 1)]
    body = struct.pack("<H", len(entries))
    body += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    with pytest.raises(ValueError, match="raw file"):
        decode(b"II*\0\x08\0\0\0" + body + bytes(4))


def awkward_folder(folder: Path) -> dict[str, str]:
    """Fill a folder with files of every kind; return name -> reason, empty for what is read."""
    folder.mkdir()
    picture = encode_jpeg(np.full((48, 64, 3), 90, np.uint8))
    tga = b"\0\0\2" + bytes(9) + b"\x10\0\x10\0\x18\0" + bytes(768)
    film = b"\0\0\0\x18ftypisom" + bytes(99)
    files = {
        "a.tga": (tga, "TGA pictures are not read"),
        "b.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG pictures are not read"),
        "c.ico": (b"\0\0\1\0" + bytes(99), "ICO pictures are not read"),
        "d.psd": (b"8BPS" + bytes(99), "Photoshop pictures are not read"),
        "e.pam": (b"P7\nWIDTH 2\n", "PAM pictures are not read"),
        "f.pfm": (b"PF\n2 2\n-1\n", "PFM pictures are not read"),
        "g.hdr": (b"#?RADIANCE\n", "Radiance HDR pictures are not read"),
        "h.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 pictures are not read"),
        "i.cr2": (tiff_header(64, 48)[:8] + b"CR\2\0" + bytes(99), "raw|damaged|ends early"),
        "j.jpg": (film, "a video"),
        "k": (picture, ""),
        "l.txt": (picture, ""),
        "m.mp4": (picture, ""),
        "n.gif": (b"GIF89a" + bytes(99), "GIF pictures are not read"),
        "o.png": (b"", "is empty"),
        "p.png": (picture, ""),
        "q.exr": (b"\x76\x2f\x31\x01" + bytes(99), "OpenEXR pictures are not read"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    for name in ("labels.csv", "notes.txt", "BMW.txt"):
        (folder / name).write_text("BM is no picture, P5 neither\n")
    os.mkfifo(folder / "pipe")
    (folder / "dir.png").mkdir()
    (folder / "gone.png").symlink_to("nowhere.png")
    reasons = {name: reason for name, (_, reason) in files.items()}
    return {**reasons, "pipe": "not a regular file", "gone.png": "No such file"}


def check_reasons(found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    for name, reason in expected.items():
        assert bool(reason) == (name in found), name
        if reason:
            assert re.search(reason, found[name]), (name, found[name])
    assert found.keys() <= expected.keys()


def test_a_folder_is_read_by_content_and_nothing_is_passed_over_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = awkward_folder(tmp_path / "all")
    seen = [read_candidate(path) for path in pictures_in(tmp_path / "all")]
    faults = {Path(c.name).name: c.fault for c in seen if isinstance(c, Unreadable)}
    check_reasons(faults, expected)
    frames = sum(not reason for reason in expected.values())
    assert sum(isinstance(c, EnrolmentCandidate) for c in seen) == frames
    with closing(open_source(str(tmp_path / "all"))) as source:
        assert len(list(iter(source.read, None))) == frames
    faults_count = len(expected) - frames
    assert f"{faults_count} of {len(expected)} pictures were skipped" in caplog.text
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 4


def test_every_verb_that_reads_folders_names_what_it_does_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, folder = awkward_folder(tmp_path / "all"), str(tmp_path / "all")
    main(["index", "build", folder, "--out", str(tmp_path / "i"), "--model", "thumbnail", "--json"])
    unread = json.loads(capsys.readouterr().out)["unread"]
    check_reasons({item["path"]: item["reason"] for item in unread}, expected)
    main(["embed", folder, "--out", str(tmp_path / "e.npy"), "--model", "thumbnail", "--json"])
    failed = json.loads(capsys.readouterr().out)["failed"]
    check_reasons({Path(item["path"]).name: item["reason"] for item in failed}, expected)
