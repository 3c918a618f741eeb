"""Models that others publish, and how their file is taken out of the archive it comes in."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edge_sim.errors import ModelError

MEMBER_BYTES = 64 << 20
UNPACKED_BYTES = 1 << 30
"""Far more than the archives hold: an archive that unpacks to more is an attack or a mistake."""


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A classifier that can be fetched.

    Args:
        name: As in `model pull NAME`.
        url: Of a .tgz archive.
        member: Name of the .tflite file inside, whatever its folder.
        sha256: Of that file, 64 hexadecimal digits. The file is pinned and not the archive: an
            archive may be packed anew, the model may not change.
        license: SPDX identifier of the weights.
        about: One line for people.
    """

    name: str
    url: str
    member: str
    sha256: str
    license: str
    about: str


PUBLIC: Mapping[str, PublicModel] = {
    "v3-small": PublicModel(
        name="v3-small",
        url="https://storage.googleapis.com/mobilenet_v3/checkpoints/v3-small_224_1.0_uint8.tgz",
        member="v3-small_224_1.0_uint8.tflite",
        sha256="da341cf06fa50127a72dcbeb140ee5ee98013630aa044260a4c3d45c43fc89ce",
        license="Apache-2.0",
        about="Google's quantized MobileNetV3-Small, a classifier of 1001 classes at 224 px",
    )
}
"""Name -> model."""


def model_in(archive: Path, model: PublicModel, *, name: str) -> bytes:
    """Return the .tflite file of `model` out of its archive; nothing is unpacked to disk.

    Args:
        archive: The .tgz file.
        model: The one wanted.
        name: Path or address of the archive, for people.

    Raises:
        ModelError: Not a .tgz, cut off, without the file, with another one, or not readable.
    """
    try:
        with archive.open("rb") as file:
            data = _member(file, model.member)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"{name}: not a whole .tgz archive ({reason})") from error
    except OSError as error:
        raise ModelError(f"{name}: cannot read ({error.strerror})") from error
    if data is None:
        raise ModelError(f"{name}: there is no {model.member} inside")
    found = hashlib.sha256(data).hexdigest()
    if found != model.sha256:
        raise ModelError(
            f"{name}: its {model.member} has sha256 {found[:12]}, not {model.sha256[:12]}; "
            f"it was not used"
        )
    return data


def _member(file: Any, name: str) -> bytes | None:
    with gzip.GzipFile(fileobj=file) as stream:
        bounded: Any = _Bounded(stream, UNPACKED_BYTES)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for entry in archive:
                if PurePosixPath(entry.name).name != name or not entry.isfile():
                    continue
                content = archive.extractfile(entry) if entry.size <= MEMBER_BYTES else None
                return None if content is None else content.read()
    return None


class _Bounded:
    """A stream that ends in an error after too many bytes."""

    def __init__(self, stream: gzip.GzipFile, left: int) -> None:
        self._stream, self._left = stream, left

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise tarfile.ReadError("it unpacks to far too much")
        return block
