"""Whatever is wrong with a zip ends in one of the known errors, and nothing grows without limit."""

from __future__ import annotations

import io
import random
import resource
import zipfile
from pathlib import Path

import pytest

from edge_sim.core.archives import ZIP_FAULTS, EntryTooLargeError, copy_entry

CONTENT = random.Random(1).randbytes(300) * 3
KINDS = pytest.mark.parametrize(
    "kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)


def zipped(kind: int, content: bytes = CONTENT) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        archive.writestr("a", content)
    return made.getvalue()


@KINDS
def test_an_entry_is_copied_up_to_its_limit_and_no_further(kind: int) -> None:
    content = bytes(5_000_000)
    with zipfile.ZipFile(io.BytesIO(zipped(kind, content))) as archive:
        whole, cut = io.BytesIO(), io.BytesIO()
        assert copy_entry(archive, archive.infolist()[0], whole, len(content)) == len(content)
        assert whole.getvalue() == content
        with pytest.raises(EntryTooLargeError):
            copy_entry(archive, "a", cut, 1_500_000)
        assert len(cut.getvalue()) <= 1_500_000
        with pytest.raises(KeyError):
            copy_entry(archive, "b", cut, 1)


@KINDS
def test_any_changed_byte_is_one_of_the_known_errors_or_does_not_matter(kind: int) -> None:
    whole = zipped(kind)
    caught = 0
    for at in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            spoilt = whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :]
            out = io.BytesIO()
            try:
                with zipfile.ZipFile(io.BytesIO(spoilt)) as archive:
                    copy_entry(archive, "a", out, 10_000)
            except (*ZIP_FAULTS, KeyError):
                caught += 1
            else:
                assert out.getvalue() == CONTENT
    assert caught > len(whole)


def test_an_entry_that_wants_4_gigabytes_to_unpack_is_a_known_error() -> None:
    content = bytearray(zipped(zipfile.ZIP_LZMA))
    start = 30 + len("a") + 4 + 1  # both headers, and the byte before the size of the dictionary
    content[start : start + 4] = b"\xff" * 4
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), hard))
    try:
        with (
            zipfile.ZipFile(io.BytesIO(content)) as archive,
            pytest.raises(zipfile.BadZipFile, match="more memory than there is"),
        ):
            copy_entry(archive, "a", io.BytesIO(), 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class FullDisk(io.BytesIO):
    def write(self, _: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_not_taken_for_a_damaged_archive() -> None:
    with (
        zipfile.ZipFile(io.BytesIO(zipped(zipfile.ZIP_STORED))) as archive,
        pytest.raises(OSError, match="No space left"),
    ):
        copy_entry(archive, "a", FullDisk(), 10_000)
