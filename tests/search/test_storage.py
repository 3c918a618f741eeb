"""Pictures of a folder, a tar and an object store are listed as a stream, and read in place."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_sim.errors import SearchError
from edge_sim.search.listing import Listing
from edge_sim.search.rows import LEFT_OUT, Known
from edge_sim.search.storage import StoredPicture, open_storage
from edge_sim.secrets import forget_secrets
from tests.pictures import picture, write


def photos_in(folder: Path) -> dict[str, bytes]:
    for number in range(4):
        write(folder / "a" / f"{number}.png", picture(number, width=32, height=32))
    write(folder / "b c%20" / "ü.jpg", picture(9, width=32, height=32))
    (folder / "notes.txt").write_text("no picture")
    write(folder / "@eaDir" / "thumbnail.jpg", picture(8, width=32, height=32))
    write(folder / "a" / ".hidden.jpg", picture(8, width=32, height=32))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.*g")
        if "eaDir" not in str(path) and not path.name.startswith(".")
    }


def content(spec: str) -> dict[str, bytes]:
    storage = open_storage(spec)
    found = {str(item.path): storage.read(item) for item in storage.list()}
    assert storage.unread == []
    return found


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 1_700_000_000
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_a_folder_gives_its_pictures(tmp_path: Path) -> None:
    wanted = photos_in(tmp_path / "photos")
    assert content(str(tmp_path / "photos")) == wanted


def test_a_tar_gives_its_pictures_under_the_same_names(tmp_path: Path) -> None:
    wanted = photos_in(tmp_path / "photos")
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.add(tmp_path / "photos", ".")
    assert content(str(tmp_path / "p.tar")) == wanted


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class QuietHandler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = partial(QuietHandler, directory=str(tmp_path / "photos"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/"
        listening.shutdown()
        thread.join()


def test_a_server_gives_its_pictures(tmp_path: Path, server: str) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[ray]'")
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    wanted = photos_in(tmp_path / "photos")
    del wanted["b c%20/ü.jpg"]  # in a listing of links, names are as in addresses
    found = content(server)
    assert {name: found[name] for name in wanted} == wanted


def test_an_object_store_gives_its_pictures(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: .[ray]")
    wanted = photos_in(tmp_path / "photos")
    place = f"memory://{tmp_path.name}/photos"
    files = fsspec.filesystem("memory")
    for name, data in wanted.items():
        files.pipe_file(f"/{tmp_path.name}/photos/{name}", data)
    files.pipe_file(f"/{tmp_path.name}/photos2/other.png", b"not in the folder")
    assert content(place) == wanted
    storage = open_storage(place)
    item = next(storage.list())
    assert (item.size, item.mtime_ns > 0) == (len(wanted[str(item.path)]), True)
    files.rm(item.key)
    with pytest.raises(OSError):  # noqa: PT011 - of the system, without a text of its own
        storage.read(item)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("xyz://bucket/photos", "xyz://bucket/photos: cannot be read"),
        ("memory://nothing/there", "nothing there"),
        ("https://user:secret@127.0.0.1:1/", "cannot be read"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line(spec: str, words: str) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[ray]'")
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    with pytest.raises(SearchError, match=words) as caught:
        next(open_storage(spec).list())
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    forget_secrets()


def test_what_is_neither_folder_nor_tar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no such folder or tar file"):
        open_storage(str(tmp_path / "nothing"))
    packed = tar_of(tmp_path / "p.tar.gz", {"a.png": b"1"}, "w:gz")
    (tmp_path / "text").write_text("text" * 500)
    for place in (packed, tmp_path / "text"):
        with pytest.raises(SearchError, match="cannot be read as a tar without compression"):
            list(open_storage(str(place)).list())


def test_names_that_lead_out_of_a_tar_are_no_pictures(tmp_path: Path) -> None:
    names = ("../a.png", "a/../../b.png", "/abs.png", "./c.png", "d/.e.png", "f.txt", "-g.png")
    place = tar_of(tmp_path / "p.tar", {name: b"data" for name in names})
    found = [str(item.path) for item in open_storage(str(place)).list()]
    assert found == ["abs.png", "c.png", "-g.png"]


def test_a_member_of_negative_size_does_not_read_the_whole_tar(tmp_path: Path) -> None:
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("0.png"))
    with pytest.raises(ValueError, match="negative size"):
        open_storage(str(path)).read(StoredPicture(Path("0.png"), -1, 0, "0.png", 0))


def test_a_tar_cut_short_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    place = tar_of(tmp_path / "p.tar", {"a.png": b"1" * 3000, "b.png": b"2" * 3000})
    os.truncate(place, 5000)
    with pytest.raises(SearchError, match="unexpected end of data"):
        list(open_storage(str(place)).list())


LISTED = """
import sys, tracemalloc
from edge_sim.search.storage import open_storage
tracemalloc.start()
count = sum(1 for _ in open_storage(sys.argv[1]).list())
print(count, tracemalloc.get_traced_memory()[1])
"""


def test_ten_thousand_members_need_little_memory(tmp_path: Path) -> None:
    place = tar_of(tmp_path / "p.tar", {f"{number}.png": b"" for number in range(10_000)})
    # In a process of its own: what threads of other tests take is counted as well.
    command = [sys.executable, "-c", LISTED, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, peak = map(int, done.stdout.split())
    assert count == 10_000
    assert peak < 2_000_000


def test_a_listing_says_what_to_read_and_what_is_gone() -> None:
    def stored(name: str, size: int = 5, mtime_ns: int = 7) -> StoredPicture:
        return StoredPicture(Path(name), size, mtime_ns, f"key of {name}", 3)

    with Listing() as listing:
        listed = ["new", "same", "larger", "younger", "broken", "left", "again"]
        changed = {"larger": stored("larger", 6), "younger": stored("younger", 5, 8)}
        twice = listing.add(
            [*(changed.get(name, stored(name)) for name in listed), stored("unknown", 0, 7)]
        )
        assert twice == []
        present = [Known(Path(name), 5, 7, 1) for name in (*listed[1:4], "gone", "closed/gone")]
        present += [
            Known(Path("broken"), 5, 7, fault="not a picture"),
            Known(Path("left"), 1, 1, fault=LEFT_OUT),
            Known(Path("again"), 5, -1, fault="no permission"),
            Known(Path("unknown"), 99, 7, 1),
        ]
        listing.add_present(present)
        todo = {str(item.path): is_new for item, is_new in listing.to_read()}
        assert todo == {"new": True, "larger": False, "younger": False, "again": False}
        assert next(iter(listing.to_read()))[0] == stored("new")
        assert {str(path) for path in listing.changed()} == {"larger", "younger", "again"}
        counts = listing.counts()
        assert (counts.to_read, counts.unchanged, counts.left_out) == (4, 3, 1)
        assert [str(path) for path in listing.gone([Path("closed")])] == ["gone"]
        assert list(listing.unread()) == [(Path("broken"), "not a picture")]


def test_of_two_pictures_under_one_name_the_last_counts() -> None:
    with Listing() as listing:
        first, last = StoredPicture(Path("a"), 1, 1), StoredPicture(Path("a"), 2, 2)
        assert listing.add([first, StoredPicture(Path("b"), 1, 1), last]) == [Path("a")]
        assert {item for item, _ in listing.to_read()} == {last, StoredPicture(Path("b"), 1, 1)}
