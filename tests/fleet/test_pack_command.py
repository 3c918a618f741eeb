"""`edge-sim pack`, from keys to a device, as it is typed."""

from __future__ import annotations

import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

import cv2

from edge_sim.cli.main import main
from edge_sim.fleet.fetching import PackFetcher
from edge_sim.fleet.packs import OpenPack
from edge_sim.gallery.store import GalleryStore
from tests.devices import make_device


def pack(*words: object) -> int:
    return main(["pack", *map(str, words)])


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    """A device's configuration, two keys, and a folder with a root that wants both."""
    make_device(tmp_path)
    for name in ("root", "a", "b"):
        assert pack("key", "new", tmp_path / f"{name}.key") == 0
    folder = tmp_path / "depot"
    public = [f"--packs={tmp_path / name}.key.pub" for name in ("a", "b")]
    root = tmp_path / "root.key"
    words = ["--root", f"{root}.pub", *public, "--packs-threshold", 2, "--key", root]
    assert pack("key", "root", folder, *words) == 0
    return folder


def built(folder: Path) -> Path:
    out = folder.parent / "lamp-1.pack"
    config = folder.parent / "config.yaml"
    words = ["-c", config, "--name", "lamp", "--version", 1, "--target", "panel"]
    assert pack("build", out, *words) == 0
    return out


def test_a_pack_goes_from_one_gallery_to_another(
    depot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = depot.parent
    assert (base / "a.key").stat().st_mode & 0o077 == 0
    assert pack("publish", depot, built(depot), "--key", base / "a.key") == 0
    assert "1 of 2 needed signatures: devices take nothing until" in capsys.readouterr().err
    assert pack("verify", depot) == 1
    assert "1 valid signatures of trusted keys, 2 are needed" in capsys.readouterr().err
    assert pack("sign", depot / "packs.json", "--key", base / "b.key") == 0
    assert pack("verify", depot) == 0
    (gallery,) = base.glob("*.db")
    with GalleryStore.open(gallery, read_only=True) as store:
        states = [item.state for item in store.records()]
        revision = store.revision
    capsys.readouterr()
    apply = ["apply", depot, "-c", base / "config.yaml", "--json"]
    assert pack(*apply) == 1
    assert "name it with --root FILE" in capsys.readouterr().err
    assert pack(*apply, "--root", depot / "root/1.json", "--target", "panel") == 0
    (found,) = json.loads(capsys.readouterr().out)["packs"]
    assert (found["outcome"], found["revision"]) == ("activated", revision + 1)
    with GalleryStore.open(gallery, read_only=True) as store:
        assert [item.state for item in store.records()] == states
    assert pack("status", depot, "--json") == 0
    assert json.loads(capsys.readouterr().out)["listing"]["packs"][0]["version"] == 1


@pytest.mark.parametrize("option", [["--rollout", "0"], ["--canary", "lab"]])
def test_a_rollout_of_no_pack_is_no_silent_success(
    depot: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"--key={depot.parent / name}.key" for name in ("a", "b")]
    assert pack("publish", depot, built(depot), *keys) == 0
    before = (depot / "packs.json").read_bytes()
    assert pack("publish", depot, *option, *keys) == 2
    assert "--rollout and --canary belong to a pack: name its file" in capsys.readouterr().err
    assert (depot / "packs.json").read_bytes() == before


def test_a_device_joins_a_canary_group_and_another_product_later(
    depot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = depot.parent
    keys = [f"--key={base / name}.key" for name in ("a", "b")]
    assert pack("publish", depot, built(depot), "--canary", "lab", *keys) == 0
    apply = ["apply", depot, "-c", base / "config.yaml"]
    assert pack(*apply, "--root", depot / "root/1.json", "--target", "panel") == 0
    assert "waiting: its rollout has not reached this device" in capsys.readouterr().out
    other = ("--root", depot / "root/1.json", "--target", "press")
    assert pack(*apply, *other, "--group", "lab") == 1
    assert "no pack for 'press', only for panel" in capsys.readouterr().err
    assert pack(*apply, *other[:3], "panel", "--group", "lab") == 0
    assert "lamp version 1: activated" in capsys.readouterr().out


def test_a_pack_is_taken_back_without_a_network(
    depot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = depot.parent
    keys = ["--key", base / "a.key", "--key", base / "b.key"]
    assert pack("publish", depot, built(depot), *keys) == 0
    config = ["-c", base / "config.yaml"]
    assert pack("rollback", *config) == 1
    assert "no pack is in force" in capsys.readouterr().err
    root = ["--root", depot / "root/1.json", "--target", "panel"]
    assert pack("apply", depot, *config, *root) == 0
    shutil.rmtree(depot)
    assert pack("rollback", "lamps", *config) == 1
    assert "no pack 'lamps' is in force" in capsys.readouterr().err
    (gallery,) = base.glob("*.db")
    with GalleryStore.open(gallery) as store:
        store.tag([store.records()[0].reference_id], add=["mine"])
        before = store.revision - 2
    assert pack("rollback", *config) == 1
    assert f"give it up: `edge-sim gallery rollback {before}`" in capsys.readouterr().err
    assert main(["gallery", "undo", *map(str, config)]) == 0
    # What was changed and changed back since is not in the way.
    assert pack("rollback", "lamp", *config) == 0
    assert "lamp version 1: taken back" in capsys.readouterr().out


def test_no_pack_takes_the_pictures_of_a_private_watch(
    depot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = depot.parent / "config.yaml"
    text = config.read_text()
    (gallery,) = depot.parent.glob("*.db")
    with GalleryStore.open(gallery, read_only=True) as store:
        (watch,) = store.watches()
    config.write_text(text.replace(f"  {watch}: {{", f"  {watch}: {{private: true, "))
    out = depot.parent / "lamp-1.pack"
    words = ["-c", config, "--name", "lamp", "--version", 1, "--target", "panel"]
    assert pack("build", out, *words) == 78
    assert f"watch {watch} is private, and a pack holds" in capsys.readouterr().err
    assert not out.exists()


def test_check_shows_what_is_offered(depot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = depot.parent
    keys = ["--key", base / "a.key", "--key", base / "b.key"]
    assert pack("publish", depot, built(depot), *keys) == 0
    config = base / "config.yaml"
    written = config.read_text()
    config.write_text(f"{written}updates: {{uri: depot, root: depot/root/1.json, target: panel}}\n")
    capsys.readouterr()
    assert main(["check", "-c", str(config)]) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if " updates " in row]
    assert "lamp version 1 is to be tried; no score_log.path" in line
    (depot / "packs.json").unlink()
    assert main(["check", "-c", str(config)]) == 1
    assert "there is no packs.json" in capsys.readouterr().out
    config.write_text(f"{written}updates: {{uri: depot, target: panel}}\n")
    assert main(["check", "-c", str(config)]) == 78
    assert "updates: the key root is missing" in capsys.readouterr().err
    config.write_text(f"{written}updates: {{uri: 'http://127.0.0.1:1/', root: x, target: panel}}\n")
    assert main(["check", "--offline", "-c", str(config)]) == 0
    assert "not tried (--offline)" in capsys.readouterr().out


def test_a_pack_that_its_own_pictures_speak_against_is_not_built(
    depot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = depot.parent
    (gallery,) = base.glob("*.db")
    with GalleryStore.open(gallery, read_only=True) as store:
        first = store.records()[0]
        crop = store.crop(first.reference_id)
        other = next(item.state for item in store.records() if item.state != first.state)
    (base / "wrong.png").write_bytes(crop)
    assert cv2.imread(str(base / "wrong.png")) is not None
    words = ["-c", base / "config.yaml", "--name", "lamp", "--version", 1, "--target", "panel"]
    pinned = f"{first.watch}/{other}={base / 'wrong.png'}"
    assert pack("build", base / "x.pack", *words, "--picture", pinned) == 1
    assert f"shows {first.state}; 1 pinned pictures fail" in capsys.readouterr().err
    assert not (base / "x.pack").exists()


def foreign(
    path: Path, fields: Mapping[str, object] | None = None, *, kind: int = zipfile.ZIP_STORED
) -> Path:
    """The same pack by another program, or with other fields in its list."""
    out = path.with_name(f"other-{path.name}")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w", kind) as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "pack.json":
                content = json.dumps(json.loads(content) | dict(fields or {})).encode()
            other.writestr(name, content)
    return out


def damaged(path: Path, entry: str, at: int) -> Path:
    """The same pack with a byte changed, `at` bytes into an entry as it is packed."""
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(entry).header_offset + 30 + len(entry)
    content = bytearray(path.read_bytes())
    content[start + at] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../lamp"},
        {"name": "root/lamp"},
        {"name": "la\nmp"},
        {"target": "p/anel"},
        {"version": -1},
        {"version": 1, "previous": 1},
        {"version": 2**31},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_a_pack_with_a_name_or_version_that_none_has_is_not_published(
    depot: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, object]
) -> None:
    other = foreign(built(depot), fields)
    before = sorted(depot.parent.rglob("*"))
    capsys.readouterr()
    assert pack("publish", depot, other, "--key", depot.parent / "a.key") == 1
    error = capsys.readouterr().err
    assert "pack.json is no list of a pack" in error
    assert error.count("\n") == 1
    assert sorted(depot.parent.rglob("*")) == before


KINDS = pytest.mark.parametrize(
    "kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)


@KINDS
def test_a_pack_with_a_damaged_list_is_not_published(
    depot: Path, capsys: pytest.CaptureFixture[str], kind: int
) -> None:
    path = damaged(foreign(built(depot), kind=kind), "pack.json", 9)
    capsys.readouterr()
    assert pack("publish", depot, path, "--key", depot.parent / "a.key") == 1
    error = capsys.readouterr().err
    assert "pack.json is damaged" in error
    assert error.count("\n") == 1
    assert not list(depot.glob("*.pack"))


@KINDS
def test_a_pack_with_a_damaged_gallery_is_one_line_on_the_device(
    depot: Path, capsys: pytest.CaptureFixture[str], kind: int
) -> None:
    base = depot.parent
    path = foreign(built(depot), kind=kind)
    keys = ["--key", base / "a.key", "--key", base / "b.key"]
    assert pack("publish", depot, damaged(path, "gallery.db", 9), *keys) == 0
    assert pack("verify", depot) == 0
    capsys.readouterr()
    words = ["--root", depot / "root/1.json", "--target", "panel"]
    assert pack("apply", depot, "-c", base / "config.yaml", *words) == 1
    error = capsys.readouterr().err
    assert "gallery.db is damaged" in error
    assert error.count("\n") == 1


def test_a_large_gallery_is_not_held_in_memory(depot: Path) -> None:
    path = built(depot)
    size = 40_000_000
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("gallery.db", bytes(size), zipfile.ZIP_DEFLATED)
    out = depot / "gallery.db"
    with OpenPack(path) as opened:
        tracemalloc.start()
        opened.unpack_gallery(out)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert out.stat().st_size == size
    assert out.stat().st_mode & 0o007 == 0
    assert most < size / 4


def test_a_large_file_of_a_folder_is_not_held_in_memory(tmp_path: Path) -> None:
    size = 40_000_000
    (tmp_path / "a").write_bytes(bytes(size))
    tracemalloc.start()
    assert PackFetcher(str(tmp_path)).fetch("a", tmp_path / "b", size)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "b").stat().st_size == size
    assert most < size / 4


def test_a_new_key_leaves_the_public_key_of_another_alone(
    depot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = depot.parent
    kept = (base / "a.key.pub").read_bytes()
    (base / "a.key").rename(base / "safe.key")
    capsys.readouterr()
    assert pack("key", "new", base / "a.key") == 1
    assert f"{base / 'a.key.pub'} exists; a key is never overwritten" in capsys.readouterr().err
    assert (base / "a.key.pub").read_bytes() == kept
    assert not (base / "a.key").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["sign", "a.key", "--key", "a.key"], "no signed metadata"),
        (["verify", "nowhere"], "has no root"),
        (["publish", "nowhere", "--key", "a.key"], "make one with `edge-sim pack key root`"),
        (["key", "new", "a.key"], "never overwritten"),
        (["sign", "depot/root/1.json", "--key", "config.yaml"], "holds no private key"),
    ],
)
def test_a_mistake_is_one_line(
    depot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], text: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(depot.parent)
    capsys.readouterr()
    assert pack(*words) == 1
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
