"""Download of a public model and its import as an embedder.

    embedder = pull(PUBLIC["v3-small"], folder, opener=urllib.request.build_opener()).embedder

Only `pull` uses the network.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import tarfile
import tempfile
import time
import urllib.error
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.request import Request

from edge_sim.errors import ModelError
from edge_sim.vision.embedders.card import card_path
from edge_sim.vision.embedders.model_file import read_model_file
from edge_sim.vision.embedders.model_import import import_classifier
from edge_sim.vision.embedders.tflite import TfliteEmbedder, open_tflite

MEMBER_BYTES = 64 << 20
UNPACKED_BYTES = 1 << 30
"""Largest unpacked size, far above that of the archives: more is an attack or a mistake."""


@dataclass(frozen=True, slots=True)
class PublicModel:
    """Classifier that can be downloaded.

    Args:
        name: Name for `model pull`.
        url: Address of a .tgz archive.
        member: Name of the .tflite file inside, whatever its folder.
        sha256: SHA-256 of that file, 64 hexadecimal digits. The file is pinned and not the archive:
            an archive may be packed anew, the model may not change.
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
    """Return the .tflite file of `model` from its archive; nothing is unpacked to disk.

    Args:
        archive: Path of the .tgz file.
        model: Public model.
        name: Path or address of the archive, for messages.

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
    digest = hashlib.sha256(data).hexdigest()
    if digest != model.sha256:
        raise ModelError(
            f"{name}: its {model.member} has sha256 {digest[:12]}, not {model.sha256[:12]}; "
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
    """Stream that ends in an error after too many bytes."""

    def __init__(self, stream: gzip.GzipFile, left: int) -> None:
        self._stream, self._left = stream, left

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise tarfile.ReadError("it unpacks to too many bytes")
        return block


Progress = Callable[[int, "int | None"], None]
"""Callback with the bytes received and those expected, None where these are not known."""
_BLOCK_BYTES = 1 << 16
_ADVICE = "check the network, or download the file elsewhere and name it with --from"


class Opener(Protocol):
    """Sender of requests, as made by `urllib.request.build_opener()`."""

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        """Return the response, a context manager with `status`, `headers` and `read1`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a download.

    Args:
        max_bytes: Largest archive; the published ones are far smaller.
        stall_s: Longest time without a byte, seconds; mobile networks stall for less.
        whole_s: Longest time of the whole download, seconds.
        clock: Clock that returns monotonic seconds.
    """

    max_bytes: int = 128 << 20
    stall_s: float = 30.0
    whole_s: float = 1800.0
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, eq=False)
class PulledModel:
    """Embedder that `pull` made, or found: then `was_there` is true."""

    embedder: TfliteEmbedder
    was_there: bool


def pull(
    model: PublicModel,
    folder: Path,
    *,
    opener: Opener,
    source: str | None = None,
    progress: Progress = lambda _done, _total: None,
) -> PulledModel:
    """Return the embedder made of a public model, downloaded into `folder` if it is not there.

    Args:
        model: One of `PUBLIC`.
        folder: Folder of the models; made if it does not exist.
        opener: Sender of the requests.
        source: Another address of the archive, or the path of a copy; None for the public one.
        progress: Callback for progress.

    Raises:
        ModelError: No connection, a wrong file, or the folder cannot be written; nothing is left
            behind.
    """
    out = folder / f"{model.name}.tflite"
    if out.exists():
        return PulledModel(_already_there(out, model), True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot make the folder ({error.strerror})") from error
    place = model.url if source is None else source
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as workspace:
            archive = Path(place)
            if "://" in place:
                archive = Path(workspace) / "archive.tgz"
                download(place, archive, opener=opener, progress=progress)
            path = Path(workspace) / model.member
            path.write_bytes(model_in(archive, model, name=place))
            # A card without its model remains after a power cut between the two.
            card_path(out).unlink(missing_ok=True)
            made = import_classifier(read_model_file(path), out, license_name=model.license)
    except OSError as error:
        raise ModelError(f"{out}: cannot write ({error.strerror or error})") from error
    return PulledModel(made, False)


def download(
    url: str,
    out: Path,
    *,
    opener: Opener,
    progress: Progress = lambda _done, _total: None,
    limits: Limits | None = None,
    advice: str = _ADVICE,
) -> None:
    """Write the content of `url` to `out`.

    Args:
        url: Address, http or https.
        out: Path of the file, overwritten; after an error it may hold a part.
        opener: Sender of the request.
        progress: Callback after every block.
        limits: Limits of size and time; None for the defaults.
        advice: End of the message where the server cannot be reached.

    Raises:
        ModelError: No connection, an error of the server, a short file, or beyond the limits.
        OSError: `out` cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise ModelError(f"{url}: not an http or https address")
    limits = limits or Limits()
    until_s = limits.clock() + limits.whole_s
    request = Request(url, headers={"User-Agent": "edge-sim", "Accept-Encoding": "identity"})
    with (
        closing(_send(opener, request, limits.stall_s, advice)) as response,
        out.open("wb") as file,
    ):
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isascii() and length.isdigit() else None
        done = 0
        progress(done, total)
        while block := _block(response, url):
            done += file.write(block)
            progress(done, total)
            if max(done, total or 0) > limits.max_bytes:
                raise ModelError(f"{url}: larger than {_amount(limits.max_bytes)}; not downloaded")
            if limits.clock() > until_s:
                raise ModelError(f"{url}: {done} bytes in {limits.whole_s:g} s; given up")
    if not done:
        raise ModelError(f"{url}: the server sends an empty file")
    if total is not None and done != total:
        raise ModelError(f"{url}: the connection ended after {done} of {total} bytes; run it again")


def _send(opener: Opener, request: Request, timeout_s: float, advice: str) -> Any:
    url = request.full_url
    try:
        return opener.open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with closing(error):
            raise ModelError(f"{url}: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ModelError(f"{url}: cannot be reached ({_reason(error)}); {advice}") from error


def _block(response: Any, url: str) -> bytes:
    """Return the bytes of one read from the network, so that the time is checked after each."""
    try:
        return bytes(response.read1(_BLOCK_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{url}: the connection broke ({_reason(error)}); run it again") from error


def _amount(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _already_there(out: Path, model: PublicModel) -> TfliteEmbedder:
    """Return the embedder at `out`.

    Raises:
        ModelError: It was made of something else.
    """
    with contextlib.suppress(ModelError):
        embedder = open_tflite(out)
        training = embedder.card.training if embedder.card is not None else None
        if isinstance(training, dict) and training.get("cut_from_sha256") == model.sha256:
            return embedder
    raise ModelError(f"{out}: is there, but was not made of {model.member}; move it away")
