"""Zips of pictures as strangers may hand them over for an import."""

from __future__ import annotations

import io
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import msgspec
import numpy as np
from hypothesis import strategies as st

from edge_sim.core.protocols import Embedder
from edge_sim.errors import EdgeSimError
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol_batches
from edge_sim.gallery.import_export import is_archive, pictures_of, states_in, unpacked
from edge_sim.gallery.store import GalleryStore
from edge_sim.vision.embedders import open_embedder
from fuzzing.texts import words
from fuzzing.trial import BrokenPromiseError

OUTSIDE = "@OUTSIDE@"
"""Stands for a folder beside the one that may be written to."""
_SIDE_PX = 24
_KEPT = 200
"""References from which on the gallery is started anew, so that late inputs take no longer."""


@dataclass(frozen=True)
class Entry:
    """One entry of a zip; `mode` as in `stat`."""

    name: str
    content: bytes
    mode: int = 0
    packed: int = zipfile.ZIP_STORED


@dataclass(frozen=True)
class Parcel:
    """A zip: entries, and where bytes of the finished file are spoilt."""

    name: str
    entries: tuple[Entry, ...]
    spoilt: tuple[tuple[int, int], ...] = ()


@cache
def _pictures() -> tuple[bytes, ...]:
    rng = np.random.default_rng(1)
    found = []
    for number in range(6):
        pixels = rng.integers(0, 256, (_SIDE_PX, _SIDE_PX, 3)).astype(np.uint8)
        pixels[:, : 4 * number] //= 4
        found.append(cv2.imencode(".png" if number % 2 else ".jpg", pixels)[1].tobytes())
    wide = np.zeros((1, 3000, 3), np.uint8)
    return (*found, cv2.imencode(".png", wide)[1].tobytes())


def _huge_png() -> bytes:
    """Return a PNG that says it is 100,000 pixels square."""
    sound = bytearray(_pictures()[1])
    sound[16:24] = (100_000).to_bytes(4, "big") * 2
    return bytes(sound)


_listed = st.fixed_dictionaries(
    {},
    optional={
        "schema": st.sampled_from((1, 1, 2, "1", None)),
        "references": st.lists(
            st.fixed_dictionaries(
                {
                    "reference_id": words,
                    "state": st.one_of(st.just("open"), words),
                    "enrolled_at": st.sampled_from(
                        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "never", "0001-01-01T00Z")
                    ),
                    "metadata": st.dictionaries(words, words, max_size=2),
                    "tags": st.lists(words, max_size=2),
                }
            ),
            max_size=2,
        ),
    },
).map(lambda table: msgspec.json.encode(table))

_contents = st.one_of(
    st.sampled_from(range(7)).map(lambda at: _pictures()[at]),
    st.sampled_from(range(7)).flatmap(
        lambda at: st.integers(0, len(_pictures()[at])).map(lambda cut: _pictures()[at][:cut])
    ),
    st.binary(max_size=30),
    st.builds(_huge_png),
    st.just(bytes(60_000)),
    _listed,
)
_folders = st.one_of(
    st.sampled_from(
        ("open", "closed", "Class 1-samples", "train/good", "test/bent", "dataset/open", "__MACOSX")
    ),
    st.sampled_from(
        ("..", "../..", "/", OUTSIDE, "a/../../..", "C:", "\\..\\..", "o/" * 12, "öffen", ".x")
    ),
    words.map(lambda word: word.replace("\x00", "")),
)
_files = st.one_of(
    st.sampled_from(
        (
            "1.png",
            "1.jpg",
            "2.PNG",
            "references.json",
            "..png",
            ".png",
            "1.png/",
            "a" * 300 + ".png",
        )
    ),
    words.map(lambda word: word.replace("\x00", "") + ".png"),
)
_tame = st.builds(
    lambda state, number, at: Entry(f"{state}/{number}.png", _pictures()[at]),
    st.sampled_from(("open", "closed", "dataset/open", "train/good")),
    st.integers(0, 9),
    st.integers(0, 6),
)
_wild = st.builds(
    lambda folder, file, content, mode, packed: Entry(f"{folder}/{file}", content, mode, packed),
    _folders,
    _files,
    _contents,
    st.sampled_from((0, 0, 0, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFIFO, 0xFFFF)),
    st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)),
)
parcels = st.builds(
    Parcel,
    st.sampled_from(("in.zip", "in.zip", "Class 1-samples.zip", "ü.zip", ".zip", "unknown.zip")),
    st.one_of(
        st.lists(_tame, max_size=4),
        st.lists(st.one_of(_tame, _tame, _wild), max_size=5),
        st.lists(_wild, max_size=4),
    ).map(tuple),
    st.one_of(
        st.just(()),
        st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=3).map(tuple),
    ),
)
"""What somebody may hand over as a zip."""


def packed(parcel: Parcel, outside: Path) -> bytes:
    """Return the bytes of the zip."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # two entries of one name are on purpose
        for entry in parcel.entries:
            info = zipfile.ZipInfo(entry.name.replace(OUTSIDE, str(outside)) or "x")
            info.external_attr = entry.mode << 16
            info.compress_type = entry.packed
            archive.writestr(info, entry.content)
    whole = bytearray(buffer.getvalue())
    for at, value in parcel.spoilt:
        whole[at % len(whole)] = value
    return bytes(whole)


class Importer:
    """Imports into one gallery, as `edge-sim gallery import` does."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._folder = folder
        self._embedder = embedder
        self._store = GalleryStore.open(folder / "gallery.db", create=True)

    def close(self) -> None:
        """Close the gallery."""
        self._store.close()

    def once(self, parcel: Parcel) -> str:
        """Import one zip; return what came of it."""
        path = self._folder / parcel.name
        path.write_bytes(packed(parcel, self._folder.parent))
        try:
            return self._imported(path)
        except EdgeSimError as error:
            if not str(error).isprintable():
                raise BrokenPromiseError(f"an error that is no line: {str(error)!r}") from error
            return "refused"

    def _imported(self, path: Path) -> str:
        if not is_archive(path):
            return "no archive"
        with unpacked(path) as folder:
            batches = [
                (EnrolmentPlan("gate", state), pictures_of(folder, folders))
                for state, folders in states_in(folder).items()
            ]
            report = enrol_batches(self._store, self._embedder, batches)
        for item in report.rejected:
            if not (item.name + item.detail).isprintable():
                raise BrokenPromiseError(f"a report that is no line: {item}")
        if len(self._store.records()) > _KEPT:
            self._store.rollback(0)
        return "enrolled" if report.accepted else "nothing enrolled"


@contextmanager
def importer(folder: Path) -> Iterator[Importer]:
    """Give an importer all of whose files, temporary ones too, belong below `folder`."""
    temporary = folder / "temporary"
    temporary.mkdir()
    former, tempfile.tempdir = tempfile.tempdir, str(temporary)
    opened = Importer(folder, open_embedder("thumbnail"))
    try:
        yield opened
        if left := list(temporary.iterdir()):
            raise BrokenPromiseError(f"left behind: {left[:3]}")
    finally:
        opened.close()
        tempfile.tempdir = former
