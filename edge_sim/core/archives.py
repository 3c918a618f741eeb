"""Zip and tar archives that others made: the errors of damaged ones, and bounded copies."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from typing import IO, BinaryIO

ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # encrypted; NotImplementedError: of a kind that is not read
    ValueError,
    struct.error,
    OverflowError,
)
"""Errors of `zipfile` other than `OSError`. Some of our own are such, too: catch those before."""
TAR_FAULTS = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, OverflowError)
"""Errors of `tarfile` other than `OSError`; likewise."""
_CHUNK_BYTES = 1 << 20


class EntryTooLargeError(ValueError):
    """An entry unpacks to more than its limit."""


def copy_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo | str, stream: BinaryIO, limit: int
) -> int:
    """Write an entry to `stream`, and return its bytes; the size that is stated is not trusted.

    Raises:
        EntryTooLargeError: It unpacks to more than `limit` bytes.
        KeyError: There is no such entry.
        OSError: `stream` cannot be written; of the archive it is one of `ZIP_FAULTS`.
    """
    written = 0
    with _opened(archive, entry) as source:
        while chunk := _read(source):
            written += len(chunk)
            if written > limit:
                raise EntryTooLargeError(f"more than {limit} bytes")
            stream.write(chunk)
    return written


def _opened(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | str) -> IO[bytes]:
    try:
        return archive.open(entry)
    except OSError as error:  # a place before the start
        raise zipfile.BadZipFile(str(error)) from error


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(_CHUNK_BYTES)
    except OSError as error:  # bzip2 has no error of its own
        raise zipfile.BadZipFile(str(error)) from error
    except MemoryError as error:  # the archive states how much LZMA needs, up to 4 GB
        raise zipfile.BadZipFile("it needs more memory than there is") from error
